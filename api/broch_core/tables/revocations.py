"""Revocations, and the freeze of the whole TRE."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Column
from sqlmodel import Field, SQLModel

from broch_core.clock import utc_now
from broch_core.ids import new_id
from broch_core.revocations import RevocationCause
from broch_core.store.types import choice, moment


class Revocation(SQLModel, table=True):
    """A right that ended, and what of it was seen gone when."""

    __tablename__ = "revocation"

    id: str = Field(default_factory=new_id, primary_key=True, max_length=26)
    project_id: str = Field(foreign_key="project.id", max_length=26, index=True)
    person_id: str | None = Field(default=None, foreign_key="person.id", max_length=26)
    """Whose right ended; unset: the whole project's."""
    version_ids: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    """Dataset versions that may no longer be used."""
    cause: RevocationCause = choice(RevocationCause)
    reason: str = Field(max_length=500)
    """As people read it."""
    actor_id: str = Field(max_length=26)
    """Who ended the right: a person, or `system` where its time was over."""
    starts: list[dict[str, Any]] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    """Workspaces that ran or started: `workspace`, `principal`, `door` (digest, may be null), `status` at that moment."""
    begun_at: datetime = moment(default_factory=utc_now)
    rights_at: datetime | None = moment(default=None)
    hub_at: datetime | None = moment(default=None)
    pods_at: datetime | None = moment(default=None)
    tokens_at: datetime | None = moment(default=None)
    volumes_at: datetime | None = moment(default=None)
    done_at: datetime | None = moment(default=None, index=True)
    late_at: datetime | None = moment(default=None)
    """When it was told that it takes too long; it may be done since."""
    freeze_id: str | None = Field(default=None, foreign_key="tre_freeze.id", max_length=26, index=True)
    """The freeze of the whole TRE that it belongs to."""


class TreFreeze(SQLModel, table=True):
    """One freeze of the whole TRE."""

    __tablename__ = "tre_freeze"

    id: str = Field(default_factory=new_id, primary_key=True, max_length=26)
    in_force: bool | None = Field(default=True, unique=True)
    """True, or unset once it is over: two cannot be in force."""
    reason: str = Field(max_length=500)
    begun_by: str = Field(foreign_key="person.id", max_length=26)
    begun_at: datetime = moment(default_factory=utc_now)
    ended_by: str | None = Field(default=None, foreign_key="person.id", max_length=26)
    ended_at: datetime | None = moment(default=None)
    project_ids: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    """Projects that it froze, and that thaw with it."""
