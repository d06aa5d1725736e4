"""Engines. SQLite: WAL, `synchronous=FULL`, foreign keys on, `BEGIN IMMEDIATE` for writers, no change of the schema."""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.engine import Connection
from sqlalchemy.pool import QueuePool

BUSY_SECONDS = 15
"""How long a writer waits for the one before it."""

_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "trusted_schema=OFF",
    "recursive_triggers=ON",  # else INSERT OR REPLACE deletes a row without asking the triggers of DELETE
)
_SERVER = {
    "connect_timeout": 5,
    "tcp_user_timeout": 20_000,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}
"""Of libpq (its timeout in ms, the others in s): a server that vanished without a word is given up after 20 to 25 s, not after
the kernel's quarter of an hour. Who says otherwise in the URL is heard."""
_SCHEMA_CHANGES = frozenset(
    getattr(sqlite3, f"SQLITE_{what}_{kind}")
    for what in ("CREATE", "DROP")
    for kind in (
        "INDEX",
        "TABLE",
        "TRIGGER",
        "VIEW",
        "VTABLE",
        "TEMP_INDEX",
        "TEMP_TABLE",
        "TEMP_TRIGGER",
        "TEMP_VIEW",
    )
) | {sqlite3.SQLITE_ALTER_TABLE, sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH}
_WRITES = frozenset({sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE})
_TABLES_OF_THE_SCHEMA = frozenset(
    {"sqlite_master", "sqlite_schema", "sqlite_temp_master", "sqlite_temp_schema", "alembic_version"}
)
_HARMLESS_PRAGMAS = frozenset(
    {
        "busy_timeout",
        "defer_foreign_keys",  # until the commit, not away
        "foreign_key_check",
        "foreign_key_list",
        "index_info",
        "index_list",
        "index_xinfo",
        "integrity_check",
        "quick_check",
        "table_info",
        "table_xinfo",
        "wal_checkpoint",
    }
)
"""They may take a value. Others may be read, not set: `writable_schema`, `foreign_keys` and `recursive_triggers` would
switch off what the triggers hold."""


def app_authorizer(action: int, first: str | None, second: str | None, *_rest: object) -> int:
    """Refuse what the app's role may not do on PostgreSQL either: change the schema, or switch off its checks."""
    if action in _SCHEMA_CHANGES or (action in _WRITES and str(first).lower() in _TABLES_OF_THE_SCHEMA):
        return sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_PRAGMA and second is not None and str(first).lower() not in _HARMLESS_PRAGMAS:
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK


def make_engine(url: str, *, owner: bool = False) -> Engine:
    """Make an engine for `url`.

    Args:
        url: SQLAlchemy URL of SQLite or PostgreSQL.
        owner: the engine may change the schema (migrations). The app's own engine may not: on PostgreSQL by its
            role, on SQLite, which has no roles, by an authorizer on every connection.
    """
    if not url.startswith("sqlite"):
        said = make_url(url).query
        return create_engine(
            url,
            pool_size=10,
            max_overflow=20,
            pool_pre_ping=True,
            connect_args={name: value for name, value in _SERVER.items() if name not in said},
        )
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
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        if not owner:
            connection.set_authorizer(app_authorizer)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("broch_writes", owner)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
