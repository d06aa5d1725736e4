"""Transactions of writers: one each on PostgreSQL; on SQLite, writers who wait for each other share a commit.

SQLite has one writer at a time, and most of a writer's time is the sync of its commit. So whoever finds others waiting
hands the open transaction on instead, and nobody goes on before the commit that holds all their changes (group commit,
as PostgreSQL's `commit_delay` and MySQL's binary log do it). Each change keeps a savepoint of its own: one that fails
takes nobody with it.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from sqlalchemy import Engine
from sqlalchemy.engine import Connection
from sqlmodel import Session

from broch_core.errors import Unavailable
from broch_core.store.engine import BUSY_SECONDS
from broch_core.store.written import forget_written, written

MOST_MEMBERS = 32
"""Changes in one commit."""
OPEN_SECONDS = 0.02
"""How old a group may be and still be handed on: the first of it waits for the last."""

Committed = Callable[[frozenset[str]], None]
"""Told which tables a commit wrote, before any of its writers goes on."""


class Transactions(Protocol):
    """Opens a writer's session; leaving it commits, an exception rolls back."""

    def __call__(self) -> AbstractContextManager[Session]:
        """Open one."""
        ...


class OwnTransactions:
    """Each writer commits for itself (the database lets writers work side by side)."""

    def __init__(self, engine: Engine, committed: Committed) -> None:
        self._engine = engine
        self._committed = committed

    @contextmanager
    def __call__(self) -> Iterator[Session]:
        """Open one."""
        with Session(self._engine, expire_on_commit=False) as session:
            yield session
            tables = written(session.connection())
            session.commit()
            self._committed(tables)


@dataclass
class _Group:
    """Changes that share a transaction."""

    connection: Connection
    until: float
    members: int = 0
    tables: frozenset[str] = frozenset()
    done: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None


class GroupedTransactions:
    """Writers of one SQLite file in one process: they queue, in the order in which they came, and share commits."""

    def __init__(self, engine: Engine, committed: Committed) -> None:
        self._engine = engine
        self._committed = committed
        self._mutex = threading.Lock()
        self._busy = False
        self._waiting: deque[threading.Event] = deque()
        self._group: _Group | None = None
        """The open transaction; touched only by whoever has the turn."""

    @contextmanager
    def __call__(self) -> Iterator[Session]:
        """Wait for the turn and open one.

        Raises:
            Unavailable: the writers before it took too long, or the commit that held this change failed.
        """
        self._wait_for_turn()
        group = self._join()
        first = group.members == 0
        try:
            # The first has the transaction to itself: rolling back ends it. The others have a savepoint each.
            with Session(
                group.connection,
                expire_on_commit=False,
                join_transaction_mode="rollback_only" if first else "create_savepoint",
            ) as session:
                try:
                    yield session
                    tables = written(group.connection)
                    session.commit()
                except BaseException:
                    session.rollback()
                    raise
        except BaseException:
            self._end_turn(group)
            raise
        group.members += 1
        group.tables |= tables
        self._end_turn(group)
        group.done.wait()
        if group.error is not None:
            raise Unavailable(
                "The change could not be written.", remedy="Nothing was changed: try again."
            ) from group.error

    def _wait_for_turn(self) -> None:
        with self._mutex:
            if not self._busy:
                self._busy = True
                return
            turn = threading.Event()
            self._waiting.append(turn)
        if turn.wait(BUSY_SECONDS):
            return
        with self._mutex:
            if turn not in self._waiting:
                return  # it came just now
            self._waiting.remove(turn)
        raise Unavailable("The database is busy.", remedy="Try again in a moment.")

    def _join(self) -> _Group:
        if self._group is not None:
            forget_written(self._group.connection)
            return self._group
        connection = None
        try:
            connection = self._engine.connect()
            connection.begin()
        except BaseException:
            if connection is not None:
                connection.close()
            self._next_turn()
            raise
        self._group = _Group(connection, time.monotonic() + OPEN_SECONDS)
        return self._group

    def _end_turn(self, group: _Group) -> None:
        if (
            group.members
            and _is_open(group)
            and group.members < MOST_MEMBERS
            and time.monotonic() < group.until
        ):
            with self._mutex:
                if self._waiting:
                    self._waiting.popleft().set()
                    return
        self._group = None
        try:
            if group.members:
                self._commit(group)
            group.connection.close()
        finally:
            group.done.set()
            self._next_turn()

    def _commit(self, group: _Group) -> None:
        try:
            if not _is_open(group):  # a full disk, say: SQLite has rolled everything back by itself
                raise RuntimeError("the transaction ended before its commit")  # noqa: TRY301 - as a failed commit
            group.connection.commit()
            self._committed(group.tables)
        except Exception as error:  # noqa: BLE001 - every member of the group raises it
            group.error = error
            with contextlib.suppress(Exception):
                group.connection.rollback()

    def _next_turn(self) -> None:
        with self._mutex:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._busy = False


def _is_open(group: _Group) -> bool:
    """Tell whether SQLite is still in the transaction (some errors end it: sqlite.org/lang_transaction.html)."""
    driver = group.connection.connection.driver_connection
    return driver is not None and bool(driver.in_transaction)
