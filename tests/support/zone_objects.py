"""Objects of a zone for tests of the controller, each in one line."""

from __future__ import annotations

from typing import Any

from broch_workspaces.cluster.controller.kinds import BY_NAME, Ref, ref_of
from broch_workspaces.cluster.controller.objects import Seen
from broch_workspaces.cluster.manifests import zone_manifests
from broch_workspaces.cluster.settings import ZoneSettings
from broch_workspaces.cluster.sources import HostPathSource
from broch_workspaces.cluster.spec import DataVolume, Delivery, Home, ZoneSpec

PROJECT = "01J00000000000000000000PRJ"
VERSION = "01J00000000000000000000VER"
PERSON = "01J00000000000000000000PER"
SETTINGS = ZoneSettings(
    ca_bundle="-----BEGIN CERTIFICATE-----\n", storage_class="local", access_mode="ReadWriteOnce"
)


def zone(**changes: Any) -> ZoneSpec:
    """One zone with a dataset and a home."""
    return ZoneSpec(
        project_id=PROJECT,
        data=(DataVolume(version_id=VERSION, source=HostPathSource(path="/srv/data"), size_bytes=10),),
        homes=(Home(person_id=PERSON, size_bytes=1 << 20),),
    ).model_copy(update=changes)


def manifests(spec: ZoneSpec, settings: ZoneSettings = SETTINGS) -> list[dict[str, Any]]:
    """What the zone is made of."""
    return zone_manifests(spec, settings)


def delivery(number: int = 1, **changes: Any) -> Delivery:
    """One released file on its way into `/imports`."""
    return Delivery(
        id=f"01J0000000000000000000DE{number:02d}", op="place", name=f"file{number}", sha256="a" * 64, size=3
    ).model_copy(update=changes)


def ref(manifest: dict[str, Any]) -> Ref:
    """Which object a manifest is of."""
    return ref_of(BY_NAME[manifest["kind"]], manifest)


def shown(manifest: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A manifest as the API server shows it once Broch applied it."""
    metadata = manifest["metadata"] | {
        "uid": "u-1",
        "resourceVersion": "7",
        "managedFields": [{"manager": "broch", "operation": "Apply", "fieldsV1": {"f:spec": {}}}],
    }
    return {**manifest, "metadata": metadata, **changes}


def looked(**changes: Any) -> Seen:
    """An object as it is remembered."""
    plain: dict[str, Any] = {
        "uid": "u-1",
        "version": "7",
        "digest": 1,
        "project": PROJECT.lower(),
        "ours": True,
        "leaving": False,
        "kept": False,
        "role": "",
        "state": "",
    }
    return Seen(**(plain | changes))
