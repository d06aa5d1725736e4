"""Workspaces: one person's running notebook server in one zone, or the one that a project's members share."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, BigInteger, Column, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from broch_core.clock import utc_now
from broch_core.ids import new_id, new_principal
from broch_core.lifecycles import WorkspaceStatus
from broch_core.store.types import choice, moment


class Workspace(SQLModel, table=True):
    """The workspace of one person in one project, or of the project; it starts and stops many times."""

    __tablename__ = "workspace"
    __table_args__ = (
        UniqueConstraint("project_id", "person_id", name="workspace_once"),
        Index(
            "workspace_shared_once",
            "project_id",
            unique=True,
            sqlite_where=text("person_id IS NULL"),
            postgresql_where=text("person_id IS NULL"),
        ),
    )

    id: str = Field(default_factory=new_id, primary_key=True, max_length=26)
    project_id: str = Field(foreign_key="project.id", max_length=26, index=True)
    person_id: str | None = Field(default=None, foreign_key="person.id", max_length=26, index=True)
    """Whose it is; unset: the shared workspace of the project."""
    principal: str = Field(default_factory=new_principal, max_length=40, unique=True)
    status: WorkspaceStatus = choice(WorkspaceStatus, default=WorkspaceStatus.STOPPED)
    version: int = 1
    created_at: datetime = moment(default_factory=utc_now)
    opened_at: datetime | None = moment(default=None)
    deadline_at: datetime | None = moment(default=None)
    door_token_hash: str | None = Field(default=None, max_length=64, unique=True)
    """Token of the present start for the airlock door."""
    profile: str = Field(default="standard", max_length=40)
    """Name of the profile (cores, memory, GPUs, image) that the present or last start was asked for."""
    message: str | None = Field(default=None, max_length=500)
    """Why it failed or stopped, for the researcher."""
    grant_ids: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    """Grants whose data the present start has mounted: it stops when one of them ends."""
    browser_bytes: int = Field(default=0, sa_column=Column(BigInteger, nullable=False, default=0))
    """Bytes sent to the browser so far, as the proxy counted them."""
    start_bytes: int = Field(default=0, sa_column=Column(BigInteger, nullable=False, default=0))
    """Those of them that the present or last start sent."""
    alarm_at: datetime | None = moment(default=None)
    """When this start passed the alarm limit."""
    idle_stop_at: datetime | None = moment(default=None)
    """When it will be stopped because it is idle, once it is warned; what goes on in it before clears that."""


class Entrant(SQLModel, table=True):
    """One session's stay in one start of a shared workspace, with a user of the hub that is for it alone."""

    __tablename__ = "entrant"
    __table_args__ = (
        Index(
            "entrant_once",
            "workspace_id",
            "session_id",
            unique=True,
            sqlite_where=text("left_at IS NULL"),
            postgresql_where=text("left_at IS NULL"),
        ),
    )

    id: str = Field(default_factory=new_id, primary_key=True, max_length=26)
    workspace_id: str = Field(foreign_key="workspace.id", max_length=26, index=True)
    person_id: str = Field(foreign_key="person.id", max_length=26, index=True)
    session_id: str = Field(foreign_key="user_session.id", max_length=26, index=True)
    principal: str = Field(default_factory=new_principal, max_length=40, unique=True)
    """The hub's user of this stay; it is never used again."""
    entered_at: datetime = moment(default_factory=utc_now)
    left_at: datetime | None = moment(default=None)


class LoginCode(SQLModel, table=True):
    """An authorisation code of the hub's sign-in (RFC 6749, RFC 7636): hashed, bound, redeemed once."""

    __tablename__ = "login_code"

    code_hash: str = Field(primary_key=True, max_length=64)
    session_id: str = Field(foreign_key="user_session.id", max_length=26)
    principal: str = Field(max_length=40)
    client_id: str = Field(max_length=40)
    redirect_uri: str = Field(max_length=300)
    challenge: str = Field(max_length=128)
    expires_at: datetime = moment()
    redeemed_at: datetime | None = moment(default=None)
    access_hash: str | None = Field(default=None, max_length=64, unique=True)
    """Hash of the access token that was given for the code; good for one call of userinfo."""
