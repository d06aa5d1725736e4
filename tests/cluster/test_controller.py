"""The controller on a real API server, with no more rights than the documents give it."""

from __future__ import annotations

import json
import secrets
import signal
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from broch_core.ids import new_id
from broch_workspaces.cluster.manifests import data_volume_name
from broch_workspaces.cluster.sources import HostPathSource
from broch_workspaces.cluster.spec import DataVolume, Home, ZoneSpec, ZoneState, data_claim, home_claim
from support.cluster.authority import Authority
from support.cluster.cluster import Cluster, Refused, eventually
from support.cluster.targets import python_pod
from support.cluster.zone_control import ControlRoom, Running, ended

REPAIRED = 10
"""Seconds in which what somebody changed is as it was; usual is a tenth of one."""


@pytest.fixture(scope="module")
def room(
    cluster: Cluster, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ControlRoom]:
    release = f"broch-{secrets.token_hex(3)}"
    control = ControlRoom(cluster, authority, tmp_path_factory.mktemp("room"), release)
    with control.plane.running():
        control.prepare()
        try:
            yield control
        finally:
            control.end_all()
            control.remove()


@pytest.fixture(scope="module")
def controller(room: ControlRoom) -> Running:
    return room.start_leader()


@pytest.fixture
def zone(room: ControlRoom) -> Iterator[ZoneSpec]:
    """A zone that nobody asked for yet."""
    spec = ZoneSpec(
        project_id=new_id(),
        data=(DataVolume(version_id=new_id(), source=HostPathSource(path="/usr/share"), size_bytes=1),),
        homes=(Home(person_id=new_id(), size_bytes=1 << 20),),
        project_bytes=1 << 20,
        imports_bytes=1 << 20,
    )
    yield spec
    room.plane.forget(spec)
    time.sleep(0.2)
    room.clear(spec)


def _json(cluster: Cluster, kind: str, name: str, spec: ZoneSpec) -> dict[str, Any]:
    return cluster.get(kind, name, spec.namespace)


def _patch(cluster: Cluster, kind: str, name: str, spec: ZoneSpec, change: dict[str, Any]) -> None:
    words = [
        "patch",
        kind,
        name,
        "--namespace",
        spec.namespace,
        "--type=merge",
        "--patch",
        json.dumps(change),
    ]
    cluster.kubectl(*words)


def _ready(room: ControlRoom, spec: ZoneSpec) -> float:
    began = room.plane.want(spec)
    room.plane.wait(spec, "ready")
    return time.monotonic() - began


def test_a_zone_is_made_whole_and_called_ready_only_then(
    room: ControlRoom,
    controller: Running,
    zone: ZoneSpec,
    cluster: Cluster,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seconds = _ready(room, zone)
    with capsys.disabled():
        print(f"\nzone ready after {seconds:.3f} s")  # noqa: T201 - a measure that people ask for
    assert cluster.get("namespace", zone.namespace)["status"]["phase"] == "Active"
    quotas = cluster.get("resourcequota", namespace=zone.namespace)["items"]
    assert {one["metadata"]["name"] for one in quotas} == {"zone", "without-deadline"}
    assert all(one["status"]["hard"] == one["spec"]["hard"] for one in quotas)
    policies = cluster.get("networkpolicy", namespace=zone.namespace)["items"]
    assert {one["metadata"]["name"] for one in policies} == {"deny", "from-proxy", "to-gateway"}
    claim = _json(cluster, "persistentvolumeclaim", data_claim(zone.data[0].version_id), zone)
    assert claim["status"]["phase"] == "Bound"
    assert _json(cluster, "configmap", "broch-ca", zone)["data"]["ca.crt"].startswith("-----BEGIN")
    assert controller.events("zone.ready")[-1]["seconds"] < seconds + 0.01


@pytest.mark.parametrize(
    ("kind", "name", "change"),
    [
        ("networkpolicy", "deny", {"spec": {"egress": [{}]}}),
        ("networkpolicy", "to-gateway", {"spec": {"podSelector": {"matchExpressions": None}}}),
        ("resourcequota", "zone", {"spec": {"hard": {"pods": "1000", "requests.storage": "1"}}}),
        ("limitrange", "zone", {"spec": {"limits": []}}),
        ("serviceaccount", "workspace", {"automountServiceAccountToken": True}),
        ("configmap", "broch-ca", {"data": {"ca.crt": "mine", "other.crt": "x"}}),
        ("networkpolicy", "deny", {"metadata": {"labels": {"broch.dev/project": None}}}),
        ("namespace", "", {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}}),
    ],
)
def test_what_somebody_changes_in_a_zone_comes_back(
    room: ControlRoom,
    controller: Running,
    zone: ZoneSpec,
    cluster: Cluster,
    kind: str,
    name: str,
    change: dict[str, Any],
) -> None:
    _ready(room, zone)
    name = name or zone.namespace

    def meant() -> dict[str, Any]:
        item = _json(cluster, kind, name, zone)
        for volatile in ("resourceVersion", "managedFields", "generation"):
            item["metadata"].pop(volatile, None)
        item.pop("status", None)
        return item

    before = meant()
    _patch(cluster, kind, name, zone, change)
    eventually(lambda: meant() == before, seconds=REPAIRED, pause=0.05)


@pytest.mark.parametrize(
    ("kind", "name"), [("networkpolicy", "deny"), ("resourcequota", "zone"), ("rolebinding", "hub")]
)
def test_what_somebody_deletes_in_a_zone_comes_back(
    room: ControlRoom, controller: Running, zone: ZoneSpec, cluster: Cluster, kind: str, name: str
) -> None:
    _ready(room, zone)
    uid = _json(cluster, kind, name, zone)["metadata"]["uid"]
    cluster.delete(kind, name, zone.namespace)
    eventually(lambda: cluster.exists(kind, name, zone.namespace), seconds=REPAIRED, pause=0.05)
    assert _json(cluster, kind, name, zone)["metadata"]["uid"] != uid


def test_a_role_that_somebody_gives_the_hub_instead_is_taken_away(
    room: ControlRoom, controller: Running, zone: ZoneSpec, cluster: Cluster
) -> None:
    _ready(room, zone)
    wrong = _json(cluster, "rolebinding", "hub", zone)
    wrong["roleRef"]["name"] = "cluster-admin"
    wrong["metadata"] = {key: wrong["metadata"][key] for key in ("name", "namespace", "labels")}
    # While it looks away: otherwise it is faster than who deletes and creates.
    controller.process.send_signal(signal.SIGSTOP)
    try:
        cluster.kubectl("replace", "--force", "--filename=-", stdin=json.dumps(wrong))
        assert _json(cluster, "rolebinding", "hub", zone)["roleRef"]["name"] == "cluster-admin"
    finally:
        controller.process.send_signal(signal.SIGCONT)
    right = f"{room.release}-zone-hub"
    eventually(lambda: _json(cluster, "rolebinding", "hub", zone)["roleRef"]["name"] == right, seconds=60)


def test_a_claim_of_data_that_somebody_deletes_binds_again(
    room: ControlRoom, controller: Running, zone: ZoneSpec, cluster: Cluster
) -> None:
    _ready(room, zone)
    name = data_claim(zone.data[0].version_id)
    uid = _json(cluster, "persistentvolumeclaim", name, zone)["metadata"]["uid"]
    # Not waited for: the next one of that name may be there before kubectl has looked whether this one is gone.
    cluster.delete("persistentvolumeclaim", name, zone.namespace, wait=False)

    def bound_again() -> bool:
        claim = _json(cluster, "persistentvolumeclaim", name, zone)
        return claim["metadata"]["uid"] != uid and claim["status"]["phase"] == "Bound"

    eventually(bound_again, seconds=30)


def test_a_volume_with_work_keeps_its_size_and_the_zone_is_ready_all_the_same(
    room: ControlRoom, controller: Running, zone: ZoneSpec, cluster: Cluster, python: str
) -> None:
    larger = zone.model_copy(update={"project_bytes": 2 << 20, "imports_bytes": 2 << 20})
    _ready(room, larger)
    cluster.run(_workspace("writer", python, {"project": "/project"}), zone.namespace)
    before = _json(cluster, "persistentvolumeclaim", "project", zone)
    assert before["status"]["phase"] == "Bound"
    # Smaller; and larger, which the class of the test bed does not know.
    for size in (1 << 20, 3 << 20):
        changed = zone.model_copy(update={"project_bytes": size, "imports_bytes": size})
        _ready(room, changed)
        after = _json(cluster, "persistentvolumeclaim", "project", zone)
        assert after["metadata"]["uid"] == before["metadata"]["uid"]
        assert after["spec"]["resources"] == before["spec"]["resources"]
        # Nobody used this one yet: it is made anew.
        imports = _json(cluster, "persistentvolumeclaim", "imports", zone)
        assert imports["spec"]["resources"]["requests"]["storage"] in {str(size), f"{size >> 20}Mi"}


def test_data_that_lie_elsewhere_now_are_attached_anew_once_nobody_uses_them(
    room: ControlRoom, controller: Running, zone: ZoneSpec, cluster: Cluster, python: str
) -> None:
    _ready(room, zone)
    version = zone.data[0].version_id
    cluster.run(_workspace("reader", python, {data_claim(version): "/data"}), zone.namespace)
    there = DataVolume(version_id=version, source=HostPathSource(path="/usr/lib"), size_bytes=1)
    moved = zone.model_copy(update={"data": (there,)})
    room.plane.want(moved)
    eventually(lambda: "last workspace that uses it" in room.plane.wait(moved, "making").message)
    cluster.delete("pod", "reader", zone.namespace)
    room.plane.wait(moved, "ready")
    volume = cluster.get("persistentvolume", data_volume_name(zone.project_id, version))
    assert volume["spec"]["hostPath"]["path"] == "/usr/lib"
    assert _json(cluster, "persistentvolumeclaim", data_claim(version), zone)["status"]["phase"] == "Bound"


def test_an_ended_grant_takes_volume_and_claim_and_who_uses_them_and_nothing_else(
    room: ControlRoom, controller: Running, zone: ZoneSpec, cluster: Cluster, python: str
) -> None:
    _ready(room, zone)
    claim = data_claim(zone.data[0].version_id)
    for name, used in (("uses", claim), ("uses-not", "project")):
        cluster.run(_workspace(name, python, {used: "/mounted"}), zone.namespace)
    foreign = {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {"name": "foreign", "namespace": zone.namespace},
    }
    label = {"app.kubernetes.io/part-of": "broch", "broch.dev/project": zone.project_id.lower()}
    cluster.apply(foreign | {"metadata": foreign["metadata"] | {"labels": label}})
    later = zone.model_copy(update={"data": (), "homes": ()})
    room.plane.want(later)
    room.plane.wait(later, "ready")
    assert not cluster.exists("persistentvolumeclaim", claim, zone.namespace)
    assert not cluster.exists("persistentvolume", data_volume_name(zone.project_id, zone.data[0].version_id))
    assert not cluster.exists("pod", "uses", zone.namespace)
    assert cluster.exists("pod", "uses-not", zone.namespace)
    assert cluster.exists("persistentvolumeclaim", home_claim(zone.homes[0].person_id), zone.namespace)
    assert cluster.exists("configmap", "foreign", zone.namespace)


def test_in_a_frozen_zone_nothing_runs_and_nothing_starts_until_it_thaws(
    room: ControlRoom, controller: Running, zone: ZoneSpec, cluster: Cluster, python: str
) -> None:
    _ready(room, zone)
    cluster.run(_workspace("before", python, {}), zone.namespace)
    frozen = zone.model_copy(update={"state": ZoneState.FROZEN})
    began = room.plane.want(frozen)
    room.plane.wait(frozen, "ready")
    assert time.monotonic() - began < 30
    assert not cluster.get("pod", namespace=zone.namespace)["items"]
    with pytest.raises(Refused, match="exceeded quota"):
        cluster.apply(_workspace("after", python, {}), namespace=zone.namespace)
    room.plane.want(zone)
    eventually(lambda: room.plane.reports[-1][2].digest == zone.digest())
    cluster.run(_workspace("after", python, {}), zone.namespace)


def test_an_ended_zone_goes_and_what_people_made_stays(
    room: ControlRoom, controller: Running, zone: ZoneSpec, cluster: Cluster, python: str
) -> None:
    _ready(room, zone)
    cluster.run(_workspace("writer", python, {"project": "/project"}), zone.namespace)
    write = "import pathlib; pathlib.Path('/project/work').write_text('years')"
    cluster.exec(zone.namespace, "writer", "/bin/python3", "-c", write)
    volume = _json(cluster, "persistentvolumeclaim", "project", zone)["spec"]["volumeName"]
    room.plane.want(ended(zone))
    room.plane.wait(ended(zone), "gone")
    assert not cluster.exists("namespace", zone.namespace)
    assert not cluster.exists("persistentvolume", data_volume_name(zone.project_id, zone.data[0].version_id))
    kept = cluster.get("persistentvolume", volume)
    assert kept["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    assert kept["metadata"]["labels"]["broch.dev/archived-of"] == zone.project_id.lower()
    assert kept["metadata"]["annotations"]["broch.dev/archived-at"]
    # Read where the bytes are: a provisioner that deletes would have had its chance by now.
    time.sleep(2)
    path = kept["spec"].get("hostPath", kept["spec"].get("local"))["path"]
    assert cluster.on_node("cat", f"{path}/work") == "years"
    cluster.delete("persistentvolume", volume)


def test_a_list_that_lost_a_zone_deletes_nothing(
    room: ControlRoom, controller: Running, zone: ZoneSpec, cluster: Cluster
) -> None:
    _ready(room, zone)
    room.plane.forget(zone)
    project = zone.project_id.lower()
    eventually(lambda: project in {one["project"] for one in controller.events("zone.unknown")})
    assert cluster.exists("namespace", zone.namespace)
    assert cluster.exists("persistentvolume", data_volume_name(zone.project_id, zone.data[0].version_id))


def test_a_namespace_that_is_not_ours_is_left_alone_and_said_so(
    room: ControlRoom, controller: Running, zone: ZoneSpec, cluster: Cluster
) -> None:
    with cluster.namespace(name=zone.namespace):
        room.plane.want(zone)
        assert "not Broch's" in room.plane.wait(zone, "failed").message
        room.plane.want(ended(zone))
        assert "not Broch's" in room.plane.wait(ended(zone), "failed").message
        assert "broch.dev/project" not in cluster.get("namespace", zone.namespace)["metadata"]["labels"]
        assert not cluster.get("networkpolicy", namespace=zone.namespace)["items"]


def test_the_listener_says_how_the_controller_is(
    room: ControlRoom, controller: Running, zone: ZoneSpec
) -> None:
    _ready(room, zone)
    health = controller.get("/healthz")
    assert (health.status_code, health.json()["role"], health.json()["synced"]) == (200, "leader", True)
    assert controller.get("/livez").status_code == 200
    assert controller.get("/anything").status_code == 404
    assert controller.gauge('broch_zones{phase="ready"}') >= 1
    assert controller.gauge("broch_controller_leader") == 1
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://localhost:{controller.port}/metrics", trust_env=False)


def _workspace(name: str, image: str, claims: dict[str, str]) -> dict[str, Any]:
    """A pod as a zone's quota, limits and Pod Security want it."""
    pod = python_pod(name, image)
    spec = pod["spec"]
    spec |= {
        "activeDeadlineSeconds": 600,
        "serviceAccountName": "workspace",
        "automountServiceAccountToken": False,
    }
    spec["terminationGracePeriodSeconds"] = 0
    spec["securityContext"] = {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "fsGroup": 1000,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = spec["containers"][0]
    container["securityContext"] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container["volumeMounts"] = [
        {"name": claim, "mountPath": path, "readOnly": claim.startswith("data-")}
        for claim, path in claims.items()
    ]
    spec["volumes"] = [{"name": claim, "persistentVolumeClaim": {"claimName": claim}} for claim in claims]
    return dict(pod)
