"""The table of intents."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Column, Index, text
from sqlmodel import Field, SQLModel

from broch_core.clock import utc_now
from broch_core.ids import new_id
from broch_core.store.types import moment

STILL_OPEN = text("done_at IS NULL AND stuck_at IS NULL")
"""What is done stays, by its key: looked for every second, what is open must be found without it."""


class OutboxEntry(SQLModel, table=True):
    """One side effect that must happen at least once."""

    __tablename__ = "outbox"
    __table_args__ = (Index("outbox_open", "due_at", sqlite_where=STILL_OPEN, postgresql_where=STILL_OPEN),)

    id: str = Field(default_factory=new_id, primary_key=True, max_length=26)
    kind: str = Field(max_length=40)
    key: str = Field(max_length=200, unique=True)
    """Names the effect: the same key is never entered twice."""
    payload: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    entered_at: datetime = moment(default_factory=utc_now)
    due_at: datetime = moment(default_factory=utc_now, index=True)
    attempts: int = 0
    done_at: datetime | None = moment(default=None)
    stuck_at: datetime | None = moment(default=None)
    """Set when the worker gave up; visible on `/readyz` and the admin page."""
    error: str | None = Field(default=None, max_length=500)
