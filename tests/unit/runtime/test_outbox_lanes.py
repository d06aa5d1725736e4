"""Threads of the outbox: what takes long keeps nobody waiting who wants something else."""

from __future__ import annotations

import threading
import time

import pytest
from sqlmodel import col, delete, select

import broch_api.assembly_runtime as runtime
from broch.instance import OUTBOX_LANES
from broch_api.datasets.versions import PROTECT
from broch_api.packages.entries import LOOK_UP
from broch_api.workspaces.service import WorkspaceDesk
from broch_core.outbox.tables import OutboxEntry
from broch_core.outbox.worker import OutboxWorker
from unit.runtime.runtime_fakes import Plane


def busy_with(plane: Plane, kind: str, lanes: tuple[tuple[str, ...], ...], seconds: float = 30) -> bool:
    """Have more of a kind than there are threads go on and on, open a workspace; tell whether the hub is asked for it."""
    begun, goes_on = threading.Semaphore(0), threading.Event()

    def long(_payload: object) -> None:
        begun.release()
        goes_on.wait(60)

    handlers = runtime.outbox_handlers(plane.services) | {kind: long}
    worker = OutboxWorker(plane.world.store, handlers, lanes=lanes)
    with plane.world.store.write(housekeeping=True) as change:
        for number in range(9):
            change.later(kind, f"{kind}:{number}", {})
    worker.start()
    try:
        assert all(begun.acquire(timeout=10) for _ in range(2))
        plane.get(WorkspaceDesk).open(plane.world.actor("ruth"), plane.world.project.id)
        principal = plane.row().principal
        until = time.monotonic() + seconds
        while principal not in plane.hub.servers and time.monotonic() < until:
            time.sleep(0.05)
        return principal in plane.hub.servers
    finally:
        with plane.world.store.write(housekeeping=True) as change:
            change.session.exec(
                delete(OutboxEntry).where(OutboxEntry.kind == kind, OutboxEntry.attempts == 0)
            )
        goes_on.set()
        worker.stop()


@pytest.mark.parametrize(
    "kind", ["airlock.check", "airlock.release", "airlock.recall", "package.lookup", "dataset.protect"]
)
def test_a_workspace_starts_while_all_other_work_goes_on_and_on(plane: Plane, kind: str):
    assert busy_with(plane, kind, OUTBOX_LANES)


def test_without_lanes_of_its_own_a_start_would_wait(plane: Plane):
    assert not busy_with(plane, "airlock.check", (), seconds=3)


def test_every_kind_that_has_a_lane_is_a_kind_and_what_the_others_do_has_threads_too(plane: Plane):
    named = [kind for lane in OUTBOX_LANES for kind in lane]
    assert len(named) == len(set(named))
    assert set(runtime.outbox_handlers(plane.services)) <= set(named)
    assert {LOOK_UP, PROTECT} <= set(named)
    ran: list[str] = []
    worker = OutboxWorker(
        plane.world.store, {"other": lambda payload: ran.append(str(payload["x"]))}, lanes=OUTBOX_LANES
    )
    with plane.world.store.write(housekeeping=True) as change:
        change.later("other", "other:1", {"x": "done"})
        change.later("unknown", "unknown:1", {})
    worker.start()
    for _ in range(200):
        with plane.world.store.read() as session:
            left = session.exec(select(OutboxEntry).where(col(OutboxEntry.done_at).is_(None))).all()
        if [entry.kind for entry in left if entry.stuck_at is not None] == ["unknown"] and len(left) == 1:
            break
        time.sleep(0.05)
    worker.stop()
    assert ran == ["done"]
    assert [entry.error for entry in left] == ["nobody handles unknown"]
