"""Controllers that are killed, API servers that go away, classes that are missing, imports that fail: it heals."""

from __future__ import annotations

import os
import secrets
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broch_core.ids import new_id
from broch_workspaces.cluster.controller.lease import DURATION
from broch_workspaces.cluster.spec import Delivery, ZoneSpec
from support.cluster import python_image
from support.cluster.authority import Authority
from support.cluster.bringing_up import SCRIPT
from support.cluster.cluster import Cluster, Refused, eventually
from support.cluster.zone_control import ControlRoom, Running, ended

IMPORTER = """#!/bin/python3
import json, os, pathlib, sys
wanted = json.loads(os.environ["BROCH_DELIVERY"])
name, target = wanted["name"], pathlib.Path("/imports", wanted["name"])
if name == "taken":
    sys.exit(3)
if name == "second-try" and not target.with_suffix(".tried").exists():
    target.with_suffix(".tried").touch()
    sys.exit(1)
target.unlink(missing_ok=True) if wanted["op"] == "remove" else target.write_text(wanted["sha256"])
"""
"""Ends as `broch_workspaces.importer` does (cluster.md), without a gateway to ask: what is tried is the controller."""


@pytest.fixture(scope="module")
def importer_image(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    root = python_image.make(tmp_path_factory.mktemp("importer-image") / "root")
    program = root / "opt" / "venv" / "bin" / "python"
    program.parent.mkdir(parents=True)
    program.write_text(IMPORTER)
    program.chmod(program.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    (root / "imports").mkdir()
    return cluster.load_image("importer", root)


@pytest.fixture
def room(
    cluster: Cluster, authority: Authority, tmp_path: Path, importer_image: str
) -> Iterator[ControlRoom]:
    release = f"broch-{secrets.token_hex(3)}"
    control = ControlRoom(cluster, authority, tmp_path, release)
    control.importer_image = importer_image
    with control.plane.running():
        control.prepare()
        try:
            yield control
        finally:
            control.end_all()
            control.remove()


@pytest.fixture
def zones(room: ControlRoom) -> Iterator[list[ZoneSpec]]:
    """Zones that nobody asked for yet."""
    specs = [
        ZoneSpec(project_id=new_id(), project_bytes=1 << 20, imports_bytes=1 << 20, homes=())
        for _ in range(4)
    ]
    yield specs
    room.end_all()
    room.clear(*specs)


def _delivery(name: str, op: Any = "place") -> Delivery:
    return Delivery(id=new_id(), op=op, name=name, sha256=secrets.token_hex(32), size=1)


def _writers(room: ControlRoom, *controllers: Running) -> list[str]:
    return [one.identity for one in controllers if "broch_controller_writes_total" in _written(one)]


def _written(one: Running) -> str:
    return "\n".join(line for line in one.get("/metrics").text.splitlines() if not line.startswith("#"))


def test_of_two_controllers_only_one_writes_and_the_other_goes_on_when_it_is_killed(
    room: ControlRoom, zones: list[ZoneSpec], cluster: Cluster
) -> None:
    first, second = room.start_leader(), room.start()
    room.plane.want(zones[0])
    room.plane.wait(zones[0], "ready")
    assert room.holder() == first.identity
    assert _writers(room, first, second) == [first.identity]
    eventually(lambda: second.get("/healthz").status_code == 200)
    assert second.get("/healthz").json()["role"] == "standby"

    killed = time.monotonic()
    first.end(signal.SIGKILL)
    room.plane.want(zones[1])
    room.plane.wait(zones[1], "ready", seconds=DURATION * 3)
    # Not before the dead one's lease was over: until then it could have written.
    assert time.monotonic() - killed > DURATION / 2
    assert room.holder() == second.identity
    cluster.delete("networkpolicy", "deny", zones[0].namespace)
    eventually(lambda: cluster.exists("networkpolicy", "deny", zones[0].namespace))


def test_a_controller_that_ends_in_order_lets_the_next_one_in_at_once(
    room: ControlRoom, zones: list[ZoneSpec]
) -> None:
    first, second = room.start_leader(), room.start()
    assert first.end() == 0
    # It let go of the lease by itself: what follows waits for nothing to run out.
    assert room.holder() != first.identity
    eventually(lambda: room.holder() == second.identity, DURATION / 2)
    room.plane.want(zones[0])
    room.plane.wait(zones[0], "ready")
    assert room.holder() == second.identity


def test_it_goes_on_when_the_api_server_was_killed_in_the_middle(
    room: ControlRoom, zones: list[ZoneSpec], cluster: Cluster
) -> None:
    if not cluster.own:
        pytest.fail("this cluster is not ours to stop a part of: use the test bed")
    controller = room.start_leader()
    room.plane.want(zones[0])
    room.plane.wait(zones[0], "ready")
    room.plane.want(*zones[1:])
    _kill_api_server(cluster)
    _bring_back(cluster)
    for zone in zones:
        room.plane.wait(zone, "ready", seconds=120)
    cluster.delete("networkpolicy", "deny", zones[0].namespace)
    eventually(lambda: cluster.exists("networkpolicy", "deny", zones[0].namespace))
    assert controller.process.poll() is None
    assert controller.gauge('broch_controller_watch_restarts_total{kind="NetworkPolicy"}') >= 1


def test_a_missing_storage_class_is_told_in_plain_words_and_heals_when_it_is_there(
    room: ControlRoom, zones: list[ZoneSpec], cluster: Cluster
) -> None:
    name = f"fast-{secrets.token_hex(3)}"
    room.storage_class = name
    room.start_leader()
    room.plane.want(zones[0])
    report = room.plane.wait(zones[0], "failed")
    assert report.message == f"The storage class '{name}' does not exist; ask your administrator."
    there = cluster.get("storageclass", "local")
    there["metadata"] = {"name": name}
    cluster.apply(there)
    try:
        room.plane.wait(zones[0], "ready", seconds=60)
    finally:
        cluster.delete("storageclass", name)


def test_imports_are_carried_in_reported_and_their_pods_go(
    room: ControlRoom, zones: list[ZoneSpec], cluster: Cluster
) -> None:
    room.start_leader()
    good, taken, second = _delivery("good"), _delivery("taken"), _delivery("second-try")
    zone = zones[0].model_copy(update={"deliveries": (good, taken, second)})
    room.plane.want(zone)

    def all_told() -> bool:
        reports = [report for project, _, report in room.plane.reports if project == zone.project_id]
        assert not [report for report in reports if report.phase == "failed"], reports[-1]
        delivered = {one for report in reports for one in report.delivered}
        undelivered = {one for report in reports for one in report.undelivered}
        return delivered == {good.id, second.id} and undelivered == {taken.id}

    eventually(all_told, seconds=120)
    eventually(lambda: not cluster.get("pod", namespace=zone.namespace)["items"], seconds=30)
    assert room.plane.wait(zone, "ready").undelivered == {}
    volume = cluster.get("persistentvolumeclaim", "imports", zone.namespace)["spec"]["volumeName"]
    source = cluster.get("persistentvolume", volume)["spec"]
    folder = source.get("hostPath", source.get("local"))["path"]
    assert cluster.on_node("cat", f"{folder}/good") == good.sha256
    assert cluster.on_node("cat", f"{folder}/second-try") == second.sha256

    gone = _delivery("good", "remove")
    room.plane.want(zone.model_copy(update={"deliveries": (gone,)}))
    eventually(lambda: any(gone.id in report.delivered for _, _, report in room.plane.reports), seconds=60)
    assert "good" not in cluster.on_node("ls", folder).split()


def test_a_zone_that_ended_while_no_controller_ran_is_ended_by_the_next_one(
    room: ControlRoom, zones: list[ZoneSpec], cluster: Cluster
) -> None:
    first = room.start_leader()
    room.plane.want(zones[0])
    room.plane.wait(zones[0], "ready")
    room.plane.want(ended(zones[0]))
    # Wherever it just is.
    first.end(signal.SIGKILL)
    room.start()
    room.plane.wait(ended(zones[0]), "gone", seconds=DURATION * 4)
    assert not cluster.exists("namespace", zones[0].namespace)


def _kill_api_server(cluster: Cluster) -> None:
    record = cluster.kubeconfig.parents[1] / "run" / "apiserver.pid"
    # The recorded process only entered the node's namespaces; the server is its child, of the same group.
    os.killpg(int(record.read_text().split()[0]), signal.SIGKILL)
    with pytest.raises(Refused):
        cluster.get("namespace", "default")


def _bring_back(cluster: Cluster) -> None:
    index = cluster.node.name.removeprefix("testbed-")
    done = subprocess.run(
        [SCRIPT, "up"],
        env=os.environ | {"TESTBED_INDEX": index},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
