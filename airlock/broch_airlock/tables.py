"""Tables of the airlock. Composite keys and triggers (migrations) keep what the rules promise, should code err.

- a decision refers to (file, sha256, turn), so it can only be about bytes that were there;
- bytes of a file change only in `draft` and `returned`;
- leaving `in_review` by approval needs two distinct standing approvals of the present sha256 of every file;
- neither the author nor anybody who ever was a member decides;
- one release per request, decisions are never deleted;
- bytes go by retention only once their request has come to rest, one time, and what was deleted stays on record.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, Column, ForeignKeyConstraint, Index, Text, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from broch_core.blobs import BlobClass
from broch_core.clock import utc_now
from broch_core.ids import new_id
from broch_core.lifecycles import AirlockStatus
from broch_core.store.types import choice, moment


class Direction(StrEnum):
    """Which way the files cross."""

    INGRESS = "ingress"
    EGRESS = "egress"


class Opinion(StrEnum):
    """What a reviewer decides on one file."""

    APPROVE = "approve"
    CHANGES_REQUESTED = "changes_requested"
    REJECT = "reject"


class TicketKind(StrEnum):
    """What a ticket opens."""

    VIEW = "view"
    DOWNLOAD = "download"


class AirlockRequest(SQLModel, table=True):
    """Files crossing the boundary together, for one purpose."""

    __tablename__ = "airlock_request"

    id: str = Field(default_factory=new_id, primary_key=True, max_length=26)
    project_id: str = Field(foreign_key="project.id", max_length=26, index=True)
    direction: Direction = choice(Direction)
    status: AirlockStatus = choice(AirlockStatus, default=AirlockStatus.DRAFT, index=True)
    version: int = 1
    turn: int = 1
    """Counts submissions: a returned request that is submitted again is in its next turn."""
    author_id: str = Field(foreign_key="person.id", max_length=26, index=True)
    purpose: str = Field(default="", max_length=300)
    description: str = Field(default="", max_length=4000)
    created_at: datetime = moment(default_factory=utc_now)
    submitted_at: datetime | None = moment(default=None)
    check_deadline: datetime | None = moment(default=None)
    message: str | None = Field(default=None, max_length=500)
    """What the author should know: why it was quarantined, failed, returned."""
    moved_at: datetime = moment(default_factory=utc_now, sa_column_kwargs={"onupdate": utc_now})
    """When the row changed last: retention runs from here."""


class AirlockFile(SQLModel, table=True):
    """One file of a request, with its present bytes."""

    __tablename__ = "airlock_file"
    __table_args__ = (UniqueConstraint("request_id", "name", name="airlock_file_name_once"),)

    id: str = Field(default_factory=new_id, primary_key=True, max_length=26)
    request_id: str = Field(foreign_key="airlock_request.id", max_length=26, index=True)
    name: str = Field(max_length=255)
    size: int = Field(sa_column=Column(BigInteger, nullable=False))
    sha256: str = Field(max_length=64)
    turn: int
    """The turn in which the present bytes came."""


class AirlockBytes(SQLModel, table=True):
    """Bytes that a file had in some turn."""

    __tablename__ = "airlock_bytes"

    file_id: str = Field(primary_key=True, foreign_key="airlock_file.id", max_length=26)
    sha256: str = Field(primary_key=True, max_length=64)
    turn: int = Field(primary_key=True)
    size: int = Field(sa_column=Column(BigInteger, nullable=False))
    added_at: datetime = moment(default_factory=utc_now)


class CheckOutcome(SQLModel, table=True):
    """What one check said of one file's bytes."""

    __tablename__ = "airlock_check"

    id: str = Field(default_factory=new_id, primary_key=True, max_length=26)
    file_id: str = Field(foreign_key="airlock_file.id", max_length=26, index=True)
    sha256: str = Field(max_length=64)
    check: str = Field(max_length=40)
    engine: str = Field(max_length=120)
    verdict: str = Field(max_length=20)
    findings: list[dict[str, Any]] = Field(sa_column=Column(JSON, nullable=False))
    at: datetime = moment(default_factory=utc_now)


class FileDecision(SQLModel, table=True):
    """One reviewer's decision on one file's bytes. Revised ones stay, marked superseded."""

    __tablename__ = "airlock_decision"
    __table_args__ = (
        ForeignKeyConstraint(
            ["file_id", "sha256", "turn"],
            ["airlock_bytes.file_id", "airlock_bytes.sha256", "airlock_bytes.turn"],
            name="airlock_decision_bytes",
        ),
        Index(
            "airlock_decision_one_standing",
            "file_id",
            "sha256",
            "reviewer_id",
            unique=True,
            sqlite_where=text("superseded_at IS NULL"),
            postgresql_where=text("superseded_at IS NULL"),
        ),
    )

    id: str = Field(default_factory=new_id, primary_key=True, max_length=26)
    file_id: str = Field(max_length=26, index=True)
    sha256: str = Field(max_length=64)
    turn: int
    reviewer_id: str = Field(foreign_key="person.id", max_length=26)
    opinion: Opinion = choice(Opinion)
    comment: str = Field(default="", max_length=4000)
    at: datetime = moment(default_factory=utc_now)
    superseded_at: datetime | None = moment(default=None)


class RequestComment(SQLModel, table=True):
    """What author and reviewers say to each other about a request, outside of decisions."""

    __tablename__ = "airlock_comment"

    id: str = Field(default_factory=new_id, primary_key=True, max_length=26)
    request_id: str = Field(foreign_key="airlock_request.id", max_length=26, index=True)
    person_id: str = Field(foreign_key="person.id", max_length=26)
    text: str = Field(max_length=4000)
    turn: int
    at: datetime = moment(default_factory=utc_now)


class Upload(SQLModel, table=True):
    """A resumable upload (tus 1.0) on its way into a draft."""

    __tablename__ = "airlock_upload"

    id: str = Field(default_factory=new_id, primary_key=True, max_length=26)
    request_id: str = Field(foreign_key="airlock_request.id", max_length=26, index=True)
    name: str = Field(max_length=255)
    length: int = Field(sa_column=Column(BigInteger, nullable=False))
    received: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    created_at: datetime = moment(default_factory=utc_now)
    expires_at: datetime = moment()
    file_id: str | None = Field(default=None, max_length=26)
    """The file it became."""


class Release(SQLModel, table=True):
    """The moment approved bytes crossed: one per request, with its attestation."""

    __tablename__ = "airlock_release"

    id: str = Field(default_factory=new_id, primary_key=True, max_length=26)
    request_id: str = Field(foreign_key="airlock_request.id", max_length=26, unique=True)
    project_id: str = Field(foreign_key="project.id", max_length=26, index=True)
    direction: Direction = choice(Direction)
    at: datetime = moment(default_factory=utc_now)
    envelope: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    """DSSE envelope of the in-toto statement."""
    record_id: str = Field(foreign_key="audit_record.id", max_length=26)
    receipt: str | None = Field(default=None, sa_column=Column(Text, nullable=True))
    """The receipt as delivered, made once the record is in a signed checkpoint."""


class ReleasedFile(SQLModel, table=True):
    """One file of a release."""

    __tablename__ = "airlock_released_file"

    release_id: str = Field(primary_key=True, foreign_key="airlock_release.id", max_length=26)
    file_id: str = Field(primary_key=True, foreign_key="airlock_file.id", max_length=26)
    name: str = Field(max_length=255)
    sha256: str = Field(max_length=64)
    size: int = Field(sa_column=Column(BigInteger, nullable=False))


class Recall(SQLModel, table=True):
    """The end of a release: nothing of it is handed out any more."""

    __tablename__ = "airlock_recall"

    release_id: str = Field(primary_key=True, foreign_key="airlock_release.id", max_length=26)
    at: datetime = moment(default_factory=utc_now, index=True)
    record_id: str = Field(foreign_key="audit_record.id", max_length=26)


class Deletion(SQLModel, table=True):
    """The end of a request's bytes by retention: begun, done and recorded, certified."""

    __tablename__ = "airlock_deletion"

    id: str = Field(default_factory=new_id, primary_key=True, max_length=26)
    request_id: str = Field(foreign_key="airlock_request.id", max_length=26, unique=True)
    project_id: str = Field(foreign_key="project.id", max_length=26, index=True)
    blob_class: BlobClass = choice(BlobClass)
    at_rest_since: datetime = moment()
    retention_seconds: int = Field(sa_column=Column(BigInteger, nullable=False))
    """What the setting was when it began."""
    begun_at: datetime = moment(default_factory=utc_now)
    deleted_at: datetime | None = moment(default=None)
    envelope: dict[str, Any] | None = Field(
        default=None, sa_column=Column(JSON(none_as_null=True), nullable=True)
    )
    """DSSE envelope of the in-toto statement."""
    record_id: str | None = Field(default=None, foreign_key="audit_record.id", max_length=26)
    certificate: str | None = Field(default=None, sa_column=Column(Text, nullable=True))
    """The certificate as delivered, made once the record is in a signed checkpoint."""


class DeletedFile(SQLModel, table=True):
    """One file whose bytes a deletion removed."""

    __tablename__ = "airlock_deleted_file"

    deletion_id: str = Field(primary_key=True, foreign_key="airlock_deletion.id", max_length=26)
    file_id: str = Field(primary_key=True, foreign_key="airlock_file.id", max_length=26)
    sha256: str = Field(max_length=64)


class ImportedName(SQLModel, table=True):
    """A name taken in `/imports` of a project, from submission on: never overwritten, never given twice."""

    __tablename__ = "airlock_imported_name"

    project_id: str = Field(primary_key=True, foreign_key="project.id", max_length=26)
    name: str = Field(primary_key=True, max_length=255)
    file_id: str = Field(foreign_key="airlock_file.id", max_length=26, index=True)
    placed_at: datetime | None = moment(default=None)


class Ticket(SQLModel, table=True):
    """Opens one file once, for one session, within a minute. Only its hash is kept."""

    __tablename__ = "airlock_ticket"

    token_hash: str = Field(primary_key=True, max_length=64)
    kind: TicketKind = choice(TicketKind)
    session_id: str = Field(foreign_key="user_session.id", max_length=26)
    person_id: str = Field(foreign_key="person.id", max_length=26)
    file_id: str = Field(foreign_key="airlock_file.id", max_length=26)
    sha256: str = Field(max_length=64)
    turn: int
    expires_at: datetime = moment()
    used_at: datetime | None = moment(default=None)
