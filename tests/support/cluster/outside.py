"""A network beyond the node that plays the cloud and the internet: metadata address, a web server, a resolver."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from support.cluster.cluster import Cluster
from support.cluster.places import Place
from support.cluster.targets import Target

METADATA = "169.254.169.254"
INTERNET = "192.0.2.80"
"""Of TEST-NET-1 (RFC 5737): nobody's address."""
RESOLVER = "192.0.2.53"
NODE_PORT = 18099
"""Where something listens on the node itself, TCP and UDP."""
# The link between node and beyond: TEST-NET-3, of which no cluster has a part.
_NEAR, _FAR = "203.0.113.1", "203.0.113.2"

LISTENERS = Path(__file__).with_name("listen_inside.py")


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


@contextmanager
def _network(cluster: Cluster) -> Iterator[Place]:
    """Make a network namespace behind the node that holds the three addresses; pods get there by way of the node."""
    name = f"{cluster.node.name}-out"
    subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)  # of a killed run
    _ip("netns", "add", name)
    beyond = Place(METADATA, ("ip", "netns", "exec", name))
    try:
        node = cluster.place
        node.run("ip", "link", "add", "beyond", "type", "veth", "peer", "name", "eth0", "netns", name)
        node.run("ip", "address", "add", f"{_NEAR}/30", "dev", "beyond")
        node.run("ip", "link", "set", "beyond", "up")
        beyond.run("ip", "link", "set", "lo", "up")
        beyond.run("ip", "address", "add", f"{_FAR}/30", "dev", "eth0")
        for address in (METADATA, INTERNET, RESOLVER):
            beyond.run("ip", "address", "add", f"{address}/32", "dev", "lo")
        beyond.run("ip", "link", "set", "eth0", "up")
        beyond.run("ip", "route", "add", "default", "via", _NEAR)
        for address in (METADATA, "192.0.2.0/24"):
            node.run("ip", "route", "add", address, "via", _FAR)
        yield beyond
    finally:
        # The pair of devices goes with it, and with them the node's routes.
        _ip("netns", "delete", name)


@contextmanager
def world_outside(cluster: Cluster, folder: Path) -> Iterator[tuple[Target, ...]]:
    """Let somebody listen at every address outside the cluster that a zone must not reach; yield the targets."""
    if not cluster.own:
        pytest.fail(
            "the metadata address and the internet can be played on the test bed alone, whose node's network belongs "
            "to the tests: run without BROCH_TEST_KUBECONFIG"
        )
    node = cluster.node.address
    with ExitStack() as stack:
        beyond = stack.enter_context(_network(cluster))
        far = (
            f"tcp:{METADATA}:80",
            f"tcp:{INTERNET}:443",
            f"tcp:{INTERNET}:80",
            f"udp:{INTERNET}:4444",
            f"dns:{RESOLVER}:53",
            f"tcp:{RESOLVER}:53",
        )
        near = (f"tcp:{node}:{NODE_PORT}", f"udp:{node}:{NODE_PORT}")
        for place, name, listeners in ((beyond, "beyond", far), (cluster.place, "node", near)):
            log = folder / f"listeners-{name}.log"
            words = [sys.executable, "-I", "-S", LISTENERS, *listeners]
            stack.enter_context(place.running(words, log, ready=lambda log=log: "ready" in log.read_text()))
        yield (
            Target("metadata address", "http", METADATA, 80),
            Target("internet, HTTPS", "tcp", INTERNET, 443),
            Target("internet, HTTP", "http", INTERNET, 80),
            Target("internet, UDP", "udp", INTERNET, 4444),
            Target("internet, ICMP", "icmp", INTERNET),
            Target("forwarding resolver", "dns", RESOLVER, 53),
            Target("forwarding resolver, TCP", "tcp", RESOLVER, 53),
            Target("node, TCP", "tcp", node, NODE_PORT),
            Target("node, UDP", "udp", node, NODE_PORT),
            Target("node, ICMP", "icmp", node),
            Target("kubelet", "tcp", node, 10250),
        )


def inside_targets(cluster: Cluster) -> tuple[Target, ...]:
    """Return what every cluster has within and a zone must not reach: the API server and the cluster's DNS."""
    server = cluster.get("service", "kubernetes", "default")["spec"]["clusterIP"]
    endpoints = cluster.get("endpointslice", "", "default", "kubernetes.io/service-name=kubernetes")["items"][
        0
    ]
    behind = endpoints["endpoints"][0]["addresses"][0], endpoints["ports"][0]["port"]
    resolver = cluster.get("service", "kube-dns", "kube-system")["spec"]["clusterIP"]
    resolvers = cluster.get("pod", "", "kube-system", "k8s-app=kube-dns")["items"]
    return (
        Target("API server, by its Service", "tcp", server, 443),
        Target("API server, by its address", "tcp", *behind),
        Target("API server, by its name", "tcp", "kubernetes.default.svc.cluster.local", 443),
        Target("cluster DNS, a name", "name", "kubernetes.default.svc.cluster.local", 443),
        Target("cluster DNS, UDP", "dns", resolver, 53),
        Target("cluster DNS, TCP", "tcp", resolver, 53),
        Target("a resolver's pod", "dns", resolvers[0]["status"]["podIP"], 53),
        Target("a resolver's pod, ICMP", "icmp", resolvers[0]["status"]["podIP"]),
    )
