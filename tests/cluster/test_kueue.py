"""The queue for GPUs with a real Kueue: its webhooks and its scheduler, Broch's zones, hub and policies."""

from __future__ import annotations

import copy
import json
import re
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from broch_core.ids import new_id
from broch_workspaces.cluster.pods import workspace_pod
from broch_workspaces.cluster.spec import Home, ZoneSpec
from support.chart import NAMESPACE, RELEASE, render, values
from support.cluster.authority import Authority
from support.cluster.cluster import Cluster, Refused, eventually
from support.cluster.hub_rig import HubRig, new_project, running_hub, zone_of
from support.cluster.kueue import GROUP, running_kueue
from support.cluster.zone_control import ControlRoom
from support.documented import ROOT
from support.zones import NOW, POD_SETTINGS, REGISTRY, a_plan

QUEUE = "gpus"
WAITS = "It waits in the queue for a GPU. The workspace starts when its turn comes."
LABEL, MANAGED = f"{GROUP}/queue-name", f"{GROUP}/managed"
FIRST, SECOND, THIRD, PLAIN = ("w" + letter * 25 for letter in "qrst")


def documented() -> list[dict[str, Any]]:
    """Return the ClusterQueue that the documents show, with what it needs."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    block = re.search(r"<!-- a ClusterQueue -->\n```yaml\n(.*?)```", text, re.DOTALL)
    assert block is not None
    return list(yaml.safe_load_all(block[1]))


@pytest.fixture(scope="module")
def kueue(cluster: Cluster, gpus: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Kueue, and the documented ClusterQueue with room for one GPU: fewer than the node and than each project has."""
    flavour, queue = documented()
    [group] = queue["spec"]["resourceGroups"]
    [amount] = [one for one in group["flavors"][0]["resources"] if one["name"] == gpus]
    amount["nominalQuota"] = 1
    with running_kueue(cluster, tmp_path_factory.mktemp("kueue")):
        for one in (flavour, queue):
            eventually(lambda one=one: applied(cluster, one), seconds=60)
        cluster.wait("condition=Active", f"clusterqueue.{GROUP}/{QUEUE}", seconds=60)
        yield


def applied(cluster: Cluster, manifest: dict[str, Any], *who: str) -> bool:
    cluster.apply(manifest, as_user=who)
    return True


def of_chart_with_queue(
    cluster: Cluster, release: str, namespace: str, *only: str, queue: str = QUEUE
) -> list[dict[str, Any]]:
    """Return the manifests of some of the chart's templates that are not in a namespace."""
    images = {**values()["images"], "prefixes": [REGISTRY, "local/"]}
    chosen = values(images=images, zones={**values()["zones"], "kueueQueue": queue})
    made = render(cluster.helm, chosen, only=only, release=release, namespace=namespace)
    return [one for one in made if "namespace" not in one["metadata"]]


def remove(cluster: Cluster, made: list[dict[str, Any]]) -> None:
    for one in made:
        cluster.delete(one["kind"], one["metadata"]["name"], wait=False)


# ---- zones ------------------------------------------------------------------


@pytest.fixture(scope="module")
def room(
    cluster: Cluster, kueue: None, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ControlRoom]:
    """A controller with the rights and under the policy that the chart gives it where there is a queue."""
    control = ControlRoom(
        cluster, authority, tmp_path_factory.mktemp("room"), f"queued-{secrets.token_hex(3)}"
    )
    control.queue = QUEUE
    with control.plane.running():
        control.prepare()
        made = of_chart_with_queue(
            cluster, control.release, control.release, "rights", "admission-controller"
        )
        cluster.apply(*made)
        try:
            control.start_leader()
            yield control
        finally:
            control.end_all()
            remove(cluster, made)
            control.remove()


@pytest.fixture(scope="module")
def zone(room: ControlRoom) -> Iterator[ZoneSpec]:
    spec = ZoneSpec(
        project_id=new_id(),
        homes=(Home(person_id=new_id(), size_bytes=1 << 20),),
        project_bytes=1 << 20,
        imports_bytes=1 << 20,
    )
    room.plane.want(spec)
    room.plane.wait(spec, "ready")
    yield spec
    room.plane.forget(spec)
    time.sleep(0.2)
    room.clear(spec)


def queue_of(cluster: Cluster, zone: ZoneSpec) -> dict[str, Any]:
    return cluster.get(f"localqueue.{GROUP}", "gpu", zone.namespace)


def active(cluster: Cluster, zone: ZoneSpec) -> None:
    cluster.wait("condition=Active", f"localqueue.{GROUP}/gpu", zone.namespace, 30)


def test_a_zones_queue_is_active_in_kueue_keeps_what_is_set_on_it_and_comes_back(
    cluster: Cluster, room: ControlRoom, zone: ZoneSpec
):
    active(cluster, zone)
    change = json.dumps({"spec": {"stopPolicy": "Hold"}})
    words = ("patch", f"localqueue.{GROUP}", "gpu", "--namespace", zone.namespace, "--type=merge")
    cluster.kubectl(*words, "--patch", change)
    time.sleep(3)  # what the controller repairs, it repairs within one second
    before = queue_of(cluster, zone)
    assert before["spec"] == {"clusterQueue": QUEUE, "stopPolicy": "Hold"}
    cluster.delete(f"localqueue.{GROUP}", "gpu", zone.namespace)
    eventually(lambda: cluster.exists(f"localqueue.{GROUP}", "gpu", zone.namespace), 10)
    active(cluster, zone)
    assert queue_of(cluster, zone)["metadata"]["uid"] != before["metadata"]["uid"]


def test_a_queue_of_a_zone_leads_to_the_platforms_own_and_only_the_controller_makes_it(
    cluster: Cluster, room: ControlRoom
):
    labels = {"app.kubernetes.io/part-of": "broch", "broch.dev/role": "zone"}
    with cluster.namespace(name=f"zone-{secrets.token_hex(13)}", labels=labels) as bare:

        def told(account: str, name: str = "gpu", leads_to: str = QUEUE) -> str:
            queue = {
                "apiVersion": f"{GROUP}/v1beta2",
                "kind": "LocalQueue",
                "spec": {"clusterQueue": leads_to},
            }
            queue["metadata"] = {"name": name, "namespace": bare}
            who = f"--as=system:serviceaccount:{room.release}:{room.release}-{account}"
            try:
                words = ("create", "--dry-run=server", who, "--filename=-")
                return cluster.kubectl(*words, stdin=json.dumps(queue))
            except Refused as problem:
                return str(problem)

        assert "created" in told("controller")
        ours = "a zone has one queue, to the platform's own"
        assert ours in told("controller", leads_to="of-others")
        assert ours in told("controller", name="second")
        assert "forbidden" in told("hub")


def test_when_the_platform_has_another_queue_the_zones_lead_there(
    cluster: Cluster, room: ControlRoom, zone: ZoneSpec
):
    """Kueue itself lets nobody change where a queue leads: the zone gets a new one."""
    _, other = documented()
    other["metadata"]["name"] = room.queue = "more-gpus"
    cluster.apply(other)
    before = queue_of(cluster, zone)
    assert before["spec"]["clusterQueue"] == QUEUE
    cluster.apply(
        *of_chart_with_queue(
            cluster, room.release, room.release, "admission-controller", queue=other["metadata"]["name"]
        )
    )
    room.end_all()
    room.start_leader()
    eventually(lambda: queue_of(cluster, zone)["spec"]["clusterQueue"] == "more-gpus", 60)
    active(cluster, zone)
    assert queue_of(cluster, zone)["metadata"]["uid"] != before["metadata"]["uid"]


# ---- workspaces -------------------------------------------------------------


@pytest.fixture(scope="module")
def policies(cluster: Cluster, kueue: None) -> Iterator[None]:
    made = of_chart_with_queue(cluster, RELEASE, NAMESPACE, "admission-zones")
    cluster.apply(*made)
    yield
    remove(cluster, made)


@pytest.fixture(scope="module")
def rig(
    cluster: Cluster,
    authority: Authority,
    image: Callable[[str], str],
    policies: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[HubRig]:
    reference = image("workspace-python")
    with running_hub(cluster, authority, reference, tmp_path_factory.mktemp("hub"), queue=QUEUE) as running:
        cluster.wait("condition=Active", f"localqueue.{GROUP}/gpu", running.namespace, 30)
        yield running


@pytest.fixture(scope="module")
def other(cluster: Cluster, rig: HubRig) -> Iterator[ZoneSpec]:
    """The zone of another project, whose queue leads to the same ClusterQueue."""
    spec = zone_of(new_project())
    rig.make_zone(spec)
    cluster.wait("condition=Active", f"localqueue.{GROUP}/gpu", spec.namespace, 30)
    yield spec
    cluster.delete("namespace", spec.namespace, wait=False)


def pods_in(cluster: Cluster, namespace: str, principal: str) -> list[dict[str, Any]]:
    found = cluster.get("pod", namespace=namespace, selector="broch.dev/role=workspace")["items"]
    return [pod for pod in found if pod["metadata"]["name"].startswith(f"ws-{principal[1:]}-")]


def gates(pod: dict[str, Any]) -> set[str]:
    return {one["name"] for one in pod["spec"].get("schedulingGates", ())}


def workloads(cluster: Cluster, namespace: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = cluster.get(f"workload.{GROUP}", namespace=namespace)["items"]
    return found


def test_a_workspace_is_let_in_while_there_is_room_the_next_waits_and_starts_when_it_ends(
    cluster: Cluster, rig: HubRig, other: ZoneSpec, gpus: str
):
    rig.plan(FIRST, cluster={"gpus": {gpus: 1}})
    rig.plan(SECOND, zone=other, cluster={"gpus": {gpus: 1}})
    rig.start(FIRST)
    rig.until_ready(FIRST)
    [pod] = pods_in(cluster, rig.namespace, FIRST)
    assert pod["metadata"]["labels"][LABEL] == "gpu"
    assert pod["metadata"]["labels"][MANAGED] == "true"
    assert pod["metadata"]["finalizers"] == [MANAGED]
    assert gates(pod) == set()
    [work] = workloads(cluster, rig.namespace)
    assert work["status"]["admission"]["clusterQueue"] == QUEUE

    asked = time.time()
    rig.start(SECOND)
    told = rig.told(SECOND, WAITS, 30)
    assert told["event"] == "waiting"
    sys.stderr.write(f"told that it waits in the queue after {told['at'] - asked:.2f} s\n")
    [pod] = pods_in(cluster, other.namespace, SECOND)
    assert f"{GROUP}/admission" in gates(pod)
    assert not pod["spec"].get("nodeName")
    time.sleep(25)  # longer than a start may wait for a computer (`node_seconds` of the rig)
    assert {(one["event"], one["detail"]) for one in rig.events(SECOND)} == {("waiting", WAITS)}

    rig.stop(FIRST)
    freed = time.time()
    rig.until_ready(SECOND)
    sys.stderr.write(f"ready {time.time() - freed:.2f} s after the one before it had ended\n")
    [pod] = pods_in(cluster, other.namespace, SECOND)
    assert gates(pod) == set()
    assert rig.events(SECOND)[-1]["event"] == "running"
    rig.stop(SECOND)
    eventually(lambda: not workloads(cluster, other.namespace), 30)


def test_who_waits_can_be_stopped_and_leaves_the_queue(
    cluster: Cluster, rig: HubRig, other: ZoneSpec, gpus: str
):
    for principal, zone in ((FIRST, rig.zone), (THIRD, other)):
        rig.plan(principal, zone=zone, cluster={"gpus": {gpus: 1}})
    rig.start(FIRST)
    rig.until_ready(FIRST)
    rig.start(THIRD)
    rig.told(THIRD, WAITS, 30)
    rig.stop(THIRD)
    eventually(lambda: not pods_in(cluster, other.namespace, THIRD), 30)
    eventually(lambda: not workloads(cluster, other.namespace), 30)
    rig.stop(FIRST)
    eventually(lambda: not workloads(cluster, rig.namespace), 30)


def test_a_workspace_without_a_gpu_is_none_of_kueues(cluster: Cluster, rig: HubRig):
    rig.plan(PLAIN)
    rig.start(PLAIN)
    rig.until_ready(PLAIN)
    [pod] = pods_in(cluster, rig.namespace, PLAIN)
    assert GROUP not in json.dumps(
        [pod["metadata"].get(part) for part in ("labels", "finalizers", "annotations")]
    )
    assert gates(pod) == set()
    eventually(lambda: not workloads(cluster, rig.namespace), 30)
    rig.stop(PLAIN)


def test_a_pod_waits_in_its_own_zones_queue_or_is_not_made(
    cluster: Cluster, rig: HubRig, other: ZoneSpec, gpus: str
):
    """A queue is a zone's own: its name says nothing of other zones, and no other name is taken."""
    plan = a_plan(
        project_id=rig.zone.project_id,
        cluster={"namespace": rig.namespace, "image": rig.image, "user_namespace": False, "gpus": {gpus: 1}},
    )
    settings = POD_SETTINGS.model_copy(update={"gpu_queue": True, "image_prefixes": ("local/",)})
    good = workspace_pod(plan, settings, {"JUPYTERHUB_API_TOKEN": "t"}, now=NOW)

    def told(label: str | None, **more: str) -> str:
        pod = copy.deepcopy(good)
        pod["metadata"]["labels"] |= {LABEL: label, **more}
        pod["metadata"]["labels"] = {key: value for key, value in pod["metadata"]["labels"].items() if value}
        try:
            return cluster.kubectl("create", "--dry-run=server", "--filename=-", stdin=json.dumps(pod))
        except Refused as problem:
            return str(problem)

    assert "created" in told("gpu")
    queue = {"apiVersion": f"{GROUP}/v1beta2", "kind": "LocalQueue"}
    queue |= {"metadata": {"name": "theirs", "namespace": other.namespace}, "spec": {"clusterQueue": QUEUE}}
    cluster.apply(queue)
    assert "of Kueue's labels a pod has the zone's queue" in told("theirs")
    assert "a valid label must" in told(f"{other.namespace}/gpu")
    assert "who wants devices waits in the queue" in told(None)
    first = {f"{GROUP}/priority-class": "first"}
    assert "of Kueue's labels a pod has the zone's queue" in told("gpu", **first)


def test_a_queue_that_does_not_cover_everything_lets_nobody_in_and_kueue_says_what_is_missing(
    cluster: Cluster, rig: HubRig, gpus: str
):
    """Why the documented ClusterQueue has ephemeral storage too."""
    _, narrow = documented()
    narrow["metadata"]["name"] = "narrow"
    [group] = narrow["spec"]["resourceGroups"]
    group["coveredResources"].remove("ephemeral-storage")
    [flavour] = group["flavors"]
    flavour["resources"] = [one for one in flavour["resources"] if one["name"] != "ephemeral-storage"]
    spec = zone_of(new_project())
    cluster.apply(narrow)
    rig.make_zone(spec, queue="narrow")
    try:
        rig.plan(THIRD, zone=spec, cluster={"gpus": {gpus: 1}})
        rig.start(THIRD)
        rig.told(THIRD, WAITS, 30)

        def says_so() -> bool:
            [work] = workloads(cluster, spec.namespace)
            said = [one["message"] for one in work.get("status", {}).get("conditions", ())]
            return any("ephemeral-storage unavailable in ClusterQueue" in one for one in said)

        eventually(says_so, 30)
        rig.stop(THIRD)
    finally:
        cluster.delete("namespace", spec.namespace, wait=False)
