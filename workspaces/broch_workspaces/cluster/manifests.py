"""The desired state of a zone: everything that makes one, as Kubernetes manifests. Pure, and the same every time."""

from __future__ import annotations

from typing import Any, ClassVar

from broch_core.errors import DomainError
from broch_workspaces.cluster.policies import API as NETWORKING
from broch_workspaces.cluster.policies import network_policies
from broch_workspaces.cluster.quotas import limit_range, resource_quotas
from broch_workspaces.cluster.settings import ZoneSettings
from broch_workspaces.cluster.spec import (
    GPU_QUEUE,
    IMPORTS_CLAIM,
    PART_OF,
    PROJECT_CLAIM,
    PROJECT_LABEL,
    ROLE_LABEL,
    DataVolume,
    ZoneSpec,
    data_claim,
    home_claim,
)

Manifest = dict[str, Any]

KUEUE = "kueue.x-k8s.io/v1beta2"
"""The API that Kueue stores its objects in since 0.16; 0.15 serves it too."""
_RBAC = "rbac.authorization.k8s.io"


class ZoneRefused(DomainError):
    """This zone cannot be made as the project's policy asks for it."""

    status: ClassVar[int] = 409
    kind: ClassVar[str] = "zone-refused"
    title: ClassVar[str] = "This project's zone cannot be made"


def zone_labels(spec: ZoneSpec) -> dict[str, str]:
    """Return the labels of everything that belongs to a zone."""
    return {PART_OF: "broch", PROJECT_LABEL: spec.project_id.lower()}


def data_volume_name(project_id: str, version_id: str) -> str:
    """Return the name of the PersistentVolume of one dataset version in one zone: no two zones share one."""
    return f"broch-{project_id.lower()}-{version_id.lower()}"


def id_mapped(spec: ZoneSpec, settings: ZoneSettings) -> bool:
    """Return whether every volume of the zone supports id-mapped mounts, so that pods can have `hostUsers: false`."""
    return settings.storage_id_mapped and all(volume.source.id_mapped for volume in spec.data)


def zone_manifests(spec: ZoneSpec, settings: ZoneSettings) -> list[Manifest]:
    """Return all objects of a zone, in the order in which they are applied.

    Raises:
        ZoneRefused: the project requires user namespaces, and a volume does not support them.
    """
    _check(spec, settings)
    return [
        _namespace(spec, settings),
        *(
            _object(spec, "v1", "ResourceQuota", name, spec=body)
            for name, body in resource_quotas(spec, settings)
        ),
        _object(spec, "v1", "LimitRange", "zone", spec=limit_range(spec)),
        *(
            _object(spec, NETWORKING, "NetworkPolicy", name, spec=body)
            for name, body in network_policies(settings)
        ),
        *(
            _object(spec, "v1", "ServiceAccount", name, automountServiceAccountToken=False)
            for name in ("importer", "workspace")
        ),
        _hub_binding(spec, settings),
        _object(spec, "v1", "ConfigMap", "broch-ca", data={"ca.crt": settings.ca_bundle}),
        *(part for volume in _by_version(spec) for part in _data(spec, volume)),
        _claim(spec, settings, PROJECT_CLAIM, spec.project_bytes),
        _claim(spec, settings, IMPORTS_CLAIM, spec.imports_bytes),
        *(
            _claim(spec, settings, home_claim(home.person_id), home.size_bytes)
            for home in sorted(spec.homes, key=lambda home: home.person_id)
        ),
        *_queue(spec, settings),
    ]


def _check(spec: ZoneSpec, settings: ZoneSettings) -> None:
    if len({volume.version_id for volume in spec.data}) != len(spec.data):
        raise ZoneRefused("A dataset version is listed twice.")
    if len({home.person_id for home in spec.homes}) != len(spec.homes):
        raise ZoneRefused("A person's home is listed twice.")
    if spec.user_namespaces != "required" or id_mapped(spec, settings):
        return
    kinds: list[str] = sorted({volume.source.type for volume in spec.data if not volume.source.id_mapped})
    if not settings.storage_id_mapped:
        kinds.append("the storage of homes and shared folders")
    raise ZoneRefused(
        "This project requires user namespaces, which need id-mapped mounts, and these do not have them: "
        + ", ".join(kinds)
        + ".",
        remedy="Keep the data on a storage that has them, or change the project's policy.",
    )


def _by_version(spec: ZoneSpec) -> list[DataVolume]:
    return sorted(spec.data, key=lambda volume: volume.version_id)


def _object(zone: ZoneSpec, api: str, kind: str, name: str, **body: Any) -> Manifest:
    return {
        "apiVersion": api,
        "kind": kind,
        "metadata": {"name": name, "namespace": zone.namespace, "labels": zone_labels(zone)},
        **body,
    }


def _namespace(spec: ZoneSpec, settings: ZoneSettings) -> Manifest:
    labels = zone_labels(spec) | {ROLE_LABEL: "zone"}
    for mode in ("enforce", "audit", "warn"):
        labels[f"pod-security.kubernetes.io/{mode}"] = "restricted"
        labels[f"pod-security.kubernetes.io/{mode}-version"] = settings.pod_security_version
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": spec.namespace, "labels": labels}}


def _hub_binding(spec: ZoneSpec, settings: ZoneSettings) -> Manifest:
    account = {
        "kind": "ServiceAccount",
        "name": f"{settings.release}-hub",
        "namespace": settings.release_namespace,
    }
    role = {"apiGroup": _RBAC, "kind": "ClusterRole", "name": f"{settings.release}-zone-hub"}
    return _object(spec, f"{_RBAC}/v1", "RoleBinding", "hub", roleRef=role, subjects=[account])


def _data(spec: ZoneSpec, volume: DataVolume) -> list[Manifest]:
    name, claim = data_volume_name(spec.project_id, volume.version_id), data_claim(volume.version_id)
    common = {
        "accessModes": ["ReadOnlyMany"],
        # No class at all: nothing provisions this volume, and no other claim of a class can find it.
        "storageClassName": "",
        "volumeMode": "Filesystem",
    }
    size = str(max(volume.size_bytes, 1))
    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name, "labels": zone_labels(spec)},
            "spec": common
            | {
                "capacity": {"storage": size},
                "claimRef": {
                    "apiVersion": "v1",
                    "kind": "PersistentVolumeClaim",
                    "name": claim,
                    "namespace": spec.namespace,
                },
                "persistentVolumeReclaimPolicy": "Retain",
            }
            | volume.source.volume(name),
        },
        _object(
            spec,
            "v1",
            "PersistentVolumeClaim",
            claim,
            spec=common | {"resources": {"requests": {"storage": size}}, "volumeName": name},
        ),
    ]


def _claim(spec: ZoneSpec, settings: ZoneSettings, name: str, size: int) -> Manifest:
    body: dict[str, Any] = {
        "accessModes": [settings.access_mode],
        "resources": {"requests": {"storage": str(size)}},
        "volumeMode": "Filesystem",
    }
    if settings.storage_class is not None:
        body["storageClassName"] = settings.storage_class
    return _object(spec, "v1", "PersistentVolumeClaim", name, spec=body)


def _queue(spec: ZoneSpec, settings: ZoneSettings) -> list[Manifest]:
    if settings.kueue_queue is None:
        return []
    return [_object(spec, KUEUE, "LocalQueue", GPU_QUEUE, spec={"clusterQueue": settings.kueue_queue})]
