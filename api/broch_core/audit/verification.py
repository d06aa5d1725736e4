"""Checking the stored history against what was signed, from the records up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlmodel import Session, col, select

from broch_core.audit.nodes import DatabaseNodes
from broch_core.audit.record import leaf_of, personal_digest
from broch_core.audit.tables import AuditCheckpoint, AuditPersonal, AuditRecord
from broch_core.proof import (
    Checkpoint,
    MemoryNodes,
    MerkleTree,
    ProofError,
    Purpose,
    TrustedKey,
    TrustFile,
    leaf_hash,
    verify_checkpoint,
)

_PIECE = 2000


@dataclass(frozen=True)
class VerifyResult:
    """Whether the stored history is the one that was signed."""

    ok: bool
    size: int
    first_bad: str | None
    """Id of the first record that is not as it was signed."""
    reason: str


class _ChangedHistory(Exception):
    def __init__(self, reason: str, record_id: str | None = None) -> None:
        super().__init__(reason)
        self.record_id = record_id


def verify_history(session: Session, origin: str, trust: TrustFile) -> VerifyResult:
    """Recompute every leaf and the tree, and hold them against the newest checkpoint."""
    checkpoint = session.exec(
        select(AuditCheckpoint).order_by(col(AuditCheckpoint.size).desc()).limit(1)
    ).first()
    if checkpoint is None:
        numbered = session.exec(
            select(AuditRecord.id).where(col(AuditRecord.seq).is_not(None)).limit(1)
        ).first()
        reason = "Records have numbers, but no checkpoint is there." if numbered else "The log is empty."
        return VerifyResult(ok=numbered is None, size=0, first_bad=numbered, reason=reason)
    try:
        signed, keys = verify_checkpoint(checkpoint.note, origin, trust.of(Purpose.CHECKPOINT))
        _check_validity(checkpoint, keys)
        _recompute(session, signed)
    except (ProofError, _ChangedHistory) as error:
        first_bad = error.record_id if isinstance(error, _ChangedHistory) else None
        return VerifyResult(ok=False, size=checkpoint.size, first_bad=first_bad, reason=str(error))
    return VerifyResult(
        ok=True,
        size=signed.size,
        first_bad=None,
        reason=f"All {signed.size} records are as they were signed.",
    )


def _check_validity(checkpoint: AuditCheckpoint, keys: Sequence[TrustedKey]) -> None:
    if not any(key.valid_at(checkpoint.at) for key in keys):
        raise _ChangedHistory("The newest checkpoint was signed by a key that was not valid then.")


def _recompute(session: Session, signed: Checkpoint) -> None:
    hashes = [
        _checked(record, personal, number) for number, (record, personal) in enumerate(_history(session))
    ]
    if len(hashes) != signed.size:
        raise _ChangedHistory(
            f"The newest checkpoint speaks of {signed.size} records, but {len(hashes)} are there."
        )
    for start in range(0, len(hashes), _PIECE):
        numbers = range(start, min(start + _PIECE, len(hashes)))
        stored = DatabaseNodes(session).read([(0, number) for number in numbers])
        for number in numbers:
            if stored.get((0, number)) != hashes[number]:
                raise _ChangedHistory(
                    f"Leaf {number} is not the one that was hashed into the tree.", _id_of(session, number)
                )
    _check_root(hashes, signed)


def _check_root(hashes: Sequence[bytes], signed: Checkpoint) -> None:
    tree = MerkleTree(MemoryNodes())
    tree.append(hashes)
    if tree.root() != signed.root:
        raise _ChangedHistory("The tree of the records is not the tree of the signed checkpoint.")


def _checked(record: AuditRecord, personal: AuditPersonal | None, number: int) -> bytes:
    if record.seq != number:
        raise _ChangedHistory(f"The record with number {number} is missing.", record.id)
    fresh = leaf_hash(leaf_of(record))
    if fresh.hex() != record.leaf_hash:
        raise _ChangedHistory(
            f"Record {record.id} (number {number}) was changed after it was numbered.", record.id
        )
    if personal is not None and personal_digest(personal.salt, personal.texts) != record.personal_digest:
        raise _ChangedHistory(f"The personal texts of record {record.id} were changed.", record.id)
    return fresh


def _history(session: Session) -> Iterator[tuple[AuditRecord, AuditPersonal | None]]:
    after = -1
    while True:
        rows = session.exec(
            select(AuditRecord, AuditPersonal)
            .join(AuditPersonal, col(AuditPersonal.record_id) == AuditRecord.id, isouter=True)
            .where(col(AuditRecord.seq) > after)
            .order_by(col(AuditRecord.seq))
            .limit(_PIECE)
        ).all()
        if not rows:
            return
        yield from ((record, personal) for record, personal in rows)
        after = rows[-1][0].seq or 0
        session.expunge_all()


def _id_of(session: Session, number: int) -> str | None:
    return session.exec(select(AuditRecord.id).where(AuditRecord.seq == number)).first()
