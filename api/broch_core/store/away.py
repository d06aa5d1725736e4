"""What it means that a database server fails: it is away, or somebody else was there at the same moment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from broch_core.errors import Conflict, DomainError, Unavailable

_RACES = frozenset({"40001", "40P01", "55P03"})
"""SQLSTATE of what another transaction did to this one: serialization failure, deadlock, lock not available."""


_STANDBY = "25006"
"""SQLSTATE: a server that may only be read, as one is that is not the first yet."""


class Progress:
    """How far a transaction is."""

    commits = False
    """Whether the server was asked to commit: then nobody knows what became of it when no answer comes."""


@contextmanager
def told_apart(engine: Engine) -> Iterator[Progress]:
    """Say what failures of a database server mean; SQLite has no server.

    Raises:
        Unavailable: the server, or a connection to it, is away.
        Conflict: another transaction came in between; the same may work when it is tried again.
    """
    progress = Progress()
    try:
        yield progress
    except (DBAPIError, PoolTimeout) as error:
        if engine.dialect.name == "sqlite" or (meant := _meaning(error, progress)) is None:
            raise
        raise meant from error


def _meaning(error: DBAPIError | PoolTimeout, progress: Progress) -> DomainError | None:
    if isinstance(error, PoolTimeout):
        return Unavailable("Every connection to the database is in use.", remedy="Try again in a moment.")
    state = getattr(error.orig, "sqlstate", None)
    if state in _RACES:
        return Conflict("Somebody else changed the same thing at this moment.", remedy="Try again.")
    away = error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)
    if not away and state != _STANDBY:
        return None
    if progress.commits:
        return Unavailable(
            "The database broke off while this was being written: it is not known whether it was.",
            remedy="Look whether it is there before you do it again.",
        )
    return Unavailable("The database does not answer. Nothing was changed.", remedy="Try again in a moment.")
