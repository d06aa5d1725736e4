"""Workspaces that are idle: how long a project lets them be, and when one that is warned will be stopped."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from broch_core.store.types import UtcDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("workspace", sa.Column("idle_stop_at", UtcDateTime(), nullable=True))
    # Plain SQL: SQLite adds constraints with a column only, and a table that others refer to cannot be made anew.
    op.execute(
        "ALTER TABLE project ADD COLUMN idle_minutes INTEGER CONSTRAINT idle_minutes_sane CHECK (idle_minutes >= 0)"
    )
