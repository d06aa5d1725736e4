"""Where the log to export comes from: the database, or (for whoever mirrors it from elsewhere) the API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from sqlalchemy import Engine
from sqlmodel import Session, col, select

from broch_core.audit.leaves import NotAsWritten, leaf_bytes, stored_records
from broch_core.audit.nodes import DatabaseNodes
from broch_core.audit.tables import AuditCheckpoint
from broch_core.errors import Conflict
from broch_core.proof import MerkleTree, leaf_hash

_PIECE = 5000


class LogSource(Protocol):
    """A log that is there to be copied."""

    def newest(self) -> str | None:
        """Return the newest checkpoint; None while the log is empty."""

    def checkpoint_up_to(self, size: int, after: int) -> str | None:
        """Return the newest checkpoint of at most `size` and more than `after` records, else the first one after."""

    def leaves(self, first: int, end: int) -> Iterator[bytes]:
        """Yield the leaves from `first` to before `end`.

        Raises:
            Conflict: they are not as they were signed.
        """

    def consistency(self, old: int, new: int) -> list[bytes]:
        """Return the proof that the log of `new` leaves continues the one of `old`."""


class DatabaseSource:
    """The log in a database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def newest(self) -> str | None:
        """Return the newest checkpoint."""
        with Session(self._engine) as session:
            return session.exec(
                select(AuditCheckpoint.note).order_by(col(AuditCheckpoint.size).desc()).limit(1)
            ).first()

    def checkpoint_up_to(self, size: int, after: int) -> str | None:
        """Return a checkpoint to end a segment at."""
        query = select(AuditCheckpoint.note).where(AuditCheckpoint.size > after)
        with Session(self._engine) as session:
            last = (
                query.where(AuditCheckpoint.size <= size).order_by(col(AuditCheckpoint.size).desc()).limit(1)
            )
            return (
                session.exec(last).first()
                or session.exec(query.order_by(col(AuditCheckpoint.size)).limit(1)).first()
            )

    def leaves(self, first: int, end: int) -> Iterator[bytes]:
        """Yield leaves; each is compared with the hash that went into the tree."""
        for start in range(first, end, _PIECE):
            with self._engine.connect() as connection:
                rows = list(stored_records(connection, start, min(start + _PIECE, end)))
            for number, row in enumerate(rows, start):
                try:
                    leaf = leaf_bytes(row)
                except NotAsWritten as error:
                    raise Conflict(f"Record {row[1]} (number {number}) was changed: {error}") from error
                if row[0] != number or leaf_hash(leaf).hex() != row[11]:
                    raise Conflict(f"Record {row[1]} (number {row[0]}) is not as it was signed.")
                yield leaf
            if len(rows) != min(start + _PIECE, end) - start:
                raise Conflict(f"Records after number {start + len(rows) - 1} are missing.")

    def consistency(self, old: int, new: int) -> list[bytes]:
        """Return a consistency proof."""
        with Session(self._engine) as session:
            return MerkleTree(DatabaseNodes(session), new).consistency_proof(old, new)
