"""The last look at a pod before it is made: an allow-list of every field, written without the code that builds pods.

A field that nobody thought of is refused. What a manifest says must be what Kubernetes then does: defaults that are not
safe have to be spelled out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from broch_workspaces.cluster.settings import PodSettings
from broch_workspaces.cluster.shapes import (
    BYTES,
    CORES,
    NAME,
    TEXT,
    Shape,
    either,
    exactly,
    listing,
    matching,
    record,
    whole,
)
from broch_workspaces.cluster.spec import ZoneSpec
from broch_workspaces.plan import SpawnPlan


class NotHardened(Exception):
    """A pod asks for what no pod of a zone may have."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


@dataclass(frozen=True)
class Rules:
    """What one pod must be; everything else about it is the same for all."""

    role: Literal["workspace", "importer"]
    namespace: str
    project: str
    """Value of the label, lower case."""
    image_prefixes: tuple[str, ...]
    gateway_address: str
    gateway_host: str
    longest_seconds: int
    read_only: Mapping[str, str] = field(default_factory=dict)
    """Path inside -> claim."""
    writable: Mapping[str, str] = field(default_factory=dict)
    shared: bool = False
    """Of all members of a project: its home is nobody's and lasts as long as the pod."""
    devices: Mapping[str, int] = field(default_factory=dict)
    user_namespace: bool = True
    runtime_class: str = ""
    priority_class: str | None = None
    node_selector: Mapping[str, str] = field(default_factory=dict)
    queue: str | None = None
    """Of Kueue, in which the pod waits. What Kueue adds once it has it (a gate, a label, a finalizer) is never sent."""

    @classmethod
    def for_workspace(cls, plan: SpawnPlan, settings: PodSettings) -> Self:
        """Return the rules for the pod of a plan.

        Raises:
            ValueError: the plan is not for a cluster.
        """
        if plan.cluster is None:
            raise ValueError("This plan is for one machine, not for a cluster.")
        return cls(
            role="workspace",
            namespace=plan.cluster.namespace,
            project=plan.project_id.lower(),
            image_prefixes=settings.image_prefixes,
            gateway_address=str(settings.gateway_address),
            gateway_host=settings.gateway_host,
            longest_seconds=settings.longest_seconds,
            read_only={mount.target: mount.source for mount in plan.mounts if mount.read_only},
            writable={mount.target: mount.source for mount in plan.mounts if not mount.read_only}
            | ({} if plan.home is None else {"/home/researcher": plan.home}),
            shared=plan.shared,
            devices=plan.cluster.gpus,
            user_namespace=plan.cluster.user_namespace,
            runtime_class=plan.cluster.runtime_class,
            priority_class=settings.priority_class(gpus=bool(plan.cluster.gpus)),
            node_selector=plan.cluster.node_selector or settings.node_selector,
            queue=settings.queue(gpus=bool(plan.cluster.gpus)),
        )

    @classmethod
    def for_importer(cls, spec: ZoneSpec, settings: PodSettings) -> Self:
        """Return the rules for importer pods of a zone."""
        return cls(
            role="importer",
            namespace=spec.namespace,
            project=spec.project_id.lower(),
            image_prefixes=settings.image_prefixes,
            gateway_address=str(settings.gateway_address),
            gateway_host=settings.gateway_host,
            longest_seconds=settings.importer_seconds,
            writable={"/imports": "imports"},
            user_namespace=settings.importer_user_namespace,
            node_selector=settings.node_selector,
        )


def assert_hardened(pod: Mapping[str, Any], rules: Rules) -> None:
    """Refuse a pod that is anything but what the rules say.

    Raises:
        NotHardened: with every reason.
    """
    reasons = list(_pod(rules)(pod, "pod"))
    if not reasons:
        # Only now is it sure that every part has the shape that these read.
        reasons = [*_mounts(pod["spec"], rules), *_environment(pod["spec"], rules)]
    if reasons:
        raise NotHardened(reasons)


def _pod(rules: Rules) -> Shape:
    workspace = rules.role == "workspace"
    pod_name = r"ws-[a-z0-9]{20,40}-[0-9a-f]{16}" if workspace else r"import-[a-z0-9]{26}-[0-9]{1,6}"
    labels = {
        "app.kubernetes.io/part-of": exactly("broch"),
        "broch.dev/project": exactly(rules.project),
        "broch.dev/role": exactly(rules.role),
    }
    if rules.queue is not None:
        labels["kueue.x-k8s.io/queue-name"] = exactly(rules.queue)
    metadata = record(
        {"name": matching(pod_name), "namespace": exactly(rules.namespace), "labels": record(labels)}
    )
    return record(
        {
            "apiVersion": exactly("v1"),
            "kind": exactly("Pod"),
            "metadata": metadata,
            "spec": _spec(rules),
        }
    )


def _spec(rules: Rules) -> Shape:
    must: dict[str, Shape] = {
        "activeDeadlineSeconds": whole(1, rules.longest_seconds),
        "automountServiceAccountToken": exactly(False),  # noqa: FBT003 - a value, not a switch
        "containers": listing(_container(rules), 1, 1),
        "dnsConfig": record({"nameservers": exactly(["127.0.0.1"])}),
        "dnsPolicy": exactly("None"),
        "enableServiceLinks": exactly(False),  # noqa: FBT003
        "hostAliases": exactly([{"hostnames": [rules.gateway_host], "ip": rules.gateway_address}]),
        "hostname": exactly(rules.role),
        "restartPolicy": exactly("Never"),
        "securityContext": record(
            {
                "fsGroup": exactly(1000),
                "fsGroupChangePolicy": exactly("OnRootMismatch"),
                "runAsGroup": exactly(1000),
                "runAsNonRoot": exactly(True),  # noqa: FBT003
                "runAsUser": exactly(1000),
                "seccompProfile": exactly({"type": "RuntimeDefault"}),
            }
        ),
        "serviceAccountName": exactly(rules.role),
        "terminationGracePeriodSeconds": whole(0, 30),
        "volumes": listing(_VOLUME, 1),
    }
    if rules.user_namespace:
        must["hostUsers"] = exactly(False)  # noqa: FBT003
    if rules.priority_class is not None:
        must["priorityClassName"] = exactly(rules.priority_class)
    if rules.runtime_class:
        must["runtimeClassName"] = exactly(rules.runtime_class)
    if rules.node_selector:
        must["nodeSelector"] = exactly(dict(rules.node_selector))
    if rules.devices:
        keys = {key for name in rules.devices for key in (name, name.split("/")[0] + "/gpu")}
        must["tolerations"] = listing(
            record(
                {
                    "effect": exactly("NoSchedule"),
                    "key": exactly(*sorted(keys)),
                    "operator": exactly("Exists"),
                }
            ),
            1,
        )
    return record(must)


def _container(rules: Rules) -> Shape:
    workspace = rules.role == "workspace"
    inside = ["/opt/broch/lab.py"] if workspace else ["-m", "broch_workspaces.importer"]
    prefixes = "|".join(re.escape(prefix) for prefix in rules.image_prefixes)
    amounts = {"cpu": CORES, "ephemeral-storage": BYTES, "memory": BYTES}
    devices = {name: exactly(str(number)) for name, number in rules.devices.items()}
    must: dict[str, Shape] = {
        "name": exactly("notebook" if workspace else "importer"),
        "image": matching(
            rf"({prefixes})[a-z0-9][a-z0-9./_-]{{0,200}}(:[a-z0-9._-]{{1,128}})?@sha256:[0-9a-f]{{64}}"
        ),
        "imagePullPolicy": exactly("IfNotPresent"),
        "command": exactly(["/opt/venv/bin/python", "-I", *inside]),
        "args": listing(TEXT, 0, 50 if workspace else 0),
        "workingDir": exactly("/home/researcher" if workspace else "/imports"),
        "env": listing(record({"name": _VARIABLE, "value": TEXT})),
        "resources": record({"limits": record(amounts | devices), "requests": record(amounts)}),
        "volumeMounts": listing(_MOUNT, 1),
        "securityContext": record(
            {
                "allowPrivilegeEscalation": exactly(False),  # noqa: FBT003
                "capabilities": exactly({"drop": ["ALL"]}),
                "privileged": exactly(False),  # noqa: FBT003
                "readOnlyRootFilesystem": exactly(True),  # noqa: FBT003
                "runAsNonRoot": exactly(True),  # noqa: FBT003
            }
        ),
    }
    if workspace:
        must["ports"] = exactly([{"containerPort": 8888, "name": "notebook", "protocol": "TCP"}])
    return record(must)


_VARIABLE = matching(
    r"JUPYTERHUB_[A-Z0-9_]{1,60}|JPY_[A-Z0-9_]{1,60}|BROCH_[A-Z0-9_]{1,60}|HOME|SSL_CERT_FILE|NVIDIA_VISIBLE_DEVICES"
)
"""No PATH, no PYTHON*, no LD_*, no proxy, no driver: nothing that changes what runs or where it connects."""

_VOLUME = either(
    configMap=exactly(
        {"defaultMode": 0o444, "items": [{"key": "ca.crt", "path": "ca.crt"}], "name": "broch-ca"}
    ),
    emptyDir=record({"sizeLimit": BYTES}, {"medium": exactly("Memory")}),
    persistentVolumeClaim=record({"claimName": NAME}, {"readOnly": exactly(True)}),  # noqa: FBT003
    projected=exactly(
        {
            "defaultMode": 0o440,
            "sources": [
                {
                    "serviceAccountToken": {
                        "audience": "broch-gateway",
                        "expirationSeconds": 600,
                        "path": "token",
                    }
                }
            ],
        }
    ),
)
_MOUNT = record(
    {"name": NAME, "mountPath": matching(r"/[A-Za-z0-9._/-]{1,200}")},
    {"readOnly": exactly(True), "recursiveReadOnly": exactly("Enabled")},  # noqa: FBT003
)

_OWN = {
    "/etc/broch/ca": ("configMap", True),
    "/run/broch/identity": ("projected", True),
    "/tmp": ("emptyDir", False),  # noqa: S108 - inside
    "/dev/shm": ("emptyDir", False),  # noqa: S108 - inside
}
"""What every pod may have besides claims: path inside -> kind of volume, read-only."""
_FLEETING = "/home/researcher"
"""An empty folder too, in a shared workspace; anywhere else it is a claim."""


_PLACES = {
    "workspace": (r"/data/[a-z0-9][a-z0-9._-]{0,100}|/imports|/project", r"/project|/home/researcher"),
    "importer": (r"", r"/imports"),
}
"""Where claims may be shown, whatever a plan says: those that are read, and those that are written."""


def _mounts(spec: Mapping[str, Any], rules: Rules) -> Iterator[str]:
    mounts = spec["containers"][0]["volumeMounts"]
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    paths = [mount["mountPath"] for mount in mounts]
    if len(volumes) != len(spec["volumes"]) or len(set(paths)) != len(paths):
        yield "a volume's name or a mount's path is there twice"
    if set(volumes) != {mount["name"] for mount in mounts}:
        yield "volumes and mounts do not match"
        return
    wanted = (*rules.read_only, *rules.writable, *((_FLEETING,) if rules.shared else ()))
    yield from (f"{path} is not mounted" for path in wanted if path not in paths)
    read, written = _PLACES[rules.role]
    for mount in mounts:
        path, volume = mount["mountPath"], volumes[mount["name"]]
        if path in _OWN or (path == _FLEETING and rules.shared):
            yield from _own(path, mount, volume)
        elif path in rules.read_only and re.fullmatch(read, path):
            yield from _read_only(path, mount, volume, rules)
        elif path in rules.writable and re.fullmatch(written, path):
            claim = {"claimName": rules.writable[path]}
            if volume.get("persistentVolumeClaim") != claim or set(mount) != {"mountPath", "name"}:
                yield f"{path} is not the claim {rules.writable[path]}"
        else:
            yield f"{path} is mounted where nothing of this kind may be"


def _own(path: str, mount: Mapping[str, Any], volume: Mapping[str, Any]) -> Iterator[str]:
    kind, locked = _OWN.get(path, ("emptyDir", False))
    if kind not in volume or mount.get("readOnly", False) is not locked or "recursiveReadOnly" in mount:
        yield f"{path} is not the {kind} that it must be"
    elif kind == "emptyDir" and (volume[kind].get("medium") == "Memory") is not (path == "/dev/shm"):  # noqa: S108
        yield f"{path} is not of the medium that it must be"


def _read_only(path: str, mount: Mapping[str, Any], volume: Mapping[str, Any], rules: Rules) -> Iterator[str]:
    claim = volume.get("persistentVolumeClaim", {})
    locked = mount.get("readOnly") is True and mount.get("recursiveReadOnly") == "Enabled"
    if claim.get("claimName") != rules.read_only[path] or not locked:
        yield f"{path} is not the claim {rules.read_only[path]}, read-only throughout"
    elif claim.get("readOnly") is not True and claim["claimName"] not in rules.writable.values():
        yield f"the claim {claim['claimName']} is not read-only"
    elif path.startswith("/data/") and claim["claimName"] in rules.writable.values():
        yield f"{path} is data, and the same claim is writable elsewhere"


def _environment(spec: Mapping[str, Any], rules: Rules) -> Iterator[str]:
    variables = {one["name"]: one["value"] for one in spec["containers"][0]["env"]}
    if len(variables) != len(spec["containers"][0]["env"]):
        yield "a variable is there twice"
    fixed = {
        "BROCH_DOOR_TOKEN_FILE": "/run/broch/identity/token",
        "BROCH_DOOR_URL": f"https://{rules.gateway_host}:8443",
        "SSL_CERT_FILE": "/etc/broch/ca/ca.crt",
    }
    if rules.shared:
        fixed["BROCH_SHARED"] = "1"
    elif "BROCH_SHARED" in variables:
        yield "a person's own workspace is not shared"
    if not rules.devices:
        fixed["NVIDIA_VISIBLE_DEVICES"] = "void"
    elif "NVIDIA_VISIBLE_DEVICES" in variables:
        yield "the node says which devices a pod sees, not its environment"
    yield from (
        f"the variable {name} is not {value}" for name, value in fixed.items() if variables.get(name) != value
    )
    # An odd number of dollar signs before a parenthesis is a reference that Kubernetes would fill in.
    for value in (*variables.values(), *spec["containers"][0]["args"]):
        if re.search(r"(?<!\$)(\$\$)*\$\(", value):
            yield f"{value!r} refers to a variable"
