"""What the API says of the audit log."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Self

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field, model_validator

from broch_core.audit.log import InclusionProof
from broch_core.audit.tables import AuditPersonal, AuditRecord
from broch_core.audit.verification import VerifyResult
from broch_core.ids import Id
from broch_core.proof import Purpose
from broch_core.web.texts import Line

_Text = Annotated[Line, Field(max_length=60)]


@dataclass(frozen=True)
class RecordFilter:
    """Which records to show; nothing given means all."""

    actor: Annotated[_Text | None, Query(description="Handle or id of who acted, or `system`.")] = None
    action: Annotated[_Text | None, Query(description="Such as `airlock:submit`.")] = None
    project: Annotated[_Text | None, Query(description="Slug or id of a project.")] = None
    outcome: Annotated[str | None, Query(pattern="^(allowed|denied)$")] = None
    since: Annotated[datetime | None, Query(description="Not older than this moment.")] = None
    until: Annotated[datetime | None, Query(description="Older than this moment.")] = None


class ExportFormat(StrEnum):
    """How exported records are written, one a line."""

    RECORDS = "records"
    """As the list shows them, newest first, with personal texts."""
    OCSF = "ocsf"
    """Events of OCSF 1.3, oldest first, opaque ids alone."""
    LEAVES = "leaves"
    """Byte for byte as they were hashed, oldest first: what copies of the log are made of."""


class AuditRecordView(BaseModel):
    """One record: what was allowed or denied."""

    id: Id
    at: datetime
    actor_id: str
    actor_handle: str | None = Field(description="Handle of the person, if it is one.", examples=["ruth"])
    action: str = Field(examples=["workspace:open"])
    outcome: str = Field(examples=["allowed"])
    subject_kind: str = Field(examples=["workspace"])
    subject_id: str | None
    project_id: str | None
    project_slug: str | None = Field(examples=["tumour-texture"])
    facts: dict[str, Any] = Field(examples=[{"deadline": "2026-11-22T17:00:00+00:00"}])
    personal: dict[str, str] | None = Field(
        description="Texts that can be erased; only their digest is hashed."
    )
    number: int | None = Field(description="Index of the leaf; absent until the sequencer has been there.")
    leaf_hash: str | None = Field(description="RFC 6962 leaf hash, hexadecimal.")

    @classmethod
    def of(
        cls, record: AuditRecord, personal: AuditPersonal | None, handle: str | None, slug: str | None
    ) -> AuditRecordView:
        """Make one from rows."""
        return cls(
            id=record.id,
            at=record.at,
            actor_id=record.actor_id,
            actor_handle=handle,
            action=record.action,
            outcome=record.outcome,
            subject_kind=record.subject_kind,
            subject_id=record.subject_id,
            project_id=record.project_id,
            project_slug=slug,
            facts=record.facts,
            personal=personal.texts if personal else None,
            number=record.seq,
            leaf_hash=record.leaf_hash,
        )


class CheckpointView(BaseModel):
    """The newest signed tree head."""

    origin: str = Field(examples=["broch.example/log"])
    note: str | None = Field(description="C2SP tlog-checkpoint; absent while the log is empty.")


class SignedCheckpoint(BaseModel):
    """A signed tree head, and when it was signed (the note itself carries no time)."""

    size: int = Field(examples=[1204])
    at: datetime
    note: str = Field(description="C2SP tlog-checkpoint.")


class CheckpointPage(BaseModel):
    """Signed tree heads, newest first."""

    items: list[SignedCheckpoint]
    next: int | None = Field(description="Give it as `below` for the next page; absent on the last one.")


class ConsistencyView(BaseModel):
    """The proof that a log continues an older one (RFC 9162, 2.1.4)."""

    old: int
    new: int
    hashes: list[str] = Field(description="Base64.")


class VerifyRequest(BaseModel):
    """What to verify against, besides the log's own checkpoints."""

    model_config = ConfigDict(extra="forbid")

    checkpoint: Annotated[str, Field(max_length=8000)] = Field(
        description="A signed checkpoint that was kept elsewhere: the log has to continue it.",
        examples=["broch.example/log\n7\nAAAA...=\n\n\u2014 broch.example/log BBBB...\n"],
    )


class ErasureRequest(BaseModel):
    """Whose personal texts to erase: of a person, or of one record. Exactly one is given."""

    model_config = ConfigDict(extra="forbid")

    person: Id | None = Field(default=None, description="All records that they made or that are about them.")
    record: Id | None = Field(default=None, description="This record alone.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.person is None) == (self.record is None):
            raise ValueError("give a person or a record")
        return self


class ErasureView(BaseModel):
    """What was erased."""

    erased: int = Field(description="Records whose personal texts are gone; their digests stay in the log.")


class RotationRequest(BaseModel):
    """Which key to renew."""

    model_config = ConfigDict(extra="forbid")

    purpose: Purpose
    stolen: bool = Field(
        default=False,
        description="End the old key at once instead of in an hour, because somebody else may have it.",
    )


class KeyView(BaseModel):
    """A new signing key."""

    purpose: Purpose
    key_id: str = Field(description="SHA-256 of the public key, hexadecimal.")
    not_before: datetime


class ProofView(BaseModel):
    """Everything that shows a record to be in the log. Bytes are base64."""

    leaf: str = Field(description="The bytes that are hashed (RFC 8785 canonical JSON).")
    index: int
    size: int
    hashes: list[str] = Field(description="RFC 6962 audit path.")
    checkpoint: str = Field(description="Signed note of the tree of `size` leaves.")

    @classmethod
    def of(cls, proof: InclusionProof) -> ProofView:
        """Make one from a proof."""
        return cls(
            leaf=base64.b64encode(proof.leaf).decode(),
            index=proof.index,
            size=proof.size,
            hashes=[base64.b64encode(node).decode() for node in proof.hashes],
            checkpoint=proof.checkpoint,
        )


class VerifyView(BaseModel):
    """Whether the stored history is the one that was signed."""

    ok: bool
    size: int = Field(description="Records that the newest checkpoint speaks of.")
    first_bad: str | None = Field(description="Id of the first record that is not as it was signed.")
    reason: str = Field(examples=["All 1204 records are as they were signed."])
    first_bad_number: int | None = Field(description="Its number, also where the record is gone.")
    checkpoints: int = Field(description="Signed tree heads that were checked.")
    erased: int = Field(description="Records whose personal texts were erased, as the log itself records.")

    @classmethod
    def of(cls, result: VerifyResult) -> VerifyView:
        """Make one from a result."""
        return cls(
            ok=result.ok,
            size=result.size,
            first_bad=result.first_bad,
            reason=result.reason,
            first_bad_number=result.first_bad_number,
            checkpoints=result.checkpoints,
            erased=result.erased,
        )
