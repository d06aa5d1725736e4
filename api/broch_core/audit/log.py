"""The audit log as a tree: the sequencer numbers committed records, hashes them into it and signs a checkpoint.

Records are written in the transaction of the change, not yet numbered; one sequencer appends them within a second, as
Trillian and Tessera do. Numbers follow the order of ids, which follow time; whoever commits later is numbered later.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import bindparam, inspect
from sqlalchemy import select as sql_select
from sqlmodel import Session, col, func, select, text, update

from broch_core import faults
from broch_core.audit.nodes import DatabaseNodes
from broch_core.audit.record import leaf_of
from broch_core.audit.tables import AuditCheckpoint, AuditRecord
from broch_core.audit.verification import VerifyResult, verify_history
from broch_core.clock import utc_now
from broch_core.errors import Conflict, NotFound
from broch_core.proof import (
    Checkpoint,
    KeyFolder,
    MerkleTree,
    Purpose,
    TrustedKey,
    leaf_hash,
    sign_checkpoint,
)
from broch_core.store.unit import Store

log = structlog.get_logger()

BATCH = 5000
"""Most records in one transaction of the sequencer."""
TICK_SECONDS = 0.5
PAUSE_SECONDS = 0.5
"""Between two batches: one commit and one signature for many records, still well within a second."""
_LOCK_KEY = 0x62726F6368
"""Advisory lock of the sequencer on PostgreSQL ("broch")."""

_columns = inspect(AuditRecord).local_table.c
_UNNUMBERED = sql_select(*_columns).where(_columns.seq.is_(None)).order_by(_columns.id).limit(BATCH)
_NUMBER = (
    update(AuditRecord)
    .where(col(AuditRecord.id) == bindparam("record"))
    .values(seq=bindparam("number"), leaf_hash=bindparam("leaf"))
)


@dataclass(frozen=True)
class InclusionProof:
    """Everything that shows a record to be in the log."""

    leaf: bytes
    index: int
    size: int
    hashes: tuple[bytes, ...]
    checkpoint: str
    """Signed note of the tree of `size` leaves."""


class AuditLog:
    """The log of one Broch."""

    def __init__(self, store: Store, keys: KeyFolder, origin: str) -> None:
        self._store = store
        self._keys = keys
        self._origin = origin
        # Releases and rotations number at once what they wrote, beside the thread that does it every second.
        self._turn = threading.Lock()
        self._wake = threading.Event()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="sequencer", daemon=True)
        store.after_commit(AuditRecord.__tablename__, self._wake.set)

    @property
    def origin(self) -> str:
        """Name of the log in its checkpoints."""
        return self._origin

    @property
    def keys(self) -> KeyFolder:
        """The keys that sign it."""
        return self._keys

    def start(self) -> None:
        """Begin to sequence in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Number what is left and end."""
        self._end.set()
        self._wake.set()
        self._thread.join(timeout=30)

    def sequence(self) -> int:
        """Number every committed record and sign a checkpoint; return how many were new."""
        total = 0
        while True:
            count = self._batch()
            total += count
            if count < BATCH:
                return total

    def renew_key(self, purpose: Purpose, *, overlap: timedelta) -> TrustedKey:
        """Make a new key and end the older ones; no checkpoint that is being signed meanwhile takes an ended one.

        Raises:
            KeyUnavailable: the folder or a file in it is not safe to use.
        """
        with self._turn:
            return self._keys.rotate(purpose, utc_now(), overlap=overlap)

    def latest(self) -> str | None:
        """Return the newest signed checkpoint."""
        with self._store.read() as session:
            return session.exec(
                select(AuditCheckpoint.note).order_by(col(AuditCheckpoint.size).desc()).limit(1)
            ).first()

    def oldest_unnumbered(self) -> datetime | None:
        """Return when the oldest record that has no number was written."""
        with self._store.read() as session:
            return session.exec(
                select(AuditRecord.at).where(col(AuditRecord.seq).is_(None)).order_by(AuditRecord.id).limit(1)
            ).first()

    def proof(self, record_id: str) -> InclusionProof:
        """Prove that a record is in the log of the newest checkpoint.

        Raises:
            NotFound: there is no such record.
            Conflict: it has not been numbered yet.
        """
        with self._store.read() as session:
            record = session.get(AuditRecord, record_id)
            if record is None:
                raise NotFound
            checkpoint = session.exec(
                select(AuditCheckpoint).order_by(col(AuditCheckpoint.size).desc()).limit(1)
            ).first()
            if record.seq is None or checkpoint is None:
                raise Conflict("The record has no number yet.", remedy="Try again in a second.")
            tree = MerkleTree(DatabaseNodes(session), checkpoint.size)
            return InclusionProof(
                leaf=leaf_of(record),
                index=record.seq,
                size=checkpoint.size,
                hashes=tuple(tree.inclusion_proof(record.seq)),
                checkpoint=checkpoint.note,
            )

    def consistency(self, old: int, new: int | None = None) -> list[bytes]:
        """Prove that the log of `old` leaves is a prefix of the newer one.

        Raises:
            InvalidProof: there are no such sizes.
        """
        with self._store.read() as session:
            return MerkleTree(DatabaseNodes(session), _size(session)).consistency_proof(old, new)

    def verify(self) -> VerifyResult:
        """Recompute every leaf and the tree from the records, and hold them against the newest checkpoint."""
        with self._store.read() as session:
            return verify_history(session, self._origin, self._keys.trust())

    def _batch(self) -> int:
        with self._turn:
            return self._next_batch()

    def _next_batch(self) -> int:
        hashes = self._unnumbered()  # nothing is hashed while others wait to write
        if not hashes:
            return 0
        with self._store.write(housekeeping=True) as change:
            session = change.session
            if not self._store.single_process:
                session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
                hashes = _still_unnumbered(session, hashes)
            if not hashes:
                return 0
            size = _size(session)
            tree = MerkleTree(DatabaseNodes(session), size)
            tree.append(list(hashes.values()))
            session.connection().execute(
                _NUMBER,
                [
                    {"record": record, "number": size + n, "leaf": leaf.hex()}
                    for n, (record, leaf) in enumerate(hashes.items())
                ],
            )
            now = utc_now()
            checkpoint = Checkpoint(self._origin, tree.size, tree.root())
            note = sign_checkpoint(checkpoint, [self._keys.signer(Purpose.CHECKPOINT, now)])
            faults.point("sequencer.signed")
            session.add(AuditCheckpoint(size=tree.size, at=now, note=note))
        return len(hashes)

    def _unnumbered(self) -> dict[str, bytes]:
        """Hash the oldest records that have no number (id -> leaf hash, in their order); nobody can change them."""
        with self._store.read() as session:
            return {row.id: leaf_hash(leaf_of(row)) for row in session.execute(_UNNUMBERED)}

    def _loop(self) -> None:
        while not self._end.is_set():
            self._wake.wait(TICK_SECONDS)
            self._wake.clear()
            self._sequence_waiting()
            self._end.wait(PAUSE_SECONDS)
        self._sequence_waiting()

    def _sequence_waiting(self) -> None:
        try:
            with self._store.read() as session:
                waiting = session.exec(
                    select(AuditRecord.id).where(col(AuditRecord.seq).is_(None)).limit(1)
                ).first()
            if waiting is not None:  # an idle sequencer must not take the write lock
                self.sequence()
        except Exception:
            log.exception("sequencer.failed")
            self._end.wait(TICK_SECONDS)


def _still_unnumbered(session: Session, hashes: dict[str, bytes]) -> dict[str, bytes]:
    """Leave out what another process has numbered since."""
    left = set(
        session.exec(
            select(AuditRecord.id)
            .where(col(AuditRecord.seq).is_(None), col(AuditRecord.id) <= max(hashes))
            .order_by(AuditRecord.id)
        )
    )
    return {record: leaf for record, leaf in hashes.items() if record in left}


def _size(session: Session) -> int:
    last = session.exec(select(func.max(AuditRecord.seq))).one()
    return 0 if last is None else last + 1
