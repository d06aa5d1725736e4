"""Zones and plans of a cluster in one line, and random ones; a test shows only what matters to it."""

import copy
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from broch_workspaces.cluster.settings import PodSettings, ZoneSettings
from broch_workspaces.cluster.sources import parse_source
from broch_workspaces.cluster.spec import (
    DataVolume,
    Delivery,
    Home,
    Quota,
    ZoneSpec,
    ZoneState,
    data_claim,
    home_claim,
    namespace_of,
)
from broch_workspaces.plan import ClusterPlan, Mount, Profile, SpawnPlan

NOW = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
PROJECT = "01JNGZ0000PR0JECT000000001"
VERSION = "01JNGZ0000VERS10N000000001"
OTHER_VERSION = "01JNGZ0000VERS10N000000002"
PERSON = "01JNGZ0000PERS0N0000000001"
PRINCIPAL = "w" + "a1b2c3d4e5f6g7h8j9k0"
DIGEST = "sha256:" + "a1" * 32
REGISTRY = "registry.example.org/broch/"
IMAGE = f"{REGISTRY}workspace-python@{DIGEST}"

SOURCES: dict[str, dict[str, Any]] = {
    "host-path": {"type": "host-path", "path": "/srv/datasets"},
    "nfs": {"type": "nfs", "server": "nfs.example.org", "path": "/export/datasets"},
    "s3": {"type": "s3", "bucket": "hospital-data", "path": "datasets", "region": "eu-central-1"},
    "efs": {
        "type": "efs",
        "file_system": "fs-0123456789abcdef0",
        "access_point": "fsap-0123456789abcdef0",
        "path": "/datasets",
    },
    "fsx-lustre": {"type": "fsx-lustre", "dns_name": "fs-1.example.org", "mount_name": "abcd1234"},
    "azure-files": {
        "type": "azure-files",
        "account": "hospitaldata",
        "share": "datasets",
        "resource_group": "research",
        "protocol": "smb",
        "secret": {"name": "azure-files", "namespace": "storage"},
    },
    "azure-blob": {
        "type": "azure-blob",
        "account": "hospitaldata",
        "container": "datasets",
        "resource_group": "research",
        "secret": {"name": "azure-sas", "namespace": "storage"},
    },
    "cephfs": {
        "type": "cephfs",
        "cluster": "ceph-1",
        "file_system": "research",
        "path": "/datasets",
        "secret": {"name": "ceph-reader", "namespace": "storage"},
    },
}

ZONE_SETTINGS = ZoneSettings(ca_bundle="-----BEGIN CERTIFICATE-----\n...\n", storage_class="shared")
POD_SETTINGS = PodSettings.model_validate(
    {
        "gateway_address": "10.192.0.77",
        "image_prefixes": [REGISTRY],
        "importer_image": f"{REGISTRY}broch@{DIGEST}",
    }
)


REMOVED = object()
"""In place of a value: away with it."""
UPWARDS: dict[str, tuple[str, object]] = {
    "nfs": ("spec/nfs/path", "/export/datasets/../payroll"),
    "efs": ("spec/csi/volumeHandle", "fs-0123456789abcdef0:/datasets/..:fsap-0123456789abcdef0"),
    "fsx-lustre": ("spec/csi/volumeAttributes/mountname", "abcd1234/datasets/../payroll"),
    "azure-files": ("spec/csi/volumeAttributes/folderName", "datasets/../payroll"),
    "azure-blob": ("spec/mountOptions/3", "--subdirectory=datasets/../payroll"),
    "s3": ("spec/mountOptions/6", "prefix datasets/../payroll/"),
    "cephfs": ("spec/csi/volumeAttributes/rootPath", "/datasets/../payroll"),
}
"""Kinds of sources, and a place that begins like a registered one and is above it."""


def otherwise(volume: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a volume of a registered source with what Broch never says of one: options, attributes, secrets."""
    options = volume["spec"]["mountOptions"]
    readable = next(one for one in options if one in {"ro", "read-only", "--read-only=true"})
    places = [f"{one}x" for one in options if one.startswith(("prefix ", "--subdirectory="))]
    yield put(volume, "spec/mountOptions", [one for one in options if one != readable])
    for more in ("other", *places):
        yield put(volume, "spec/mountOptions", [*options, more])
    if csi := volume["spec"].get("csi"):
        yield put(volume, "spec/csi/volumeAttributes", {**csi["volumeAttributes"], "other": "x"})
        yield put(volume, "spec/csi/nodePublishSecretRef", {"name": "other", "namespace": "storage"})


def put(manifest: Mapping[str, Any], path: str, value: object) -> dict[str, Any]:
    """Return a manifest with one thing changed; in a path, `~` stands for the slash of a key."""
    *parents, last = (int(part) if part.isdigit() else part.replace("~", "/") for part in path.split("/"))
    changed: dict[str, Any] = copy.deepcopy(dict(manifest))
    place: Any = changed
    for part in parents:
        place = place[part]
    if value is REMOVED:
        del place[last]
    else:
        place[last] = value
    return changed


def a_volume(version: str = VERSION, source: str = "host-path", size: int = 5 << 30) -> DataVolume:
    return DataVolume(
        version_id=version, source=parse_source(SOURCES[source]).below(version), size_bytes=size
    )


def a_zone(**changes: Any) -> ZoneSpec:
    return ZoneSpec(
        **{
            "project_id": PROJECT,
            "data": (a_volume(),),
            "homes": (Home(person_id=PERSON, size_bytes=20 << 30),),
            **changes,
        }
    )


def a_delivery(**changes: Any) -> Delivery:
    return Delivery(
        **{
            "id": "01JNGZ0000DE11VERY00000001",
            "op": "place",
            "name": "analysis.py",
            "sha256": "0f" * 32,
            "size": 1234,
            **changes,
        }
    )


def a_plan(*, cluster: dict[str, Any] | None = None, **changes: Any) -> SpawnPlan:
    project = changes.get("project_id", PROJECT)
    return SpawnPlan(
        **{
            "workspace_id": "01JNGZ0000W0RKSPACE0000001",
            "principal": PRINCIPAL,
            "project_id": project,
            "project_name": "Heart failure",
            "mounts": (
                Mount(source=data_claim(VERSION), target="/data/heart", read_only=True),
                Mount(source="imports", target="/imports", read_only=True),
                Mount(source="project", target="/project", read_only=False),
            ),
            "home": home_claim(PERSON),
            "deadline_at": NOW + timedelta(hours=3),
            "door_token": "",
            "cluster": ClusterPlan(
                **{
                    "namespace": namespace_of(project),
                    "pod": f"ws-{PRINCIPAL}-0123456789abcdef",
                    "image": IMAGE,
                    **(cluster or {}),
                }
            ),
            **changes,
        }
    )


ulids = st.text("0123456789ABCDEFGHJKMNPQRSTVWXYZ", min_size=26, max_size=26)
slugs = st.from_regex(r"[a-z0-9][a-z0-9-]{0,30}", fullmatch=True)
device_counts = st.dictionaries(
    st.sampled_from(["nvidia.com/gpu", "nvidia.com/mig-1g.10gb", "nvidia.com/mig-3g.40gb", "amd.com/gpu"]),
    st.integers(1, 8),
    max_size=2,
)
names = st.text(min_size=1, max_size=60).filter(lambda name: "\0" not in name and "/" not in name)


@st.composite
def zones(draw: st.DrawFn) -> ZoneSpec:
    """Any zone that the control plane may ask for."""
    versions = draw(st.lists(ulids, unique=True, max_size=4))
    kinds = st.sampled_from(sorted(SOURCES))
    return ZoneSpec(
        project_id=draw(ulids),
        state=draw(st.sampled_from(ZoneState)),
        quota=Quota(
            cpu=draw(st.floats(0.1, 512)),
            memory_bytes=draw(st.integers(1 << 20, 1 << 42)),
            gpus=draw(st.integers(0, 16)),
            devices=draw(device_counts),
            pods=draw(st.integers(0, 200)),
        ),
        data=tuple(a_volume(version, draw(kinds), draw(st.integers(0, 1 << 45))) for version in versions),
        homes=tuple(
            Home(person_id=person, size_bytes=draw(st.integers(1, 1 << 42)))
            for person in draw(st.lists(ulids, unique=True, max_size=4))
        ),
    )


@st.composite
def plans(draw: st.DrawFn) -> SpawnPlan:
    """Any plan for a cluster that the control plane may make."""
    slugs_shown = draw(st.lists(slugs, unique=True, max_size=5))
    data = [
        Mount(source=data_claim(draw(ulids)), target=f"/data/{slug}", read_only=True) for slug in slugs_shown
    ]
    shared = draw(
        st.sampled_from(
            [
                [],
                [Mount(source="imports", target="/imports", read_only=True)],
                [
                    Mount(source="imports", target="/imports", read_only=True),
                    Mount(source="project", target="/project", read_only=draw(st.booleans())),
                ],
            ]
        )
    )
    together = draw(st.booleans())
    return a_plan(
        shared=together,
        project_id=draw(ulids),
        project_name=draw(st.text(max_size=80).filter(lambda name: "\0" not in name)),
        profile=Profile(
            memory_bytes=draw(st.integers(64 << 20, 1 << 40)),
            cpu=draw(st.floats(0.01, 256)),
            tmp_bytes=draw(st.integers(1, 1 << 40)),
        ),
        mounts=(*data, *shared),
        home=None if together else home_claim(draw(ulids)),
        deadline_at=NOW + timedelta(seconds=draw(st.integers(1, 10**6))),
        cluster={
            "pod": f"ws-{draw(st.from_regex(r'w[a-z0-9]{20,39}', fullmatch=True))}-0123456789abcdef",
            "image": f"{REGISTRY}{draw(slugs)}@{DIGEST}",
            "gpus": draw(device_counts),
            "node_selector": draw(st.dictionaries(slugs, slugs, max_size=2)),
            "runtime_class": draw(st.sampled_from(["", "gvisor", "kata"])),
            "user_namespace": draw(st.booleans()),
        },
    )


hub_environments = st.dictionaries(
    st.from_regex(r"JUPYTERHUB_[A-Z]{1,20}", fullmatch=True),
    st.text(max_size=80).filter(lambda value: "\0" not in value),
    max_size=4,
)


def as_golden(value: object) -> str:
    """Return the text of a golden file."""
    return json.dumps(value, indent=1) + "\n"


def check_golden(path: Path, value: object, *, update: bool) -> None:
    """Compare with a golden file, or write it anew."""
    if update:
        path.parent.mkdir(exist_ok=True)
        path.write_text(as_golden(value))
    assert path.read_text() == as_golden(value), f"{path.name} differs: look, then run with --update-golden"
