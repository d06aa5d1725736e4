"""The broker of sandboxes in a pod of the test cluster, with its own account, and the policies that its pods live under."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from broch_workspaces.sandbox.errors import SandboxUnavailable
from broch_workspaces.sandboxes.client import BrokerSandbox
from broch_workspaces.sandboxes.pods import BROKER_RULES, selector
from support.cluster.authority import Authority
from support.cluster.cluster import Cluster, Refused, eventually

NAME = "broch-sandboxes"
TOKEN = "token-of-web-in-this-test"
_RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


@dataclass(frozen=True)
class ClusterBroker:
    """A running broker."""

    cluster: Cluster
    release: str
    """Namespace of the broker."""
    space: str
    """Namespace of the sandboxes."""
    address: str
    """Of its Service."""
    folder: Path

    def sandbox(self) -> BrokerSandbox:
        """Return web's side."""
        return BrokerSandbox(f"{self.address}:8446", self.folder / "web", self.folder / "token")

    def pods(self) -> list[dict[str, Any]]:
        """Return the sandboxes that there are."""
        found = self.cluster.get("pods", namespace=self.space, selector=selector())
        items: list[dict[str, Any]] = found["items"]
        return items

    def names(self) -> set[str]:
        """Return their names."""
        return {pod["metadata"]["name"] for pod in self.pods()}


@contextmanager
def running_broker(
    cluster: Cluster, authority: Authority, image: str, folder: Path, **settings: str
) -> Iterator[ClusterBroker]:
    """Run it; `settings` are further variables `BROCH_SANDBOXES_*`, in lower case."""
    with (
        cluster.namespace("broker", _RESTRICTED) as release,
        cluster.namespace("sandboxes", _RESTRICTED) as space,
    ):
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "broker"}}
        cluster.apply(_service(), account, namespace=release)
        cluster.apply(*_rights(release), *_policies_of_sandboxes(release), namespace=space)
        address = str(cluster.get("service", NAME, release)["spec"]["clusterIP"])
        authority.issue("broch-web").write(folder / "web")
        (folder / "token").write_text(TOKEN)
        cluster.apply(
            authority.issue(NAME, addresses=[address]).secret("tls", release),
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "tokens"},
                "data": {"sandboxes": base64.b64encode(TOKEN.encode()).decode()},
            },
            namespace=release,
        )
        try:
            cluster.run(_pod(image, space, settings), release)
        except Refused as problem:
            raise Refused(f"{problem}\n{cluster.logs(release, 'broker', '--tail=30')}") from None
        broker = ClusterBroker(cluster, release, space, address, folder)
        eventually(lambda: _answers(broker), seconds=60)
        yield broker


def _answers(broker: ClusterBroker) -> bool:
    """Tell whether web reaches it: the Service's rules come a little after the pod is ready."""
    try:
        return "pods" in broker.sandbox().check()
    except SandboxUnavailable:
        return False


def _service() -> dict[str, Any]:
    ports = [{"name": "web", "port": 8446}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": NAME},
        "spec": {"selector": {"app": "broker"}, "ports": ports},
    }


def _rights(release: str) -> list[dict[str, Any]]:
    name = {"name": "broker"}
    rbac = "rbac.authorization.k8s.io"
    return [
        {"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": name, "rules": BROKER_RULES},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": name,
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "broker"},
            "subjects": [{"kind": "ServiceAccount", "name": "broker", "namespace": release}],
        },
    ]


def _policies_of_sandboxes(release: str) -> list[dict[str, Any]]:
    """Return what the chart has: nothing in, out to the broker's second port alone."""
    broker = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": release}},
        "podSelector": {"matchLabels": {"app": "broker"}},
    }
    return [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "sandboxes"},
            "spec": {
                "podSelector": {},
                "policyTypes": ["Ingress", "Egress"],
                "egress": [{"to": [broker], "ports": [{"protocol": "TCP", "port": 8447}]}],
            },
        }
    ]


def _pod(image: str, space: str, settings: dict[str, str]) -> dict[str, Any]:
    told = {
        "BROCH_SANDBOXES_NAME": NAME,
        "BROCH_SANDBOXES_NAMESPACE": space,
        "BROCH_SANDBOXES_IMAGE": image,
        # A small node is shared by all tests.
        "BROCH_SANDBOXES_INPUTS_BYTES": str(64 << 20),
        **{f"BROCH_SANDBOXES_{key.upper()}": value for key, value in settings.items()},
    }
    fields = {"BROCH_SANDBOXES_ADDRESS": "status.podIP", "BROCH_SANDBOXES_OWNER": "metadata.name"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "broker", "labels": {"app": "broker"}},
        "spec": {
            "serviceAccountName": "broker",
            # Else the Service of the same name says BROCH_SANDBOXES_PORT=tcp://...
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 5,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 1000,
                "fsGroup": 1000,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "volumes": [
                {"name": "tls", "secret": {"secretName": "tls"}},
                {"name": "tokens", "secret": {"secretName": "tokens"}},
            ],
            "containers": [
                {
                    "name": "broker",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["/opt/venv/bin/broch", "serve", "sandboxes"],
                    "env": [
                        *({"name": key, "value": value} for key, value in told.items()),
                        *(
                            {"name": key, "valueFrom": {"fieldRef": {"fieldPath": path}}}
                            for key, path in fields.items()
                        ),
                    ],
                    "volumeMounts": [
                        {"name": "tls", "mountPath": "/etc/broch/tls", "readOnly": True},
                        {"name": "tokens", "mountPath": "/etc/broch/secrets", "readOnly": True},
                    ],
                    "readinessProbe": {"tcpSocket": {"port": 8446}, "periodSeconds": 1},
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
        },
    }
