"""A gateway beside the node of a cluster, and pods that have what docs/cluster.md gives a workspace."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.cluster.cluster import Cluster
from support.cluster.places import answers
from support.cluster.targets import python_pod

NAME = "gateway.broch.internal"
CALLER = Path(__file__).with_name("gateway_caller.py").read_text()
PORT, OWN, DOOR, HUB = 9443, 9448, 9445, 9081
RUN = "from broch_workspaces.gateway import main; main()"


@dataclass(frozen=True)
class Gateway:
    """A gateway that runs beside the node, and how to ask it from this machine."""

    address: str
    port: int
    ca: Path

    def connect(self) -> ssl.SSLSocket:
        context = ssl.create_default_context(cafile=str(self.ca))
        plain = socket.create_connection((self.address, self.port), timeout=30)
        return context.wrap_socket(plain, server_hostname=NAME)

    def ask(self, path: str, token: str, method: str = "GET", **headers: str) -> tuple[int, Any]:
        """Ask once; return status and body."""
        with self.connect() as connection:
            lines = [f"{method} {path} HTTP/1.1", f"Host: {NAME}", f"Authorization: Bearer {token}"]
            lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
            connection.sendall("\r\n".join([*lines, "", ""]).encode())
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            return answer.status, json.loads(answer.read())


def account_of_gateway(cluster: Cluster, folder: Path, *, rights: bool) -> Path:
    """Make an account that may create TokenReviews, or nothing; return a kubeconfig of it."""
    name = "broch-gateway" if rights else "broch-nothing"
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": "default"},
    }
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name},
        "rules": [
            {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]}
        ]
        if rights
        else [],
    }
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "default"}],
    }
    cluster.apply(account, role, binding)
    token = cluster.kubectl("create", "token", name, "-n", "default", "--duration=2h").strip()
    shown = json.loads(cluster.kubectl("config", "view", "--raw", "--minify", "--flatten", "--output=json"))
    shown["users"] = [{"name": shown["contexts"][0]["context"]["user"], "user": {"token": token}}]
    path = folder / f"{name}.kubeconfig"
    path.write_text(json.dumps(shown))
    return path


@contextmanager
def running(
    cluster: Cluster, folder: Path, kubeconfig: Path, port: int = PORT, **settings: str
) -> Iterator[Gateway]:
    """Run a gateway in the node's network."""
    address = cluster.place.address
    own = port + OWN - PORT
    environment = {
        "BROCH_TLS": str(folder / "tls"),
        "BROCH_SECRETS": str(folder / "secrets"),
        "BROCH_GATEWAY_DOOR": f"https://{address}:{DOOR}",
        "BROCH_GATEWAY_HUB": f"https://{address}:{HUB}",
        "BROCH_GATEWAY_KUBECONFIG": str(kubeconfig),
        "BROCH_GATEWAY_LISTEN": address,
        "BROCH_GATEWAY_PORT": str(port),
        "BROCH_GATEWAY_OWN_PORT": str(own),
        "BROCH_GATEWAY_REFUSAL_SECONDS": "0.1",
        **{f"BROCH_GATEWAY_{name.upper()}": value for name, value in settings.items()},
    }
    words = [sys.executable, "-c", RUN]
    log = folder / f"gateway-{port}.log"
    with cluster.place.running(words, log, environment=environment, ready=answers(address, own)):
        yield Gateway(address, port, folder / "tls" / "ca.crt")
    assert "Traceback" not in log.read_text()


def pod(gateway: Gateway, image: str, name: str, account: str = "workspace") -> dict[str, Any]:
    """Return a pod that has what docs/cluster.md gives a workspace, and waits to be entered."""
    identity = {
        "name": "identity",
        "projected": {
            "sources": [
                {
                    "serviceAccountToken": {
                        "audience": "broch-gateway",
                        "expirationSeconds": 600,
                        "path": "token",
                    }
                }
            ]
        },
    }
    return python_pod(
        name,
        image,
        spec={
            "serviceAccountName": account,
            "dnsPolicy": "None",
            "dnsConfig": {"nameservers": ["127.0.0.1"]},
            "hostAliases": [{"ip": gateway.address, "hostnames": [NAME]}],
            "volumes": [identity, {"name": "ca", "configMap": {"name": "broch-ca"}}],
        },
        container={
            "env": [
                {"name": "BROCH_DOOR_URL", "value": f"https://{NAME}:{gateway.port}"},
                {"name": "BROCH_DOOR_TOKEN_FILE", "value": "/run/broch/identity/token"},
                {"name": "SSL_CERT_FILE", "value": "/etc/broch/ca/ca.crt"},
            ],
            "volumeMounts": [
                {"name": "identity", "mountPath": "/run/broch/identity", "readOnly": True},
                {"name": "ca", "mountPath": "/etc/broch/ca", "readOnly": True},
            ],
        },
    )


@dataclass(frozen=True)
class Inside:
    """A running pod."""

    cluster: Cluster
    namespace: str
    name: str

    def ask(self, path: str, token: str = "", method: str = "GET") -> tuple[int, Any]:
        """Ask the gateway from inside."""
        words = ["/bin/python3", "-I", "-S", "-", method, path, *([token] if token else [])]
        found = json.loads(self.cluster.exec(self.namespace, self.name, *words, stdin=CALLER))
        return found["status"], found["body"]

    def token(self) -> str:
        """Return its own projected token."""
        read = "print(open('/run/broch/identity/token').read())"
        return self.cluster.exec(self.namespace, self.name, "/bin/python3", "-I", "-S", "-c", read).strip()
