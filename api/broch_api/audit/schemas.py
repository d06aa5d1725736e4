"""What the API says of the audit log."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel, Field

from broch_core.audit.log import InclusionProof
from broch_core.audit.tables import AuditPersonal, AuditRecord
from broch_core.audit.verification import VerifyResult
from broch_core.ids import Id
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

    @classmethod
    def of(cls, result: VerifyResult) -> VerifyView:
        """Make one from a result."""
        return cls(ok=result.ok, size=result.size, first_bad=result.first_bad, reason=result.reason)
