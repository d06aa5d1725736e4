"""A database server that goes away, comes back, or serves somebody else at that moment: said as what it is, never as a defect."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, create_engine, make_url, text

from broch import migrations
from broch_core.actors import SYSTEM
from broch_core.audit.record import AuditSubject
from broch_core.errors import Conflict, Unavailable
from broch_core.store.engine import make_engine
from broch_core.store.unit import Change, Store
from support.postgres import Cluster, cluster


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    with cluster() as running:
        yield running


@pytest.fixture
def url(server: Cluster) -> str:
    fresh = server.fresh()
    migrations.upgrade(fresh)
    return fresh


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    made = Store(make_engine(url))
    yield made
    made.engine.dispose()


def end_all(url: str) -> None:
    """End every connection to the database but this one."""
    engine = create_engine(url)
    with engine.connect() as connection:
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        connection.execute(text(f"{others} AND datname = current_database()"))
    engine.dispose()


def note(change: Change) -> None:
    change.audit(SYSTEM, "tried", AuditSubject("test", "1"), facts={})


def count(store: Store) -> int:
    with store.read() as session:
        return session.execute(text("SELECT count(*) FROM audit_record")).scalar_one()


def test_a_connection_that_breaks_in_a_change_changed_nothing_and_the_next_one_works(
    store: Store, url: str
) -> None:
    def breaks() -> None:
        with store.write() as change:
            note(change)
            change.session.flush()
            end_all(url)
            change.session.execute(text("SELECT 1"))

    with pytest.raises(Unavailable, match="Nothing was changed"):
        breaks()
    assert count(store) == 0
    with store.write() as change:
        note(change)
    assert count(store) == 1


def test_a_connection_that_breaks_at_the_commit_leaves_it_open_whether_it_was_written(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_session: object) -> None:
        end_all(url)
        commit(_session)

    from sqlmodel import Session

    commit: Callable[[object], None] = Session.commit  # type: ignore[assignment]
    monkeypatch.setattr(Session, "commit", broken)
    with pytest.raises(Unavailable, match="not known whether") as told, store.write() as change:
        note(change)
    assert told.value.remedy is not None
    assert "Look whether" in told.value.remedy


def test_a_reader_whose_connection_breaks_is_told_so(store: Store, url: str) -> None:
    def breaks() -> None:
        with store.read() as session:
            session.execute(text("SELECT 1"))
            end_all(url)
            session.execute(text("SELECT 1"))

    with pytest.raises(Unavailable):
        breaks()
    assert count(store) == 0


def test_two_that_wait_for_each_other_are_no_defect(store: Store, url: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE pair (id int PRIMARY KEY, n int)"))
        connection.execute(text("INSERT INTO pair VALUES (1, 0), (2, 0)"))
        connection.execute(text("GRANT ALL ON pair TO broch_app"))
    engine.dispose()
    both = threading.Barrier(2)

    def take(first: int, second: int) -> None:
        with store.write(housekeeping=True) as change:
            change.session.execute(text(f"UPDATE pair SET n = n + 1 WHERE id = {first}"))
            both.wait(30)
            change.session.execute(text(f"UPDATE pair SET n = n + 1 WHERE id = {second}"))

    with ThreadPoolExecutor(2) as threads:
        told = [one.exception(60) for one in [threads.submit(take, 1, 2), threads.submit(take, 2, 1)]]
    assert sorted(type(error) for error in told if error is not None) == [Conflict]


def test_a_server_that_may_only_be_read_is_away_for_changes(store: Store) -> None:
    def write() -> None:
        with store.write() as change:
            change.session.execute(text("SET TRANSACTION READ ONLY"))
            note(change)

    with pytest.raises(Unavailable):
        write()


def test_more_callers_than_connections_are_asked_to_come_again(url: str) -> None:
    engine = create_engine(url, pool_size=1, max_overflow=0, pool_timeout=0.2)
    store = Store(engine)
    with store.read() as session:
        session.execute(text("SELECT 1"))
        with pytest.raises(Unavailable, match="in use"), store.read() as other:
            other.execute(text("SELECT 1"))
    engine.dispose()


def test_a_defect_stays_one(store: Store) -> None:
    with pytest.raises(Exception, match="no_such_table") as told, store.read() as session:
        session.execute(text("SELECT * FROM no_such_table"))
    assert not isinstance(told.value, Unavailable)


def connected(engine: Engine) -> dict[str, str]:
    with engine.connect() as connection:
        found = connection.connection.dbapi_connection.info.get_parameters()  # type: ignore[union-attr]
    engine.dispose()
    return dict(found)


def test_a_server_that_vanishes_is_given_up_soon_and_who_says_otherwise_is_heard(url: str) -> None:
    usual = connected(make_engine(url))
    assert (usual["connect_timeout"], usual["tcp_user_timeout"], usual["keepalives_idle"]) == (
        "5",
        "20000",
        "10",
    )
    own = make_url(url).update_query_dict({"connect_timeout": "30", "tcp_user_timeout": "0"})
    said = connected(make_engine(own.render_as_string(hide_password=False)))
    assert (said["connect_timeout"], said["keepalives_idle"]) == ("30", "10")
    assert said.get("tcp_user_timeout", "0") == "0"
