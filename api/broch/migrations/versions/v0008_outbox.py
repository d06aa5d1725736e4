"""An index of what is still to be done: the worker looks every second, and what is done stays for good."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    still_open = sa.text("done_at IS NULL AND stuck_at IS NULL")
    op.create_index("outbox_open", "outbox", ["due_at"], sqlite_where=still_open, postgresql_where=still_open)
