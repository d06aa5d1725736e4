"""Tables of the audit log. Triggers refuse every change of a numbered record and every deletion."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Column, Dialect, LargeBinary
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, SQLModel

from broch_core.clock import utc_now
from broch_core.ids import new_id
from broch_core.proof.canonical import canonical
from broch_core.store.types import moment


class CanonicalJson(TypeDecorator[Any]):
    """JSON kept as its RFC 8785 text: what is stored is what is hashed, byte for byte."""

    impl = JSON
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], str]:
        """Write canonical text, whatever the driver would write."""
        del dialect
        return lambda value: canonical(value).decode()


def _now() -> datetime:
    """Return the present moment to the millisecond: leaves say no more, so nothing more is kept."""
    now = utc_now()
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


class AuditRecord(SQLModel, table=True):
    """What was allowed or denied: opaque ids and facts only."""

    __tablename__ = "audit_record"

    id: str = Field(default_factory=new_id, primary_key=True, max_length=26)
    at: datetime = moment(default_factory=_now, index=True)
    actor_id: str = Field(max_length=40, index=True)
    action: str = Field(max_length=60, index=True)
    outcome: str = Field(default="allowed", max_length=10)
    subject_kind: str = Field(max_length=40)
    subject_id: str | None = Field(default=None, max_length=64, index=True)
    project_id: str | None = Field(default=None, max_length=26, index=True)
    facts: dict[str, Any] = Field(sa_column=Column(CanonicalJson, nullable=False))
    personal_digest: str | None = Field(default=None, max_length=64)
    """HMAC-SHA-256 of the personal texts under the salt that lies beside them; erased texts leave only this."""
    seq: int | None = Field(default=None, sa_column=Column(BigInteger, unique=True, nullable=True))
    """Index of the leaf in the tree; unset until the sequencer has been there."""
    leaf_hash: str | None = Field(default=None, max_length=64)


class AuditPersonal(SQLModel, table=True):
    """Erasable texts of a record: names, file names, reasons."""

    __tablename__ = "audit_personal"

    record_id: str = Field(primary_key=True, max_length=26, foreign_key="audit_record.id")
    salt: str = Field(max_length=64)
    texts: dict[str, str] = Field(sa_column=Column(CanonicalJson, nullable=False))


class AuditNode(SQLModel, table=True):
    """A complete subtree's hash: `level` 0 holds leaves."""

    __tablename__ = "audit_node"

    level: int = Field(primary_key=True)
    index: int = Field(sa_column=Column(BigInteger, primary_key=True))
    hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class AuditCheckpoint(SQLModel, table=True):
    """A signed tree head (C2SP tlog-checkpoint)."""

    __tablename__ = "audit_checkpoint"

    size: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    at: datetime = moment(default_factory=utc_now)
    note: str = Field(max_length=4000)
