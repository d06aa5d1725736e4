"""What a zone must not reach, and pods that try: each target has a listener, and a control pod reaches it first."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from support.cluster.cluster import Cluster

PROBE = Path(__file__).with_name("probe_inside.py").read_text()
LISTEN = Path(__file__).with_name("listen_inside.py").read_text()

Kind = Literal["tcp", "http", "udp", "dns", "name", "icmp"]


@dataclass(frozen=True)
class Target:
    """Something to reach. `name` is how a test speaks of it; `name` as a kind asks the pod's own resolver for `host`."""

    name: str
    kind: Kind
    host: str
    port: int = 0


@dataclass(frozen=True)
class Found:
    """What came of trying one target."""

    reached: bool
    how: str


def _hardened() -> dict[str, Any]:
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def python_pod(
    name: str,
    image: str,
    source: str = "import signal; signal.pause()",
    arguments: Sequence[str] = (),
    *,
    labels: Mapping[str, str] | None = None,
    spec: Mapping[str, Any] | None = None,
    container: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return a pod that Pod Security `restricted` accepts and that runs Python `source`.

    Args:
        name: of the pod.
        image: by digest, as `load_image` gave it.
        source: what it runs; by default it waits to be entered by `exec`.
        arguments: `sys.argv[1:]`.
        labels: of the pod; `app` is its name besides.
        spec: fields of the pod's spec, over the default ones.
        container: fields of the container, over the default ones.
    """
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name, **(labels or {})}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 1000,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            **(spec or {}),
            "containers": [
                {
                    "name": "main",
                    "image": image,
                    "imagePullPolicy": "Never",
                    "command": ["/bin/python3", "-I", "-S", "-c", source, *arguments],
                    "securityContext": _hardened(),
                    **(container or {}),
                }
            ],
        },
    }


def listening_pod(name: str, image: str, *listeners: str, **more: Any) -> dict[str, Any]:
    """Return a pod that listens (`tcp:0.0.0.0:8080`, `udp:...`, `dns:...`) and is Ready once its first TCP port is."""
    port = next((int(word.split(":")[2]) for word in listeners if word.startswith("tcp:")), 0)
    ready = {"readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1}} if port else {}
    container = {**ready, **more.pop("container", {})}
    return python_pod(name, image, LISTEN, listeners, container=container, **more)


def probe(cluster: Cluster, namespace: str, pod: str, targets: Iterable[Target]) -> dict[str, Found]:
    """Try `targets` from a running pod that has `/bin/python3`; return what came of each by name."""
    asked = json.dumps([asdict(target) for target in targets])
    out = cluster.exec(namespace, pod, "/bin/python3", "-I", "-S", "-", asked, stdin=PROBE)
    return {name: Found(**found) for name, found in json.loads(out).items()}


def unreached(found: Mapping[str, Found]) -> dict[str, str]:
    """Return what was not reached, and why: must be empty for a control."""
    return {name: one.how for name, one in found.items() if not one.reached}


def reached(found: Mapping[str, Found]) -> dict[str, str]:
    """Return what was reached, and what answered: must be empty for a zone."""
    return {name: one.how for name, one in found.items() if one.reached}
