"""What the API says of sessions."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

from broch_api.people.schemas import PersonRef
from broch_core.actors import PlatformRole, ProjectRole
from broch_core.ids import Id


class SessionStarted(BaseModel):
    """A new session. The token is shown once; send it as `Authorization: Bearer`."""

    token: str = Field(examples=["kS0l...43 characters"])
    expires_at: datetime


class SessionView(BaseModel):
    """Who you are now, and what you may."""

    id: Id
    person: PersonRef
    roles: list[PlatformRole]
    memberships: dict[str, ProjectRole] = Field(
        description="Present memberships: project id to role.",
        examples=[{"01JD3W7Z8Q5T9XK2M4N6P8R0SV": "lead"}],
    )
    confined: bool | None = Field(
        description="Whether your browser was seen to enforce `Connection-Allowlist` at sign-in; null when not seen."
    )
    expires_at: datetime
