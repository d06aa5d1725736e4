"""The pod of one sandbox (pure): everything it may, and nothing else."""

from __future__ import annotations

from typing import Any

from broch_workspaces.cluster.spec import PART_OF, ROLE_LABEL
from broch_workspaces.sandboxes.settings import BrokerSettings

SANDBOX_ROLE = "sandbox"
OWNER_LABEL = "broch.dev/broker"
"""Label with the name of the broker's pod that made this one."""
BROKER_RULES: list[dict[str, Any]] = [
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["create", "delete", "list"]}
]
"""Rights of the broker's account, in the sandboxes' namespace alone."""
_INSIDE = "broch_workspaces.sandboxes.inside"
_USER = 1000
_CARRY_MEMORY = 96 << 20
_MARGIN = 64 << 20
"""Bytes of disk beside the inputs: logs of the containers."""


def selector() -> str:
    """Return the label selector of all sandboxes."""
    return f"{PART_OF}=broch,{ROLE_LABEL}={SANDBOX_ROLE}"


def sandbox_pod(name: str, token: str, authority: str, settings: BrokerSettings) -> dict[str, Any]:
    """Return the manifest of one sandbox.

    Args:
        name: of the pod.
        token: good for one call back; the module's container does not have it.
        authority: certificate of the authority that the broker's certificate is of, PEM.
        settings: image, bounds, and where the broker is.
    """
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": settings.deadline_seconds,
        # What is killed has nothing to save.
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "hostUsers": not settings.user_namespaces,
        "hostNetwork": False,
        "hostPID": False,
        "hostIPC": False,
        "shareProcessNamespace": False,
        # The API server wants an address; nothing listens at this one.
        "dnsPolicy": "None",
        "dnsConfig": {"nameservers": ["127.0.0.1"]},
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_carry(token, authority, settings), _look(settings)],
        "volumes": [
            {"name": "inputs", "emptyDir": {"sizeLimit": str(settings.inputs_bytes + _MARGIN)}},
            {"name": "meeting", "emptyDir": {"sizeLimit": "1Mi", "medium": "Memory"}},
        ],
    }
    if settings.runtime_class:
        spec["runtimeClassName"] = settings.runtime_class
    if settings.node_selector:
        spec["nodeSelector"] = dict(settings.node_selector)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": settings.namespace,
            "labels": {PART_OF: "broch", ROLE_LABEL: SANDBOX_ROLE, OWNER_LABEL: settings.owner},
        },
        "spec": spec,
    }


def _carry(token: str, authority: str, settings: BrokerSettings) -> dict[str, Any]:
    told = {
        "BROCH_SANDBOX_HOST": settings.address,
        "BROCH_SANDBOX_PORT": str(settings.pods_port),
        "BROCH_SANDBOX_NAME": settings.name,
        "BROCH_SANDBOX_CA": authority,
        "BROCH_SANDBOX_TOKEN": token,
    }
    return _container(
        "carry",
        settings,
        env=[{"name": key, "value": value} for key, value in told.items()],
        mounts=[
            {"name": "inputs", "mountPath": "/in"},
            {"name": "meeting", "mountPath": "/run/sandbox"},
        ],
        cpu="500m",
        memory=_CARRY_MEMORY,
        disk=settings.inputs_bytes + _MARGIN,
    )


def _look(settings: BrokerSettings) -> dict[str, Any]:
    read_only = {"readOnly": True, "recursiveReadOnly": "Enabled"}
    return _container(
        "look",
        settings,
        env=[],
        mounts=[
            {"name": "inputs", "mountPath": "/in", **read_only},
            {"name": "meeting", "mountPath": "/run/sandbox", **read_only},
        ],
        cpu=f"{int(settings.cpu * 1000)}m",
        memory=settings.memory_bytes,
        disk=_MARGIN,
    )


def _container(
    name: str,
    settings: BrokerSettings,
    *,
    env: list[dict[str, Any]],
    mounts: list[dict[str, Any]],
    cpu: str,
    memory: int,
    disk: int,
) -> dict[str, Any]:
    bounds = {"memory": str(memory), "ephemeral-storage": str(disk)}
    return {
        "name": name,
        "image": settings.image,
        "imagePullPolicy": "IfNotPresent",
        "command": [settings.python, "-I", "-B", "-m", f"{_INSIDE}.{name}"],
        "workingDir": "/",
        "env": env,
        "volumeMounts": mounts,
        # Memory and disk are asked for in full, so that none is ended for another's sake; cores are shared.
        "resources": {"requests": {**bounds, "cpu": "100m"}, "limits": {**bounds, "cpu": cpu}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
    }
