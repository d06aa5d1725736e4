"""Revocations step by step, and the freeze of the whole TRE."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from broch_core.store.types import UtcDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_CAUSES = (
    "member-removed",
    "member-expired",
    "grant-revoked",
    "grant-expired",
    "data-suspended",
    "project-frozen",
    "project-ended",
    "project-expired",
    "tre-frozen",
)
_MOMENTS = ("rights_at", "hub_at", "pods_at", "tokens_at", "volumes_at", "done_at", "late_at")


def upgrade() -> None:
    op.create_table(
        "tre_freeze",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("in_force", sa.Boolean(), nullable=True),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.Column("begun_by", sa.String(length=26), nullable=False),
        sa.Column("begun_at", UtcDateTime(), nullable=False),
        sa.Column("ended_by", sa.String(length=26), nullable=True),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column("project_ids", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["begun_by"], ["person.id"]),
        sa.ForeignKeyConstraint(["ended_by"], ["person.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("in_force"),
    )
    cause = sa.Enum(*_CAUSES, name="revocation_cause", native_enum=False, create_constraint=True, length=32)
    op.create_table(
        "revocation",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("project_id", sa.String(length=26), nullable=False),
        sa.Column("person_id", sa.String(length=26), nullable=True),
        sa.Column("version_ids", sa.JSON(), nullable=False),
        sa.Column("cause", cause, nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.Column("actor_id", sa.String(length=26), nullable=False),
        sa.Column("starts", sa.JSON(), nullable=False),
        sa.Column("begun_at", UtcDateTime(), nullable=False),
        *(sa.Column(name, UtcDateTime(), nullable=True) for name in _MOMENTS),
        sa.Column("freeze_id", sa.String(length=26), nullable=True),
        sa.ForeignKeyConstraint(["freeze_id"], ["tre_freeze.id"]),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"]),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    for column in ("project_id", "done_at", "freeze_id"):
        op.create_index(op.f(f"ix_revocation_{column}"), "revocation", [column], unique=False)
    if op.get_bind().dialect.name != "sqlite":
        for table in ("tre_freeze", "revocation"):
            op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO broch_app")
