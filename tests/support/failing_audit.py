"""An audit log that cannot be written: the record number `at` of those to come fails, whoever writes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event


class AuditUnwritable(Exception):
    """The record could not be written."""


class AuditWrites:
    """Counts the records written."""

    def __init__(self, fail: int | None, *, every: bool) -> None:
        self.count = 0
        self._fail = fail
        self._every = every

    def __call__(self, _connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.lower().startswith("insert into audit_record"):
            self.count += 1
            if self._every or self._fail == self.count - 1:
                raise AuditUnwritable


@contextmanager
def audit_failing(engine: Engine, fail: int | None = None, *, every: bool = False) -> Iterator[AuditWrites]:
    """Let the record number `fail`, counted from 0, or every one, fail below all code of ours; None only counts."""
    writes = AuditWrites(fail, every=every)
    event.listen(engine, "before_cursor_execute", writes)
    try:
        yield writes
    finally:
        event.remove(engine, "before_cursor_execute", writes)
