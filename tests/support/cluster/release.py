"""Broch on the test cluster, by its chart: what an administrator gives it beforehand, and `helm install`."""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from broch.dev import images
from broch.keycloak.desired import Wanted
from support.cluster.authority import Authority
from support.cluster.cluster import Cluster, Refused, eventually
from support.cluster.database import Database
from support.cluster.objects import Objects
from support.cluster.registry import Registry
from support.keycloak import Account, Keycloak, add_account

CHART = Path(__file__).parents[3] / "helm" / "broch"
NAME = "broch"
SPACE = "broch"
DOMAIN = "broch.test"
SHELL, HUB, VIEWER = (f"https://{host}.{DOMAIN}" for host in ("tre", "hub", "viewer"))
DATASETS = "/var/lib/broch-datasets"
"""Folder on the node: web writes dataset versions there, zones mount them from there."""
COMPONENTS = ("web", "hub", "controller", "gateway", "packages", "sandboxes", "clamd")
TOKENS = ("hub", "hub-oauth", "web", "controller", "gateway", "packages", "sandboxes")
READY_SECONDS = 420
_PUBLIC: Mapping[str, tuple[str, ...]] = {
    "web": (f"tre.{DOMAIN}", f"viewer.{DOMAIN}"),
    "hub": (f"hub.{DOMAIN}", f"*.hub.{DOMAIN}"),
    "gateway": ("gateway.broch.internal",),
}


@dataclass(frozen=True)
class Release:
    """A running Broch on a cluster."""

    cluster: Cluster
    images: Mapping[str, str]
    """Image name -> reference by digest."""
    addresses: Mapping[str, str]
    """Component -> address of its public Service."""
    people: Mapping[str, Account]
    keycloak: Keycloak
    seconds: float
    """From `helm install` until every part was ready."""
    profiles: tuple[Mapping[str, Any], ...] = field(default=())

    @property
    def resolver_rules(self) -> str:
        """Return Chromium's rules that stand for public DNS."""
        web, hub = self.addresses["web"], self.addresses["hub"]
        rules = [f"MAP tre.{DOMAIN} {web}", f"MAP viewer.{DOMAIN} {web}"]
        return ", ".join([*rules, f"MAP hub.{DOMAIN} {hub}", f"MAP *.hub.{DOMAIN} {hub}"])


def secret(name: str, values: Mapping[str, str | bytes]) -> dict[str, Any]:
    """Return the manifest of a Secret in the release's namespace."""
    data = {key: value.encode() if isinstance(value, str) else value for key, value in values.items()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": SPACE},
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }


def _certificates(authority: Authority) -> list[dict[str, Any]]:
    made = []
    for component in COMPONENTS:
        name = f"{NAME}-{component}"
        names = (name, f"{name}.{SPACE}", f"{name}.{SPACE}.svc", *_PUBLIC.get(component, ()))
        made.append(authority.issue(*names).secret(f"{name}-tls", SPACE))
    return made


def _dataset_volume() -> list[dict[str, Any]]:
    """Return the volume that web writes versions to: a folder of the node, as an NFS export would be."""
    spec = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": "broch-datasets"},
            "spec": spec
            | {
                "capacity": {"storage": "10Gi"},
                "hostPath": {"path": DATASETS, "type": "Directory"},
                "claimRef": {"namespace": SPACE, "name": "datasets"},
                "persistentVolumeReclaimPolicy": "Retain",
            },
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "datasets", "namespace": SPACE},
            "spec": spec | {"volumeName": "broch-datasets", "resources": {"requests": {"storage": "10Gi"}}},
        },
    ]


def load_images(cluster: Cluster, names: tuple[str, ...]) -> dict[str, str]:
    """Build images (kept between runs) and load them into the node; return references by digest."""
    built = images.build(names)
    return {name: cluster.load_image(name, built[name].layout) for name in names}


def profiles_of(workspace: str) -> tuple[dict[str, Any], ...]:
    """Return the profiles of the tests: a usual one, one with a GPU, one whose image is nowhere, a small one."""
    usual = {"image": workspace, "cpu": 1.0, "memory_bytes": 1 << 30, "tmp_bytes": 256 << 20, "hours": 2}
    nowhere = "local/nowhere@sha256:" + "0" * 64
    return (
        usual | {"name": "standard", "title": "Standard: 1 core, 1 GiB"},
        usual | {"name": "gpu", "title": "With one GPU", "devices": {"nvidia.com/gpu": 1}},
        usual | {"name": "missing", "title": "An image that is nowhere", "image": nowhere},
        usual | {"name": "small", "title": "Small: 512 MiB", "memory_bytes": 512 << 20},
    )


COLLECTOR = {"broch.test/role": "collector"}
"""Labels of the namespace from which metrics may be read."""


def values(
    cluster: Cluster,
    objects: Objects,
    keycloak: Keycloak,
    registry: Registry,
    references: Mapping[str, str],
) -> dict[str, Any]:
    """Return the chart's values."""
    beside = f"{cluster.place.address}/32"
    return {
        "url": SHELL,
        "hubUrl": HUB,
        "viewerUrl": VIEWER,
        "images": {
            "broch": references["broch"],
            "clamav": references["clamav"],
            "prefixes": ["local/"],
        },
        "tokens": {"existingSecret": "broch-tokens"},
        "database": {"existingSecret": "broch-database", "caSecret": "broch-authority"},
        "s3": {
            "blobs": f"s3://{objects.bucket}/airlock",
            "endpoint": objects.endpoint,
            "region": objects.region,
            "existingSecret": "broch-s3",
            "caSecret": "broch-authority",
        },
        "oidc": {"issuer": keycloak.issuer(), "caSecret": "broch-authority"},
        "datasets": {"existingClaim": "datasets", "source": {"type": "host-path", "path": DATASETS}},
        "zones": {
            "accessMode": "ReadWriteOnce",
            "idMapped": True,
            "homeBytes": 1 << 30,
            "projectBytes": 1 << 30,
            "importsBytes": 1 << 30,
            "quota": {"cpu": 4, "memory_bytes": 6 << 30, "gpus": 1, "pods": 4},
            "profiles": list(profiles_of(references["workspace-python"])),
        },
        "web": {"storage": {"size": "2Gi"}, "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}}},
        "clamav": {
            "testSignatures": True,
            "resources": {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"memory": "2Gi"}},
        },
        "packages": {
            "enabled": True,
            "registries": {"pypi": registry.url, "cran": "", "conda": "", "npm": ""},
            "hosts": {"pypi": [], "conda": []},
            "inside": [beside],
            "caSecret": "broch-authority",
            "scratchBytes": 256 << 20,
            "largestFileBytes": 64 << 20,
            "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
        },
        "network": {
            name: [{"cidr": beside, "port": port}]
            for name, port in (
                ("database", 5432),
                ("s3", int(objects.endpoint.rpartition(":")[2])),
                ("oidc", keycloak.port),
                ("packages", registry.port),
            )
        }
        | {"metrics": [{"namespaceSelector": {"matchLabels": COLLECTOR}}]},
    }


def people_of(keycloak: Keycloak) -> dict[str, Account]:
    """Add everybody who signs in during the journey; return them by handle."""
    admin = keycloak.admin("broch")
    wanted = {
        "mona": ("Mona Berg", ["broch-admins"]),
        "stella": ("Stella Njoroge", ["broch-stewards"]),
        "idris": ("Idris Owens", ["broch-owners"]),
        "ada": ("Ada Lindqvist", []),
        "ben": ("Ben Okoro", []),
        "ruth": ("Ruth Wanjiru", ["broch-reviewers"]),
        "tomasz": ("Tomasz Haddad", ["broch-reviewers"]),
    }
    return {
        handle: add_account(admin, handle, groups=groups, name=name)
        for handle, (name, groups) in wanted.items()
    }


@contextmanager
def installed(
    cluster: Cluster,
    authority: Authority,
    database: Database,
    objects: Objects,
    keycloak: Keycloak,
    registry: Registry,
    folder: Path,
) -> Iterator[Release]:
    """Install the chart for the time of a `with` block.

    Args:
        cluster: an empty one.
        authority: issues the certificates.
        database: an empty database.
        objects: the store with its bucket.
        keycloak: a running one.
        registry: of packages.
        folder: for the values.
    """
    references = load_images(cluster, ("broch", "clamav", "workspace-python"))
    client_secret = secrets.token_urlsafe(24)
    keycloak.set_up(Wanted("broch", "broch", SHELL, SHELL), client_secret)
    people = people_of(keycloak)
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
    _make_empty(cluster)
    with cluster.namespace(name=SPACE, labels=labels):
        cluster.on_node("mkdir", "-p", "-m", "0700", DATASETS)
        cluster.on_node("chown", "1000:1000", DATASETS)
        ca = "/etc/broch/database/ca.crt"
        cluster.apply(
            *_certificates(authority),
            *_dataset_volume(),
            secret("broch-authority", {"ca.crt": authority.pem}),
            secret(
                "broch-tokens",
                {name: secrets.token_urlsafe(32) for name in TOKENS}
                | {"oidc": client_secret, "web-secret": base64.b64encode(secrets.token_bytes(32))},
            ),
            secret("broch-database", {"url": database.app_url(ca), "owner-url": database.owner_url(ca)}),
            secret(
                "broch-s3",
                {"AWS_ACCESS_KEY_ID": objects.access_key, "AWS_SECRET_ACCESS_KEY": objects.secret_key},
            ),
        )
        given = values(cluster, objects, keycloak, registry, references)
        (folder / "values.json").write_text(json.dumps(given, indent=1))
        began = time.monotonic()
        try:
            cluster.helm(
                "install", NAME, str(CHART), "--namespace", SPACE, "--values", str(folder / "values.json"),
                "--wait", f"--timeout={READY_SECONDS}s", seconds=READY_SECONDS + 60,
            )  # fmt: skip
        except Refused as problem:
            raise Refused(f"{problem}\n{_troubles(cluster)}") from problem
        seconds = time.monotonic() - began
        print(f"helm install: ready in {seconds:.0f} s")  # noqa: T201 - how long it took belongs to what a run shows
        addresses = {
            part: cluster.get("service", f"{NAME}-{part}-public", SPACE)["spec"]["clusterIP"]
            for part in ("web", "hub")
        }
        try:
            yield Release(
                cluster, references, addresses, people, keycloak, seconds,
                profiles_of(references["workspace-python"]),
            )  # fmt: skip
        finally:
            cluster.kubectl("delete", "namespace", "--selector=broch.dev/role=zone", "--wait=false")
            cluster.helm("uninstall", NAME, "--namespace", SPACE)
            cluster.delete("persistentvolume", "broch-datasets", wait=False)


def _make_empty(cluster: Cluster) -> None:
    """Remove what tests of single parts left outside namespaces: Helm takes over nothing that it did not make."""
    for kind in ("clusterrole", "clusterrolebinding"):
        for one in cluster.get(kind)["items"]:
            name = one["metadata"]["name"]
            helm = one["metadata"].get("labels", {}).get("app.kubernetes.io/managed-by") == "Helm"
            if name.startswith(f"{NAME}-") and not helm:
                cluster.delete(kind, name)
    cluster.delete("namespace", SPACE)


def _troubles(cluster: Cluster) -> str:
    """Return what keeps the release from being ready, for the person who reads the failure."""
    said = [cluster.kubectl("get", "pods", "-n", SPACE, "-o", "wide")]
    for pod in cluster.get("pods", namespace=SPACE)["items"]:
        ready = all(one.get("ready") for one in pod["status"].get("containerStatuses", [{}]))
        if ready and pod["status"]["phase"] in ("Running", "Succeeded"):
            continue
        name = pod["metadata"]["name"]
        said.append(cluster.kubectl("describe", "pod", name, "-n", SPACE)[-1500:])
        for container in pod["spec"].get("initContainers", []) + pod["spec"]["containers"]:
            try:
                said.append(
                    f"--- {name}/{container['name']}\n"
                    + cluster.logs(SPACE, name, "-c", container["name"], "--tail=30")
                )
            except Refused as nothing:
                said.append(str(nothing))
    return "\n".join(said)


def zone_of(cluster: Cluster, project_id: str) -> str:
    """Return the namespace of a project's zone once it is there."""
    name = f"zone-{project_id.lower()}"
    eventually(lambda: cluster.exists("namespace", name), seconds=60)
    return name
