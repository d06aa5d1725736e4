"""The pods of a zone, as manifests: a workspace by its spawn plan, an importer by its delivery. Pure.

What these functions forget, `hardened.assert_hardened` refuses: it reads the result without knowing this code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from broch_workspaces.cluster.quotas import IMPORTER_CPU, IMPORTER_DISK, IMPORTER_MEMORY, cores
from broch_workspaces.cluster.settings import (
    AUDIENCE,
    GATEWAY_PORT,
    NOTEBOOK_PORT,
    TOKEN_SECONDS,
    PodSettings,
)
from broch_workspaces.cluster.spec import (
    IMPORTS_CLAIM,
    PART_OF,
    PROJECT_LABEL,
    QUEUE_LABEL,
    ROLE_LABEL,
    Delivery,
    ZoneSpec,
)
from broch_workspaces.plan import ClusterPlan, Mount, SpawnPlan

Manifest = dict[str, Any]

USER = 1000
HOME = "/home/researcher"
PYTHON = "/opt/venv/bin/python"
IDENTITY = "/run/broch/identity"
CA = "/etc/broch/ca"


class PodRefused(ValueError):
    """The plan does not make a pod: it is not for a cluster, or its time is over. The text is for the researcher."""


def workspace_pod(
    plan: SpawnPlan,
    settings: PodSettings,
    env: Mapping[str, str],
    *,
    args: Sequence[str] = (),
    now: datetime | None = None,
) -> Manifest:
    """Return the pod of one start of a workspace.

    Args:
        plan: everything that it is given.
        settings: of the platform.
        env: what JupyterHub gives the server inside; what Broch says of itself cannot be changed by it.
        args: arguments of the server inside.
        now: the time from which the deadline is counted; default: the clock.

    Raises:
        PodRefused: there is no plan for a cluster, or no time left.
    """
    cluster = _cluster_of(plan)
    left = int((plan.deadline_at - (now or datetime.now(UTC))).total_seconds())
    if left <= 0:
        raise PodRefused("The time for this workspace is over.")
    profile = plan.profile
    home = [] if plan.home is None else [Mount(source=plan.home, target=HOME, read_only=False)]
    mounts = [*plan.mounts, *home]
    # Without a home, what is written there lasts as long as the pod.
    fleeting = {"emptyDir": {"sizeLimit": str(profile.tmp_bytes)}, "name": "home"}
    shm = min(settings.shm_bytes, profile.memory_bytes // 2)
    disk = str(profile.tmp_bytes * (1 if home else 2) + settings.log_bytes)
    memory = str(profile.memory_bytes)
    container = {
        "name": "notebook",
        "image": cluster.image,
        "imagePullPolicy": "IfNotPresent",
        "command": [PYTHON, "-I", "/opt/broch/lab.py"],
        "args": [_literal(arg) for arg in args],
        "workingDir": HOME,
        "ports": [{"containerPort": NOTEBOOK_PORT, "name": "notebook", "protocol": "TCP"}],
        "env": _environment(
            {
                **env,
                **_reach(settings),
                "BROCH_PROJECT": plan.project_name,
                "HOME": HOME,
                **({"BROCH_SHARED": "1"} if plan.shared else {}),
                **({"BROCH_PACKAGES": "1"} if settings.packages else {}),
                # The container runtime of GPU nodes shows all devices to images that ask for them by a variable.
                **({} if cluster.gpus else {"NVIDIA_VISIBLE_DEVICES": "void"}),
            }
        ),
        "resources": {
            "limits": {
                "cpu": cores(profile.cpu),
                "ephemeral-storage": disk,
                "memory": memory,
                **{name: str(number) for name, number in sorted(cluster.gpus.items())},
            },
            "requests": {
                "cpu": cores(max(profile.cpu * settings.cpu_request_share, 0.001)),
                "ephemeral-storage": disk,
                "memory": memory,
            },
        },
        "volumeMounts": [
            *(_mount(mount) for mount in sorted(mounts, key=lambda mount: mount.target)),
            *_OWN_MOUNTS,
            {"mountPath": "/dev/shm", "name": "shm"},  # noqa: S108 - a mount inside, not a file of ours
            *([] if home else [{"mountPath": HOME, "name": "home"}]),
        ],
        "securityContext": _CONFINED,
    }
    spec = _spec(settings, "workspace", min(settings.longest_seconds, left)) | {
        "containers": [container],
        "volumes": [
            *_claims(mounts),
            *_own_volumes(profile.tmp_bytes),
            {"emptyDir": {"medium": "Memory", "sizeLimit": str(shm)}, "name": "shm"},
            *([] if home else [fleeting]),
        ],
    }
    if (priority := settings.priority_class(gpus=bool(cluster.gpus))) is not None:
        spec["priorityClassName"] = priority
    if cluster.user_namespace:
        spec["hostUsers"] = False
    if cluster.runtime_class:
        spec["runtimeClassName"] = cluster.runtime_class
    if nodes := cluster.node_selector or settings.node_selector:
        spec["nodeSelector"] = dict(sorted(nodes.items()))
    if cluster.gpus:
        spec["tolerations"] = _tolerations(cluster)
    pod = _pod(cluster.pod, cluster.namespace, plan.project_id, "workspace", spec)
    if (queue := settings.queue(gpus=bool(cluster.gpus))) is not None:
        # Kueue itself holds such a pod back until its turn comes, and marks it: neither is ours to write.
        pod["metadata"]["labels"][QUEUE_LABEL] = queue
    return pod


def importer_pod(spec: ZoneSpec, delivery: Delivery, settings: PodSettings, *, attempt: int = 0) -> Manifest:
    """Return the pod that carries out one delivery into `/imports` (or out of it). A further attempt has a new name."""
    amounts = {"cpu": IMPORTER_CPU, "ephemeral-storage": str(IMPORTER_DISK), "memory": str(IMPORTER_MEMORY)}
    container = {
        "name": "importer",
        "image": settings.importer_image,
        "imagePullPolicy": "IfNotPresent",
        "command": [PYTHON, "-I", "-m", "broch_workspaces.importer"],
        "args": [],
        "workingDir": "/imports",
        # As JSON in ASCII: the name is the researcher's, and nothing on the way may read it as anything but data.
        "env": _environment(
            {
                **_reach(settings),
                "BROCH_DELIVERY": json.dumps(delivery.model_dump(mode="json"), sort_keys=True),
                "HOME": "/tmp",  # noqa: S108 - inside
                "NVIDIA_VISIBLE_DEVICES": "void",
            }
        ),
        "resources": {"limits": amounts, "requests": amounts},
        "volumeMounts": [{"mountPath": "/imports", "name": IMPORTS_CLAIM}, *_OWN_MOUNTS],
        "securityContext": _CONFINED,
    }
    body = _spec(settings, "importer", settings.importer_seconds) | {
        "containers": [container],
        "volumes": [
            {"name": IMPORTS_CLAIM, "persistentVolumeClaim": {"claimName": IMPORTS_CLAIM}},
            *_own_volumes(IMPORTER_DISK // 2),
        ],
    }
    if settings.importer_user_namespace:
        body["hostUsers"] = False
    if settings.node_selector:
        body["nodeSelector"] = dict(sorted(settings.node_selector.items()))
    name = f"import-{delivery.id.lower()}-{attempt}"
    return _pod(name, spec.namespace, spec.project_id, "importer", body)


def _cluster_of(plan: SpawnPlan) -> ClusterPlan:
    if plan.cluster is None:
        raise PodRefused("This plan is for one machine, not for a cluster.")
    return plan.cluster


_CONFINED: Manifest = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "privileged": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
}
_OWN_MOUNTS: tuple[Manifest, ...] = (
    {"mountPath": CA, "name": "broch-ca", "readOnly": True},
    {"mountPath": IDENTITY, "name": "identity", "readOnly": True},
    {"mountPath": "/tmp", "name": "tmp"},  # noqa: S108 - a mount inside, not a file of ours
)


def _own_volumes(tmp_bytes: int) -> list[Manifest]:
    return [
        {
            "configMap": {
                "defaultMode": 0o444,
                "items": [{"key": "ca.crt", "path": "ca.crt"}],
                "name": "broch-ca",
            },
            "name": "broch-ca",
        },
        {
            "name": "identity",
            "projected": {
                "defaultMode": 0o440,
                "sources": [
                    {
                        "serviceAccountToken": {
                            "audience": AUDIENCE,
                            "expirationSeconds": TOKEN_SECONDS,
                            "path": "token",
                        }
                    }
                ],
            },
        },
        {"emptyDir": {"sizeLimit": str(tmp_bytes)}, "name": "tmp"},
    ]


def _spec(settings: PodSettings, account: str, seconds: int) -> Manifest:
    return {
        "activeDeadlineSeconds": seconds,
        "automountServiceAccountToken": False,
        # The API wants a name server with "None". Nothing listens there, and the node's own are not inherited.
        "dnsConfig": {"nameservers": ["127.0.0.1"]},
        "dnsPolicy": "None",
        "enableServiceLinks": False,
        "hostAliases": [{"hostnames": [settings.gateway_host], "ip": str(settings.gateway_address)}],
        "hostname": account,
        "restartPolicy": "Never",
        "securityContext": {
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "runAsGroup": USER,
            "runAsNonRoot": True,
            "runAsUser": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "serviceAccountName": account,
        "terminationGracePeriodSeconds": settings.grace_seconds,
    }


def _pod(name: str, namespace: str, project_id: str, role: str, spec: Manifest) -> Manifest:
    labels = {PART_OF: "broch", PROJECT_LABEL: project_id.lower(), ROLE_LABEL: role}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": spec,
    }


def _reach(settings: PodSettings) -> dict[str, str]:
    return {
        "BROCH_DOOR_TOKEN_FILE": f"{IDENTITY}/token",
        "BROCH_DOOR_URL": f"https://{settings.gateway_host}:{GATEWAY_PORT}",
        "SSL_CERT_FILE": f"{CA}/ca.crt",
    }


def _literal(value: str) -> str:
    # Kubernetes expands "$(NAME)" in values and arguments; a project or file may have such a name.
    return value.replace("$", "$$")


def _environment(values: Mapping[str, str]) -> list[Manifest]:
    return [{"name": name, "value": _literal(values[name])} for name in sorted(values)]


def _mount(mount: Mount) -> Manifest:
    shown: Manifest = {"mountPath": mount.target, "name": mount.source}
    if mount.read_only:
        # Without "recursive" a file system mounted below the data would be writable.
        shown |= {"readOnly": True, "recursiveReadOnly": "Enabled"}
    return shown


def _claims(mounts: Sequence[Mount]) -> list[Manifest]:
    writable = {mount.source for mount in mounts if not mount.read_only}
    return [
        {
            "name": claim,
            "persistentVolumeClaim": {"claimName": claim} | ({} if claim in writable else {"readOnly": True}),
        }
        for claim in sorted({mount.source for mount in mounts})
    ]


def _tolerations(cluster: ClusterPlan) -> list[Manifest]:
    # Nodes with devices are commonly tainted by the resource's name, MIG slices by that of the whole device.
    keys = {key for name in cluster.gpus for key in (name, f"{name.split('/')[0]}/gpu")}
    return [{"effect": "NoSchedule", "key": key, "operator": "Exists"} for key in sorted(keys)]
