"""Claims of the outbox: renewed while their worker lives, over soon after it died, and none are taken at an end."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import pytest
from sqlmodel import col, func, select, text

from broch_core.clock import utc_now
from broch_core.outbox import worker
from broch_core.outbox.tables import OutboxEntry
from broch_core.outbox.worker import OutboxWorker
from unit.runtime.runtime_fakes import Plane


def enter(plane: Plane, number: int = 1) -> None:
    with plane.world.store.write(housekeeping=True) as change:
        for each in range(number):
            change.later("long", f"long:{each}", {})


def until(question: object, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not question():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.01)


def due(plane: Plane) -> timedelta:
    with plane.world.store.read() as session:
        return session.exec(select(OutboxEntry).where(OutboxEntry.kind == "long")).one().due_at - utc_now()


def test_what_takes_longer_than_a_claim_is_not_begun_once_more(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "CLAIM", timedelta(seconds=1))
    monkeypatch.setattr(worker, "RENEW_SECONDS", 0.1)
    begun, go_on = [], threading.Event()

    def long(_payload: object) -> None:
        begun.append(time.monotonic())
        go_on.wait(60)

    enter(plane)
    mine, others = (OutboxWorker(plane.world.store, {"long": long}) for _ in range(2))
    mine.start()
    try:
        until(lambda: begun)
        until(lambda: time.monotonic() > begun[0] + 1.5)
        assert due(plane) > timedelta(0), "renewed"
        assert others.run_due() == 0, "another process sees the claim too"
        assert len(begun) == 1
    finally:
        go_on.set()
        mine.stop()


def test_where_claims_cannot_be_renewed_the_same_process_does_not_begin_it_again(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "CLAIM", timedelta(0))
    monkeypatch.setattr(worker, "RENEW_SECONDS", 3600)
    begun, go_on = [], threading.Event()

    def long(_payload: object) -> None:
        begun.append(1)
        go_on.wait(60)

    enter(plane)
    mine = OutboxWorker(plane.world.store, {"long": long}, threads=3)
    mine.start()
    try:
        until(lambda: begun)
        mine.wake()
        assert mine.run_due() == 0
        assert len(begun) == 1
    finally:
        go_on.set()
        mine.stop()
    assert mine.run_due() == 0


def test_what_a_dead_worker_had_claimed_is_done_once_its_claim_is_over(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a database that several processes may share nobody knows whose claim it was."""
    monkeypatch.setattr(worker, "CLAIM", timedelta(seconds=0.5))
    monkeypatch.setattr(type(plane.world.store), "single_process", False)
    enter(plane)
    dead = OutboxWorker(plane.world.store, {})
    assert dead._claim(worker.true()) is not None
    done = threading.Event()
    alive = OutboxWorker(plane.world.store, {"long": lambda _payload: done.set()})
    alive.start()
    try:
        assert done.wait(30)
    finally:
        alive.stop()


def test_an_end_takes_up_nothing_more(plane: Plane) -> None:
    begun, go_on = threading.Semaphore(0), threading.Event()

    def long(_payload: object) -> None:
        begun.release()
        go_on.wait(60)

    enter(plane, 20)
    mine = OutboxWorker(plane.world.store, {"long": long})
    mine.start()
    assert all(begun.acquire(timeout=30) for _ in range(2))
    mine._stopping = True
    go_on.set()
    mine.stop()
    with plane.world.store.read() as session:
        tried = session.exec(select(func.count()).where(col(OutboxEntry.attempts) > 0)).one()
    assert tried == 2


def test_what_is_open_is_found_without_a_look_at_what_is_done(plane: Plane) -> None:
    """It is looked for every second, by every thread; entries that are done stay for good."""
    with plane.world.store.read() as session:
        steps = session.exec(
            text(
                "EXPLAIN QUERY PLAN SELECT * FROM outbox WHERE done_at IS NULL AND stuck_at IS NULL "
                "AND due_at <= '2026-01-01' AND id NOT IN ('a') ORDER BY due_at LIMIT 1"
            )
        ).all()
    assert [step[3] for step in steps] == ["SEARCH outbox USING INDEX outbox_open (due_at<?)"]
