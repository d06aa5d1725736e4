"""What downloads and the oversight of releases take and answer."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from broch_airlock.tables import Direction
from broch_core.ids import Id
from broch_core.lifecycles import AirlockStatus


class TicketView(BaseModel):
    """A ticket: opens one file once. It goes into a form field or a header, never into an address."""

    ticket: str = Field(examples=["mB3kXc0sJ9wqz1nT2yVd8uR5pL7eA4fH6gK0iO3xQ1s"], repr=False)
    expires_at: datetime
    target: str = Field(
        examples=["http://broch.localhost:8000/airlock/download"], description="Where to post it as `ticket`."
    )


class RecallNew(BaseModel):
    """Why a release is taken back. Members and reviewers read it."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    reason: str = Field(min_length=1, max_length=400, examples=["Table 2 shows single patients."])


class ReleaseEntry(BaseModel):
    """A release as a platform admin sees it: no names, no content, no decisions."""

    id: Id
    project: str = Field(examples=["Tumour texture"])
    direction: Direction
    status: AirlockStatus
    files: int = Field(examples=[2])
    release: Id | None = Field(description="Id in the receipt and in the list of recalls.")
    released_at: datetime | None
    recalled_at: datetime | None
    message: str | None = Field(description="Why it failed or was recalled.")
    may_retry: bool
    may_recall: bool
