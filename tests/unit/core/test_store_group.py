"""Writers of SQLite share commits: who waits joins, who fails takes nobody with it, nobody goes on before the commit."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event
from sqlmodel import select

from broch_core.actions import Action
from broch_core.audit.record import AuditSubject
from broch_core.audit.tables import AuditRecord
from broch_core.errors import Conflict, Unavailable
from broch_core.store import group as group_module
from broch_core.store.unit import Change, Store
from broch_core.tables.people import Person
from support.counts import count
from support.worlds import World, make_world


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


@pytest.fixture
def commits(world: World) -> list[float]:
    """Times of the commits of writers."""
    seen: list[float] = []
    event.listen(world.store._transaction._engine, "commit", lambda _: seen.append(time.monotonic()))
    return seen


@pytest.fixture
def together(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[Future[str]]]]:
    """Run writers so that all but the first wait for a turn before the first has ended."""
    monkeypatch.setattr(group_module, "OPEN_SECONDS", 5.0)
    queue = world.store._transaction

    with ThreadPoolExecutor(40) as pool:

        def run(*writers: Callable[[Change], None]) -> list[Future[str]]:
            entered, leave = threading.Event(), threading.Event()

            def first(change: Change) -> None:
                try:
                    writers[0](change)
                finally:
                    entered.set()
                    assert leave.wait(30)

            futures = [pool.submit(_write, world.store, first)]
            assert entered.wait(30)
            for waiting, writer in enumerate(writers[1:], start=1):
                futures.append(pool.submit(_write, world.store, writer))
                _until(lambda waiting=waiting: len(queue._waiting) == waiting)
            leave.set()
            for future in futures:
                future.exception(timeout=30)
            return futures

        yield run


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def _write(store: Store, writer: Callable[[Change], None]) -> str:
    with store.write() as change:
        writer(change)
    return "done"


def _person(handle: str) -> Callable[[Change], None]:
    def write(change: Change) -> None:
        person = Person(handle=handle, display_name=handle)
        change.session.add(person)
        change.audit("system", Action.PERSON_CREATE, AuditSubject("person", person.id))

    return write


def _failing(handle: str) -> Callable[[Change], None]:
    def write(change: Change) -> None:
        _person(handle)(change)
        change.session.flush()
        raise ZeroDivisionError

    return write


def _handles(world: World) -> set[str]:
    with world.store.read() as session:
        return set(session.exec(select(Person.handle).where(Person.handle.startswith("w-"))))


def _records(world: World) -> int:
    with world.store.read() as session:
        return len(
            session.exec(select(AuditRecord.id).where(AuditRecord.action == Action.PERSON_CREATE)).all()
        )


def test_writers_who_wait_share_a_commit(world: World, together, commits: list[float]):
    done = together(*[_person(f"w-{n}") for n in range(8)])
    assert [future.result() for future in done] == ["done"] * 8
    assert _handles(world) == {f"w-{n}" for n in range(8)}
    assert len(commits) == 1


def test_a_writer_alone_commits_for_itself(world: World, commits: list[float]):
    for n in range(3):
        _write(world.store, _person(f"w-{n}"))
    assert len(commits) == 3


@pytest.mark.parametrize("bad", [0, 3, 7])
def test_one_that_fails_takes_nobody_with_it(world: World, together, bad: int):
    before = _records(world)
    done = together(*[_failing(f"w-{n}") if n == bad else _person(f"w-{n}") for n in range(8)])
    assert [type(future.exception()) for future in done] == [
        ZeroDivisionError if n == bad else type(None) for n in range(8)
    ]
    assert _handles(world) == {f"w-{n}" for n in range(8) if n != bad}
    assert _records(world) == before + 7


def test_a_broken_constraint_is_a_conflict_of_its_writer_alone(world: World, together):
    done = together(_person("w-a"), _person("w-b"), _person("w-a"), _person("w-c"))
    assert [type(future.exception()) for future in done] == [type(None), type(None), Conflict, type(None)]
    assert _handles(world) == {"w-a", "w-b", "w-c"}


def test_nobody_sees_or_is_told_of_a_change_before_its_commit(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(group_module, "OPEN_SECONDS", 5.0)
    in_second, end_second = threading.Event(), threading.Event()

    def first(change: Change) -> None:
        _person("w-first")(change)
        second.append(pool.submit(_write, world.store, slow))
        _until(lambda: len(world.store._transaction._waiting) == 1)

    def slow(change: Change) -> None:
        _person("w-second")(change)
        in_second.set()
        assert end_second.wait(30)

    second: list[Future[str]] = []
    with ThreadPoolExecutor(2) as pool:
        told = pool.submit(_write, world.store, first)
        assert in_second.wait(30)
        time.sleep(0.05)
        assert not told.done()
        assert _handles(world) == set()
        end_second.set()
        assert told.result(10) == second[0].result(10) == "done"
    assert _handles(world) == {"w-first", "w-second"}


def test_when_the_transaction_is_lost_everybody_in_it_is_told(world: World, together):
    """SQLite rolls the whole transaction back on a full disk and the like; a savepoint does not save from that."""

    def lose(change: Change) -> None:
        _person("w-lost")(change)
        change.session.flush()
        driver = change.session.connection().connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.rollback()

    done = together(_person("w-a"), lose, _person("w-b"))
    assert isinstance(done[0].exception(), Unavailable)
    assert done[1].exception() is not None
    assert done[2].result() == "done", "the next group begins anew"
    assert _handles(world) == {"w-b"}


def test_a_failed_commit_is_everybodys_error(world: World, together):
    def fail(_connection: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    engine = world.store._transaction._engine
    event.listen(engine, "commit", fail)
    done = together(*[_person(f"w-{n}") for n in range(3)])
    event.remove(engine, "commit", fail)
    assert all(isinstance(future.exception(), Unavailable) for future in done)
    assert _handles(world) == set()
    assert _write(world.store, _person("w-again")) == "done"


def test_who_waits_too_long_is_told_and_leaves_no_trace(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(group_module, "BUSY_SECONDS", 0.05)

    def slow(change: Change) -> None:
        _person("w-slow")(change)
        with pytest.raises(Unavailable, match="busy"):
            pool.submit(_write, world.store, _person("w-late")).result(10)

    with ThreadPoolExecutor(1) as pool:
        assert _write(world.store, slow) == "done"
        assert pool.submit(_write, world.store, _person("w-next")).result(10) == "done"
    assert _handles(world) == {"w-slow", "w-next"}


def test_a_change_wakes_only_for_the_tables_that_it_wrote_itself(world: World, together):
    woken: list[str] = []
    world.store.after_commit("person", lambda: woken.append("person"))
    epoch = world.store.epoch(["person"])

    def record_only(change: Change) -> None:
        change.audit("system", Action.PERSON_CREATE, AuditSubject("person", "somebody"))

    together(_person("w-a"), record_only, record_only)
    assert woken == ["person"]
    assert world.store.epoch(["person"]) == epoch + 1


@given(plan=st.lists(st.lists(st.booleans(), min_size=1, max_size=6), min_size=2, max_size=6))
@settings(
    max_examples=count("store: writers at once, some of which fail", ci=15, nightly=500),
    deadline=None,
    database=None,
)
def test_what_was_acknowledged_stands_and_nothing_else(tmp_path_factory: pytest.TempPathFactory, plan):
    world = make_world(tmp_path_factory.mktemp("group"))

    def work(worker: int) -> list[str]:
        stands = []
        for step, fails in enumerate(plan[worker]):
            handle = f"w-{worker}-{step}"
            try:
                _write(world.store, _failing(handle) if fails else _person(handle))
            except ZeroDivisionError:
                assert fails
            else:
                stands.append(handle)
        return stands

    with ThreadPoolExecutor(len(plan)) as pool:
        stands = [handle for part in pool.map(work, range(len(plan))) for handle in part]
    assert _handles(world) == set(stands)
    assert len(stands) == sum(not fails for part in plan for fails in part)
