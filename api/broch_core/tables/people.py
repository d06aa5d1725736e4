"""People, their platform roles, sessions."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, Index
from sqlmodel import Field, SQLModel

from broch_core.actors import PlatformRole
from broch_core.clock import utc_now
from broch_core.ids import new_id
from broch_core.store.types import choice, moment


class Person(SQLModel, table=True):
    """Somebody who may sign in."""

    __tablename__ = "person"
    __table_args__ = (
        Index("person_subject_once", "issuer", "subject", unique=True),
        CheckConstraint("(issuer IS NULL) = (subject IS NULL)", name="person_subject_whole"),
    )

    id: str = Field(default_factory=new_id, primary_key=True, max_length=26)
    handle: str = Field(max_length=40, unique=True)
    display_name: str = Field(max_length=120)
    about: str = Field(default="", max_length=300)
    created_at: datetime = moment(default_factory=utc_now)
    disabled_at: datetime | None = moment(default=None)
    issuer: str | None = Field(default=None, max_length=300)
    """OpenID provider that vouches for the person, with `subject` (OpenID Connect Core, 5.7); both or neither."""
    subject: str | None = Field(default=None, max_length=255)


class PersonRole(SQLModel, table=True):
    """A platform role of a person."""

    __tablename__ = "person_role"

    person_id: str = Field(primary_key=True, foreign_key="person.id", max_length=26)
    role: PlatformRole = choice(PlatformRole, primary_key=True)


class UserSession(SQLModel, table=True):
    """One sign-in, of a browser or of the command line. Only the hash of its token is kept."""

    __tablename__ = "user_session"

    id: str = Field(default_factory=new_id, primary_key=True, max_length=26)
    token_hash: str = Field(max_length=64, unique=True)
    person_id: str = Field(foreign_key="person.id", max_length=26, index=True)
    kind: str = Field(default="browser", max_length=10)
    started_at: datetime = moment(default_factory=utc_now)
    confined: bool | None = None
    """Whether the browser was seen to enforce `Connection-Allowlist` at sign-in; nothing when that could not be told."""
    expires_at: datetime = moment()
    ended_at: datetime | None = moment(default=None)
    idp_session: str | None = Field(default=None, max_length=255, index=True)
    """The provider's own session (`sid`), which ends ours with it (OpenID Connect Back-Channel Logout 1.0)."""


class LoginAttempt(SQLModel, table=True):
    """A sign-in that has gone to the OpenID provider and not come back: bound to one browser, used once."""

    __tablename__ = "login_attempt"

    state_hash: str = Field(primary_key=True, max_length=64)
    nonce_hash: str = Field(max_length=64)
    verifier: str = Field(max_length=128)
    """PKCE code verifier (RFC 7636); worth nothing without the code."""
    next: str = Field(default="/", max_length=2000)
    browser_hash: str = Field(max_length=64)
    """Hash of the cookie of the browser that began."""
    confined: bool | None = None
    expires_at: datetime = moment()
