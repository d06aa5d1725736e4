"""What the API says of a freeze of the whole TRE, and takes about it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from broch_core.web.texts import Line

Reason = Annotated[Line, Field(max_length=300, examples=["An intrusion is being looked into."])]


class FreezeBegin(BaseModel):
    """Why everything stops."""

    model_config = ConfigDict(extra="forbid")

    reason: Annotated[
        Reason, Field(description="Shown to everybody who is signed in, and kept in the audit log.")
    ]


class FreezeView(BaseModel):
    """Whether the whole TRE is frozen."""

    frozen: bool
    since: datetime | None = Field(description="When the freeze that is in force began.")
    reason: str | None
    projects: int = Field(description="Projects that it froze and that will thaw with it.")
    waiting: int = Field(description="Of these, those whose end was not seen in full yet.")
    late: int = Field(description="Of these, those that take longer than 60 s.")
    seconds: float | None = Field(
        description="How long it took until all of it was seen gone; null: not yet.", examples=[14.2]
    )


NOT_FROZEN = FreezeView(frozen=False, since=None, reason=None, projects=0, waiting=0, late=0, seconds=None)
