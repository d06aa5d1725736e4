"""Engines. SQLite: WAL, `synchronous=FULL`, foreign keys on, `BEGIN IMMEDIATE` for writers, no change of the schema."""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import Connection
from sqlalchemy.pool import QueuePool

BUSY_SECONDS = 15
"""How long a writer waits for the one before it."""

_SCHEMA_CHANGES = frozenset(
    getattr(sqlite3, name)
    for name in (
        "SQLITE_ALTER_TABLE",
        "SQLITE_CREATE_INDEX",
        "SQLITE_CREATE_TABLE",
        "SQLITE_CREATE_TRIGGER",
        "SQLITE_CREATE_VIEW",
        "SQLITE_DROP_INDEX",
        "SQLITE_DROP_TABLE",
        "SQLITE_DROP_TRIGGER",
        "SQLITE_DROP_VIEW",
        "SQLITE_ATTACH",
        "SQLITE_DETACH",
    )
)


def _refuse_schema_changes(action: int, *_args: object) -> int:
    return sqlite3.SQLITE_DENY if action in _SCHEMA_CHANGES else sqlite3.SQLITE_OK


def make_engine(url: str, *, owner: bool = False) -> Engine:
    """Make an engine for `url`.

    Args:
        url: SQLAlchemy URL of SQLite or PostgreSQL.
        owner: the engine may change the schema (migrations). The app's own engine may not: on PostgreSQL by its
            role, on SQLite, which has no roles, by an authorizer on every connection.
    """
    if not url.startswith("sqlite"):
        return create_engine(url, pool_size=10, max_overflow=20, pool_pre_ping=True)
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=8,
        max_overflow=32,
        connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _set_up(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = (
            None  # we say BEGIN ourselves: the driver's own begins too late for readers
        )
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "trusted_schema=OFF"):
            connection.execute(f"PRAGMA {pragma}")
        if not owner:
            connection.set_authorizer(_refuse_schema_changes)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("broch_writes", owner)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
