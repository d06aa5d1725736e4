"""What each account may, as the API server itself says it, is a committed file: a right more is a change to review."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from broch_workspaces.cluster.manifests import zone_manifests
from broch_workspaces.cluster.spec import ZoneSpec
from support.chart import NAMESPACE, RELEASE, render, values
from support.cluster.cluster import Cluster
from support.zones import ZONE_SETTINGS, a_zone

FILE = Path(__file__).parents[2] / "docs" / "rights.txt"
SANDBOXES = f"{RELEASE}-sandboxes"
EVERYBODY = ("selfsubjectreviews", "selfsubjectaccessreviews", "selfsubjectrulesreviews", "non-resource")
"""What Kubernetes gives to everybody who is signed in: to ask who one is and what one may, and for its version."""


@pytest.fixture(scope="module")
def zone(cluster: Cluster) -> Iterator[ZoneSpec]:
    spec = a_zone(project_id=f"01JNGZ{secrets.token_hex(10).upper()}", data=(), homes=())
    settings = ZONE_SETTINGS.model_copy(update={"release": RELEASE, "release_namespace": NAMESPACE})
    made = render(cluster.helm, values(), only=("rights",))
    with (
        cluster.namespace(name=NAMESPACE),
        cluster.namespace(name=SANDBOXES),
        cluster.namespace(name=spec.namespace),
    ):
        cluster.apply(*made)
        kinds = {"ServiceAccount", "RoleBinding"}
        cluster.apply(*(one for one in zone_manifests(spec, settings) if one["kind"] in kinds))
        yield spec
        for one in made:
            if "namespace" not in one["metadata"]:
                cluster.delete(one["kind"], one["metadata"]["name"], wait=False)


def rights(cluster: Cluster, account: str, home: str, where: str) -> list[str]:
    """Return the lines of `kubectl auth can-i --list` that not everybody has."""
    text = cluster.kubectl(
        "auth", "can-i", "--list", "--no-headers", f"--as=system:serviceaccount:{home}:{account}", "-n", where
    )
    lines = sorted(re.sub(r"\s{2,}", "  ", line.strip()) for line in text.splitlines())
    return [line for line in lines if line and not line.startswith((*EVERYBODY, "[/"))]


def told(cluster: Cluster, zone: ZoneSpec) -> str:
    places = {
        "the release": NAMESPACE,
        "sandboxes": SANDBOXES,
        "a zone": zone.namespace,
        "elsewhere": "default",
    }
    accounts = [
        (f"{RELEASE}-{name}", name, NAMESPACE)
        for name in ("web", "hub", "controller", "gateway", "sandboxes", "clamd")
    ]
    accounts += [(name, f"{name} (of a zone)", zone.namespace) for name in ("workspace", "importer")]
    parts = [
        "# Resources, non-resource URLs, names, verbs, by account and namespace (kubectl auth can-i --list)."
    ]
    for account, name, home in accounts:
        for place, where in places.items():
            lines = rights(cluster, account, home, where) or ["nothing"]
            parts.append(f"\n{name} in {place}\n" + "\n".join(f"  {line}" for line in lines))
    return "\n".join(parts).replace(RELEASE, "RELEASE") + "\n"


def test_every_account_may_what_the_file_says_and_no_more(cluster: Cluster, zone: ZoneSpec, request):
    found = told(cluster, zone)
    if request.config.getoption("--update-golden"):
        FILE.write_text(found)
    assert found == FILE.read_text(), "docs/rights.txt differs: look, then run with --update-golden"


def test_the_list_shows_a_right_that_is_given(cluster: Cluster, zone: ZoneSpec):
    before = rights(cluster, "workspace", zone.namespace, zone.namespace)
    cluster.kubectl(
        *("create", "rolebinding", "more", "--clusterrole=view", "--namespace", zone.namespace),
        f"--serviceaccount={zone.namespace}:workspace",
    )
    assert before == []
    assert rights(cluster, "workspace", zone.namespace, zone.namespace)
