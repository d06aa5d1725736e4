"""Which tables a transaction has written, as its statements say."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.engine import Connection

ANY_TABLE = "*"
"""Stands for a statement that could not be read: whatever anybody remembers may be wrong after it."""
_KEY = "broch_written"
_WRITE = re.compile(r'\s*(?:INSERT(?:\s+OR\s+\w+)?\s+INTO|UPDATE|DELETE\s+FROM)\s+"?(\w+)', re.IGNORECASE)
_NO_WRITE = re.compile(r"\s*(?:SELECT|BEGIN|SAVEPOINT|RELEASE|ROLLBACK)\b", re.IGNORECASE)


def written_table(statement: str) -> str | None:
    """Return the table that an SQL statement writes, `ANY_TABLE` when that is not plain to see, None if it only reads."""
    if found := _WRITE.match(statement):
        return found[1].lower()
    return None if _NO_WRITE.match(statement) else ANY_TABLE


def watch(engine: Engine) -> None:
    """Note for every transaction of this engine which tables it writes."""

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.info[_KEY] = set()

    @event.listens_for(engine, "before_cursor_execute")
    def _note(connection: Connection, _cursor: Any, statement: str, *_rest: Any) -> None:
        if (table := written_table(statement)) is not None:
            connection.info.setdefault(_KEY, set()).add(table)


def forget_written(connection: Connection) -> None:
    """Begin anew to note, for the next change in the same transaction."""
    connection.info[_KEY] = set()


def written(connection: Connection) -> frozenset[str]:
    """Return the tables that the present transaction of a watched engine has written."""
    return frozenset(connection.info.get(_KEY, ()))


class Epochs:
    """Counts commits by the tables that they wrote: what was read from tables under one count still holds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._commits: Counter[str] = Counter()

    def committed(self, tables: Iterable[str]) -> None:
        """Count one commit."""
        with self._lock:
            self._commits.update(set(tables))

    def of(self, tables: Iterable[str]) -> int:
        """Return a number that grows whenever one of `tables` may have changed."""
        with self._lock:
            return sum(self._commits[table] for table in {*tables, ANY_TABLE})
