"""What the benchmarks of zones need of a cluster: the test bed, a controller on it, specs, and a watch on what is Ready."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from broch_core.ids import new_id
from broch_workspaces.cluster.controller.kinds import watched
from broch_workspaces.cluster.sources import HostPathSource
from broch_workspaces.cluster.spec import DataVolume, Home, ZoneSpec
from planting import Planting
from support.cluster.authority import Authority
from support.cluster.bringing_up import any_cluster, own_cluster
from support.cluster.cluster import eventually
from support.cluster.zone_control import ControlRoom, Running

UNBOUND = "bench-unbound"
"""A storage class whose claims wait for a pod: what is measured is Broch and the API server, not a provisioner."""


_BESIDE = "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "felix", "local-provisioner"
"""What runs on the test bed beside API server and etcd."""


@contextmanager
def control_room(*, own: bool = False) -> Iterator[ControlRoom]:
    """Bring a cluster up with what a controller needs beside it; an `own` one goes away afterwards, with all in it."""
    bringing = own_cluster(empty=True) if own else any_cluster()
    with bringing as cluster, tempfile.TemporaryDirectory(prefix="broch-bench-") as name:
        kind = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": UNBOUND}}
        cluster.apply(
            kind | {"provisioner": "bench.broch.dev/none", "volumeBindingMode": "WaitForFirstConsumer"}
        )
        room = ControlRoom(cluster, Authority(), Path(name), "broch-bench")
        room.storage_class = UNBOUND
        with room.plane.running():
            room.prepare()
            try:
                yield room
            finally:
                room.end_all()
                room.remove()
                cluster.delete("storageclass", UNBOUND)


def zone() -> ZoneSpec:
    """Return a zone as a project of two people with two datasets has it: 20 objects."""
    source = HostPathSource(path="/srv/bench")
    return ZoneSpec(
        project_id=new_id(),
        data=tuple(DataVolume(version_id=new_id(), source=source, size_bytes=1 << 30) for _ in range(2)),
        homes=tuple(Home(person_id=new_id(), size_bytes=1 << 30) for _ in range(2)),
    )


def plant(room: ControlRoom, pattern: ZoneSpec, specs: Sequence[ZoneSpec]) -> float:
    """Plant zones like one that is Ready (`planting.py`); return the seconds until the API server knows them all."""
    job = Planting(_ids(pattern), [_ids(spec) for spec in specs])
    file = room.folder / "planting.json"
    file.write_text(json.dumps(dataclasses.asdict(job)))
    began = time.monotonic()
    program = Path(__file__).with_name("planting.py")
    revision = room.cluster.place.run(sys.executable, "-P", program, file, timeout=1200).strip()
    for kind in watched(queue=False):
        # It waits some seconds for its cache to come so far, then gives up.
        question = f"{kind.path()}?limit=1&resourceVersion={revision}&resourceVersionMatch=NotOlderThan"
        eventually(partial(room.cluster.kubectl, "get", "--raw", question), seconds=300)
    return time.monotonic() - began


def _ids(spec: ZoneSpec) -> list[str]:
    data = (volume.version_id.lower() for volume in spec.data)
    return [spec.project_id.lower(), *data, *(home.person_id.lower() for home in spec.homes)]


def end_all_but_api_server(room: ControlRoom) -> None:
    """End what runs beside API server and etcd on the test bed: planted zones would keep it busy for hours."""
    for name in _BESIDE:
        # Within the node's own process namespace: others cannot be seen there.
        room.cluster.on_node("pkill", "--full", f"^([^ ]*/)?{name}( |$)")


def ready_after(room: ControlRoom, specs: list[ZoneSpec], *, seconds: float = 600) -> float:
    """Ask for zones, and return after how many seconds the last of them was reported Ready."""
    return all_ready(room, specs, room.plane.want(*specs), seconds=seconds)


def all_ready(room: ControlRoom, specs: list[ZoneSpec], began: float, *, seconds: float) -> float:
    """Wait for zones that were asked for at a moment; return after how many seconds the last was reported Ready."""
    wanted = {spec.project_id: spec.digest() for spec in specs}
    while True:
        reports = {
            project: at
            for project, at, report in list(room.plane.reports)
            if report.phase == "ready" and wanted.get(project) == report.digest and at >= began
        }
        if len(reports) == len(wanted):
            return max(reports.values()) - began
        if time.monotonic() - began > seconds:
            raise TimeoutError(f"{len(wanted) - len(reports)} of {len(wanted)} zones are not Ready")
        # Looking costs time too, which the controller needs.
        time.sleep(0.005 if len(wanted) <= 100 else 1.0)


def resident_mib(running: Running) -> float:
    """Return the memory of a controller, MiB."""
    return _status_mib(running, "VmRSS:")


def peak_mib(running: Running) -> float:
    """Return the most memory that a controller ever had, MiB."""
    return _status_mib(running, "VmHWM:")


def _status_mib(running: Running, what: str) -> float:
    for line in Path(f"/proc/{running.process.pid}/status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(running.process.pid)


def processor_seconds(running: Running) -> float:
    """Return the processor time that a controller has used."""
    fields = Path(f"/proc/{running.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
