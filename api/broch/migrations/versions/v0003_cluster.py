"""What a cluster needs: people of an OpenID provider, zones and deliveries into them, profiles and quotas."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from broch_core.store.types import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def _choice(name: str, *values: str) -> sa.Enum:
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=32)


def upgrade() -> None:
    # Plain SQL: SQLite adds constraints with a column only, and a table that others refer to cannot be made anew.
    op.execute("ALTER TABLE person ADD COLUMN issuer VARCHAR(300)")
    op.execute(
        "ALTER TABLE person ADD COLUMN subject VARCHAR(255) "
        "CONSTRAINT person_subject_whole CHECK ((issuer IS NULL) = (subject IS NULL))"
    )
    op.create_index("person_subject_once", "person", ["issuer", "subject"], unique=True)
    op.add_column("user_session", sa.Column("idp_session", sa.String(length=255), nullable=True))
    op.create_index(op.f("ix_user_session_idp_session"), "user_session", ["idp_session"], unique=False)
    op.add_column(
        "workspace", sa.Column("profile", sa.String(length=40), nullable=False, server_default="standard")
    )
    op.execute(
        "ALTER TABLE project ADD COLUMN user_namespaces VARCHAR(32) NOT NULL DEFAULT 'where-possible' "
        "CONSTRAINT user_namespaces CHECK (user_namespaces IN ('where-possible', 'required'))"
    )
    op.add_column("project", sa.Column("quota", sa.JSON(none_as_null=True), nullable=True))
    op.create_table(
        "login_attempt",
        sa.Column("state_hash", sa.String(length=64), nullable=False),
        sa.Column("nonce_hash", sa.String(length=64), nullable=False),
        sa.Column("verifier", sa.String(length=128), nullable=False),
        sa.Column("next", sa.String(length=2000), nullable=False),
        sa.Column("browser_hash", sa.String(length=64), nullable=False),
        sa.Column("confined", sa.Boolean(), nullable=True),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("state_hash"),
    )
    op.create_table(
        "zone",
        sa.Column("project_id", sa.String(length=26), nullable=False),
        sa.Column(
            "phase", _choice("zone_phase", "making", "ready", "failed", "ending", "gone"), nullable=False
        ),
        sa.Column("digest", sa.String(length=16), nullable=False),
        sa.Column("message", sa.String(length=500), nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=False),
        sa.Column("ready_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"]),
        sa.PrimaryKeyConstraint("project_id"),
    )
    op.create_table(
        "zone_delivery",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("project_id", sa.String(length=26), nullable=False),
        sa.Column("op", _choice("delivery_op", "place", "remove"), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("done_at", UtcDateTime(), nullable=True),
        sa.Column("failure", sa.String(length=500), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_zone_delivery_project_id"), "zone_delivery", ["project_id"], unique=False)
    if op.get_bind().dialect.name != "sqlite":
        for table in ("login_attempt", "zone", "zone_delivery"):
            op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO broch_app")
