"""Whether a cluster does what a NetworkPolicy says, asked by real packets."""

from __future__ import annotations

import time

from support.cluster.cluster import Cluster, eventually
from support.cluster.targets import Target, listening_pod, probe, python_pod

_DENY = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "deny"},
    "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
}


class PoliciesIgnored(AssertionError):
    """The cluster accepted a policy, and what it denies still passes."""

    def __init__(self) -> None:
        super().__init__(
            "this cluster's CNI does not enforce NetworkPolicy: a connection that a policy denies still passes. "
            "Nothing about isolation can be claimed on it; use one with Calico, Cilium or another that does"
        )


def enforcement(cluster: Cluster, image: str, seconds: float = 60) -> float:
    """Deny a connection that works; return the seconds that it took to stop working.

    Raises:
        PoliciesIgnored: it works still.
    """
    with cluster.namespace("selfcheck") as space:
        address = cluster.run(listening_pod("server", image, "tcp:0.0.0.0:8080"), space)
        cluster.run(python_pod("client", image), space)
        target = Target("server", "tcp", address, 8080)

        def reached() -> bool:
            return probe(cluster, space, "client", [target])["server"].reached

        eventually(reached)  # else the refusal below would prove nothing
        began = time.monotonic()
        cluster.apply(_DENY, namespace=space)
        try:
            eventually(lambda: not reached(), seconds=seconds)
        except AssertionError as problem:
            raise PoliciesIgnored from problem
        return time.monotonic() - began
