"""A pod that came under rules which changed since may still go: its last finalizer is taken away by an update."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator

import pytest

from broch_workspaces.cluster.pods import workspace_pod
from support.chart import render, values
from support.cluster.cluster import Cluster, Refused, eventually
from support.zones import DIGEST, NOW, POD_SETTINGS, REGISTRY, a_plan

RELEASE = "leaving"
MOVED = "moved.example.org/broch/"
FINALIZER = "broch.dev/tried"


def policies(cluster: Cluster, registry: str) -> list[dict]:
    """Return the policies of zones where images come from that registry."""
    images = {name: f"{registry}{name}@{DIGEST}" for name in ("broch", "clamav")}
    profile = {"name": "standard", "title": "Standard", "image": f"{registry}workspace-python@{DIGEST}"}
    chosen = values(images={**images, "prefixes": [registry]}, zones={"profiles": [profile]})
    return render(cluster.helm, chosen, only=("admission-zones",), release=RELEASE)


@pytest.fixture
def zone(cluster: Cluster) -> Iterator[str]:
    """A zone by its labels alone, under policies of its own."""
    name = f"zone-{secrets.token_hex(13)}"
    labels = {
        "app.kubernetes.io/part-of": "broch",
        "broch.dev/role": "zone",
        "broch.dev/project": name.removeprefix("zone-"),
    }
    with cluster.namespace(name=name, labels=labels) as made:
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "workspace"}}
        cluster.apply(account, namespace=made)
        try:
            cluster.apply(*policies(cluster, REGISTRY))
            yield made
        finally:
            for one in policies(cluster, REGISTRY):
                cluster.delete(one["kind"], one["metadata"]["name"])
            # After a failure the pod is there, and would keep its namespace.
            for pod in cluster.get("pods", namespace=made)["items"]:
                eventually(lambda name=pod["metadata"]["name"]: free(cluster, made, name))


def free(cluster: Cluster, namespace: str, pod: str) -> bool:
    """Take a pod's last finalizer away, as Kueue does."""
    nothing = json.dumps({"metadata": {"finalizers": None}})
    cluster.kubectl("patch", "pod", pod, "--type=merge", "--patch", nothing, "--namespace", namespace)
    return True


def test_a_pod_of_an_earlier_registry_can_be_let_go_and_not_be_changed(cluster: Cluster, zone: str):
    plan = a_plan(cluster={"namespace": zone, "user_namespace": False})
    pod = workspace_pod(plan, POD_SETTINGS, {"JUPYTERHUB_API_TOKEN": "t"}, now=NOW)
    pod["metadata"]["labels"]["broch.dev/project"] = zone.removeprefix("zone-")
    pod["metadata"]["finalizers"] = [FINALIZER]
    name = pod["metadata"]["name"]

    def refused(*words: str) -> bool:
        try:
            cluster.kubectl(*words, "--namespace", zone)
        except Refused as problem:
            return f"{RELEASE}-zone-pods" in str(problem) and "registry" in str(problem)
        return False

    cluster.kubectl("create", "--filename=-", stdin=json.dumps(pod))
    cluster.apply(*policies(cluster, MOVED))
    # Policies are read by the API server a moment after they were written.
    eventually(lambda: refused("annotate", "pod", name, f"tried={secrets.token_hex(4)}", "--overwrite"))
    cluster.delete("pod", name, zone, wait=False)
    assert refused("set", "image", f"pod/{name}", f"notebook={REGISTRY}other@{DIGEST}")
    free(cluster, zone, name)
    cluster.wait("delete", f"pod/{name}", zone)
