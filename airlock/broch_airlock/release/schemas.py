"""What downloads take and answer."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field


class TicketView(BaseModel):
    """A ticket: opens one file once. It goes into a form field or a header, never into an address."""

    ticket: str = Field(examples=["mB3kXc0sJ9wqz1nT2yVd8uR5pL7eA4fH6gK0iO3xQ1s"], repr=False)
    expires_at: datetime
    target: str = Field(
        examples=["http://broch.localhost:8000/airlock/download"], description="Where to post it as `ticket`."
    )
