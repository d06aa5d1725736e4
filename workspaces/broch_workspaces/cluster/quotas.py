"""How much a zone may use, and what it may not have at all."""

from __future__ import annotations

from typing import Any

from broch_workspaces.cluster.settings import ZoneSettings
from broch_workspaces.cluster.spec import ZoneSpec, ZoneState

IMPORTER_CPU = "250m"
IMPORTER_MEMORY = 256 << 20
"""What one importer pod uses, cores and bytes: it copies, and hashes as it goes."""
IMPORTER_DISK = 64 << 20

_NEVER = (
    "services",
    "services.loadbalancers",
    "services.nodeports",
    "secrets",
    "replicationcontrollers",
    "count/cronjobs.batch",
    "count/daemonsets.apps",
    "count/deployments.apps",
    "count/jobs.batch",
    "count/replicasets.apps",
    "count/statefulsets.apps",
)
"""What no zone needs: pods are made one by one, by hub and controller; nothing in a zone is a service or a secret."""


def cores(value: float) -> str:
    """Return processors as Kubernetes writes them."""
    return f"{round(value * 1000)}m"


def devices(spec: ZoneSpec, settings: ZoneSettings) -> dict[str, int]:
    """Return every extended resource that is known, with how many this zone may use."""
    granted = {"nvidia.com/gpu": spec.quota.gpus, **spec.quota.devices}
    return {name: granted.get(name, 0) for name in sorted({*settings.known_devices, *granted})}


def resource_quotas(spec: ZoneSpec, settings: ZoneSettings) -> list[tuple[str, dict[str, Any]]]:
    """Return name and spec of a zone's quotas."""
    running = spec.state is ZoneState.OPEN
    cpu = cores(spec.quota.cpu + settings.importers * 0.25)
    memory = str(spec.quota.memory_bytes + settings.importers * IMPORTER_MEMORY)
    hard = {
        "limits.cpu": cpu,
        "limits.memory": memory,
        "pods": str(spec.quota.pods + settings.importers if running else 0),
        "requests.cpu": cpu,
        "requests.memory": memory,
        **{f"requests.{name}": str(number) for name, number in devices(spec, settings).items()},
        **dict.fromkeys(_NEVER, "0"),
    }
    return [
        ("zone", {"hard": dict(sorted(hard.items()))}),
        # Every pod ends by itself, even when nobody is left to end it.
        ("without-deadline", {"hard": {"pods": "0"}, "scopes": ["NotTerminating"]}),
    ]


def limit_range(spec: ZoneSpec) -> dict[str, Any]:
    """Return the spec of the LimitRange: one container never has more than the zone, and says what it needs."""
    most = {
        "cpu": cores(max(spec.quota.cpu, 0.25)),
        "memory": str(max(spec.quota.memory_bytes, IMPORTER_MEMORY)),
    }
    small = {"cpu": IMPORTER_CPU, "ephemeral-storage": str(IMPORTER_DISK), "memory": str(IMPORTER_MEMORY)}
    return {"limits": [{"type": "Container", "default": small, "defaultRequest": small, "max": most}]}
