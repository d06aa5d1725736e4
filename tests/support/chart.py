"""The Helm chart in tests: values that suffice, and what it makes of them."""

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from support.zones import DIGEST, IMAGE, REGISTRY

Manifest = dict[str, Any]
CHART = Path(__file__).parents[2] / "helm" / "broch"
RELEASE, NAMESPACE = "tried", "tried-release"
"""Unlike an installation's: both may be on one cluster."""


def values(**changes: Any) -> dict[str, Any]:
    """Return values that suffice for an installation; `changes` go over the outermost names."""
    return {
        "url": "https://tre.example.org",
        "hubUrl": "https://hub.work.example.net",
        "viewerUrl": "https://viewer.work.example.net",
        "images": {
            "broch": f"{REGISTRY}broch@{DIGEST}",
            "clamav": f"{REGISTRY}clamav@{DIGEST}",
            "prefixes": [REGISTRY],
        },
        "tokens": {"existingSecret": "broch-tokens"},
        "database": {"existingSecret": "broch-database"},
        "s3": {"blobs": "s3://blobs/broch"},
        "oidc": {"issuer": "https://id.example.org/realms/broch"},
        "datasets": {"source": {"type": "host-path", "path": "/srv/datasets"}},
        "zones": {"profiles": [{"name": "standard", "title": "Standard: 2 cores, 4 GiB", "image": IMAGE}]},
        "network": {
            "apiServer": [{"cidr": "10.0.0.1/32", "port": 6443}],
            "database": [{"cidr": "10.0.0.5/32", "port": 5432}],
            "s3": [{"cidr": "10.0.0.6/32", "port": 443}],
            "oidc": [{"cidr": "10.0.0.7/32", "port": 443}],
        },
        **changes,
    }


def render(
    helm: Any,
    chosen: Mapping[str, Any],
    *words: str,
    only: Sequence[str] = (),
    release: str = RELEASE,
    namespace: str = NAMESPACE,
) -> list[dict[str, Any]]:
    """Return the chart's manifests.

    Args:
        helm: runs Helm, like `Cluster.helm`.
        chosen: values.
        words: further arguments.
        only: names of templates.
        release: its name.
        namespace: where it is.
    """
    shown = [word for name in only for word in ("--show-only", f"templates/{name}.yaml")]
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(dict(chosen), file)
        file.flush()
        text = helm(
            *("template", release, str(CHART), "--namespace", namespace, "--kube-version", "1.35.4"),
            *("--values", file.name),
            *shown,
            *words,
        )
    return [one for one in yaml.safe_load_all(text) if one]


def of_kind(made: Sequence[Manifest], kind: str) -> dict[str, Manifest]:
    """Return the objects of a kind, by name."""
    return {one["metadata"]["name"]: one for one in made if one["kind"] == kind}


def pods(made: Sequence[Manifest]) -> dict[str, Manifest]:
    """Return what pods shall be, by the name of their Deployment or Job."""
    return {
        name: one["spec"]["template"]["spec"]
        for kind in ("Deployment", "Job")
        for name, one in of_kind(made, kind).items()
    }


def alerts() -> list[dict[str, Any]]:
    """Return the rules by which somebody is called."""
    [group] = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    return list(group["rules"])


def asked_by_alerts() -> set[str]:
    """Return the metrics of our services that rules ask for, with their labels."""
    return {
        name
        for rule in alerts()
        for name in re.findall(r"broch_[a-z_]+(?:\{[a-z]+=\"[a-z]+\"\})?", rule["expr"])
    }


def alerted(served: str) -> list[str]:
    """Return those metrics that rules ask for, and that are in this text of ours."""
    return sorted(
        name for name in asked_by_alerts() if re.search(rf"^{re.escape(name)}[ {{]", served, re.MULTILINE)
    )
