"""What one controller costs with many projects: memory, idle processor time, and how soon drift is repaired."""

from __future__ import annotations

import os
import random
import statistics
import time
from collections.abc import Iterator

from kubernetes import client as api

from broch.dev.bench import Result
from broch_workspaces.cluster.spec import ZoneSpec
from support.cluster.zone_control import ControlRoom, Running
from zones_world import (
    all_ready,
    control_room,
    end_all_but_api_server,
    peak_mib,
    plant,
    processor_seconds,
    ready_after,
    resident_mib,
    zone,
)

NAME = "controller"
PROJECTS = int(os.environ.get("BROCH_BENCH_PROJECTS", "500"))
"""10,000 nightly."""
_MADE_AT_MOST = 500
"""More would take the API server hours to make: they are planted, and the controller is started on what is there."""
MIB, IDLE_PERCENT, REPAIR_SECONDS = 400.0, 5.0, 2.0
_IDLE_SECONDS, _DRIFTS, _STEPS = 60.0, 100, (0.1, 0.25, 0.5, 1.0)
_PLANTED_STEPS = (0.1, 0.3, 1.0)
_AT_ONCE = 100


def run() -> Iterator[Result]:
    """Grow the number of zones in steps; at each look at the same three figures."""
    yield from _made() if PROJECTS <= _MADE_AT_MOST else _planted()


def _planted() -> Iterator[Result]:
    """Start a controller anew on what is there, at each step: its memory is that of a start, peak included."""
    with control_room(own=True) as room:
        specs = [zone()]
        controller = room.start_leader()
        ready_after(room, specs)
        controller.end()
        end_all_but_api_server(room)
        for step in _PLANTED_STEPS:
            size = max(round(PROJECTS * step), 1)
            name = f"controller/{size} projects"
            fresh = [zone() for _ in range(size - len(specs))]
            yield Result.measured(f"{name}: planted the last of them in", plant(room, specs[0], fresh), "s")
            specs += fresh
            began = room.plane.want(*specs)
            controller = room.start()
            while not controller.gauge("broch_controller_synced"):
                time.sleep(0.2)
            yield Result.measured(f"{name}: a start holds all objects after", time.monotonic() - began, "s")
            yield Result.measured(f"{name}: peak of memory by then", peak_mib(controller), "MiB")
            # What it does not know to be as it applied it itself, it applies.
            seconds = all_ready(room, specs, began, seconds=3600)
            yield Result.measured(f"{name}: and has applied and reported all after", seconds, "s")
            time.sleep(5)
            yield from _costs(room, controller, specs, last=step == _PLANTED_STEPS[-1])
            controller.end()


def _made() -> Iterator[Result]:
    with control_room() as room:
        controller = room.start_leader()
        yield Result.measured("controller/memory without projects", resident_mib(controller), "MiB")
        specs: list[ZoneSpec] = []
        for step in _STEPS:
            size = max(round(PROJECTS * step), 1)
            began = time.monotonic()
            while len(specs) < size:
                fresh = [zone() for _ in range(min(_AT_ONCE, size - len(specs)))]
                ready_after(room, fresh)
                specs += fresh
            seconds = time.monotonic() - began
            last = step == _STEPS[-1]
            yield Result.measured(f"controller/{size} projects: made the last of them in", seconds, "s")
            time.sleep(5)
            yield from _costs(room, controller, specs, last=last)
        room.clear(*specs)


def _costs(room: ControlRoom, controller: Running, specs: list[ZoneSpec], *, last: bool) -> Iterator[Result]:
    size = len(specs)
    before, began = processor_seconds(controller), time.monotonic()
    time.sleep(_IDLE_SECONDS if last else _IDLE_SECONDS / 4)
    share = 100 * (processor_seconds(controller) - before) / (time.monotonic() - began)
    repairs = sorted(_repairs(room, specs, _DRIFTS if last else _DRIFTS // 4))
    p99 = repairs[min(len(repairs) - 1, round(len(repairs) * 0.99))]
    memory = resident_mib(controller)
    name = f"controller/{size} projects"
    if last:
        yield Result.at_most(f"{name}: memory", memory, "MiB", MIB)
        yield Result.at_most(f"{name}: memory at its peak", peak_mib(controller), "MiB", MIB)
        yield Result.at_most(f"{name}: idle, of a core", share, "%", IDLE_PERCENT)
        yield Result.at_most(f"{name}: drift repaired, p99", p99, "s", REPAIR_SECONDS)
    else:
        yield Result.measured(f"{name}: memory", memory, "MiB")
        yield Result.measured(f"{name}: memory at its peak", peak_mib(controller), "MiB")
        yield Result.measured(f"{name}: idle, of a core", share, "%")
        yield Result.measured(f"{name}: drift repaired, p99", p99, "s")
    yield Result.measured(f"{name}: drift repaired, median", statistics.median(repairs), "s")


def _repairs(room: ControlRoom, specs: list[ZoneSpec], many: int) -> Iterator[float]:
    """Delete policies of zones at random, one after the other; yield the seconds until each is back."""
    with room.cluster.api_client() as client:
        policies = api.NetworkingV1Api(client)
        for spec in random.choices(specs, k=many):
            old = policies.read_namespaced_network_policy("deny", spec.namespace).metadata.uid
            began = time.monotonic()
            policies.delete_namespaced_network_policy("deny", spec.namespace)
            while True:
                try:
                    if policies.read_namespaced_network_policy("deny", spec.namespace).metadata.uid != old:
                        break
                except api.ApiException as error:
                    if error.status != 404:
                        raise
                time.sleep(0.01)
            yield time.monotonic() - began
