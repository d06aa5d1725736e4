"""The airlock, and the role of the app."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from broch_airlock import triggers
from broch_core.store.types import UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "airlock_request",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("project_id", sa.String(length=26), nullable=False),
        sa.Column(
            "direction",
            sa.Enum(
                "ingress", "egress", name="direction", native_enum=False, create_constraint=True, length=32
            ),
            nullable=False,
        ),
        sa.Column(
            "status",
            sa.Enum(
                "draft",
                "submitted",
                "checking",
                "in_review",
                "approved",
                "releasing",
                "released",
                "quarantined",
                "returned",
                "rejected",
                "withdrawn",
                "failed",
                "recalled",
                name="airlock_status",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("author_id", sa.String(length=26), nullable=False),
        sa.Column("purpose", sa.String(length=300), nullable=False),
        sa.Column("description", sa.String(length=4000), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("submitted_at", UtcDateTime(), nullable=True),
        sa.Column("check_deadline", UtcDateTime(), nullable=True),
        sa.Column("message", sa.String(length=500), nullable=True),
        sa.Column("moved_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["author_id"],
            ["person.id"],
        ),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["project.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_airlock_request_author_id"), "airlock_request", ["author_id"], unique=False)
    op.create_index(op.f("ix_airlock_request_project_id"), "airlock_request", ["project_id"], unique=False)
    op.create_index(op.f("ix_airlock_request_status"), "airlock_request", ["status"], unique=False)
    op.create_table(
        "airlock_comment",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("request_id", sa.String(length=26), nullable=False),
        sa.Column("person_id", sa.String(length=26), nullable=False),
        sa.Column("text", sa.String(length=4000), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["person_id"],
            ["person.id"],
        ),
        sa.ForeignKeyConstraint(
            ["request_id"],
            ["airlock_request.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_airlock_comment_request_id"), "airlock_comment", ["request_id"], unique=False)
    op.create_table(
        "airlock_file",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("request_id", sa.String(length=26), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["request_id"],
            ["airlock_request.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("request_id", "name", name="airlock_file_name_once"),
    )
    op.create_index(op.f("ix_airlock_file_request_id"), "airlock_file", ["request_id"], unique=False)
    op.create_table(
        "airlock_release",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("request_id", sa.String(length=26), nullable=False),
        sa.Column("project_id", sa.String(length=26), nullable=False),
        sa.Column(
            "direction",
            sa.Enum(
                "ingress", "egress", name="direction", native_enum=False, create_constraint=True, length=32
            ),
            nullable=False,
        ),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("envelope", sa.JSON(), nullable=False),
        sa.Column("record_id", sa.String(length=26), nullable=False),
        sa.Column("receipt", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["project.id"],
        ),
        sa.ForeignKeyConstraint(
            ["record_id"],
            ["audit_record.id"],
        ),
        sa.ForeignKeyConstraint(
            ["request_id"],
            ["airlock_request.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("request_id"),
    )
    op.create_index(op.f("ix_airlock_release_project_id"), "airlock_release", ["project_id"], unique=False)
    op.create_table(
        "airlock_upload",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("request_id", sa.String(length=26), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("length", sa.BigInteger(), nullable=False),
        sa.Column("received", sa.BigInteger(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("file_id", sa.String(length=26), nullable=True),
        sa.ForeignKeyConstraint(
            ["request_id"],
            ["airlock_request.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_airlock_upload_request_id"), "airlock_upload", ["request_id"], unique=False)
    op.create_table(
        "airlock_bytes",
        sa.Column("file_id", sa.String(length=26), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("added_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["file_id"],
            ["airlock_file.id"],
        ),
        sa.PrimaryKeyConstraint("file_id", "sha256", "turn"),
    )
    op.create_table(
        "airlock_check",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("file_id", sa.String(length=26), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("check", sa.String(length=40), nullable=False),
        sa.Column("engine", sa.String(length=120), nullable=False),
        sa.Column("verdict", sa.String(length=20), nullable=False),
        sa.Column("findings", sa.JSON(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["file_id"],
            ["airlock_file.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_airlock_check_file_id"), "airlock_check", ["file_id"], unique=False)
    op.create_table(
        "airlock_imported_name",
        sa.Column("project_id", sa.String(length=26), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("file_id", sa.String(length=26), nullable=False),
        sa.Column("placed_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["file_id"],
            ["airlock_file.id"],
        ),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["project.id"],
        ),
        sa.PrimaryKeyConstraint("project_id", "name"),
    )
    op.create_index(
        op.f("ix_airlock_imported_name_file_id"), "airlock_imported_name", ["file_id"], unique=False
    )
    op.create_table(
        "airlock_released_file",
        sa.Column("release_id", sa.String(length=26), nullable=False),
        sa.Column("file_id", sa.String(length=26), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["file_id"],
            ["airlock_file.id"],
        ),
        sa.ForeignKeyConstraint(
            ["release_id"],
            ["airlock_release.id"],
        ),
        sa.PrimaryKeyConstraint("release_id", "file_id"),
    )
    op.create_table(
        "airlock_deletion",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("request_id", sa.String(length=26), nullable=False),
        sa.Column("project_id", sa.String(length=26), nullable=False),
        sa.Column(
            "blob_class",
            sa.Enum(
                "draft",
                "quarantined",
                "held",
                "released",
                name="blob_class",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("at_rest_since", UtcDateTime(), nullable=False),
        sa.Column("retention_seconds", sa.BigInteger(), nullable=False),
        sa.Column("begun_at", UtcDateTime(), nullable=False),
        sa.Column("deleted_at", UtcDateTime(), nullable=True),
        sa.Column("envelope", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("record_id", sa.String(length=26), nullable=True),
        sa.Column("certificate", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["project.id"],
        ),
        sa.ForeignKeyConstraint(
            ["record_id"],
            ["audit_record.id"],
        ),
        sa.ForeignKeyConstraint(
            ["request_id"],
            ["airlock_request.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("request_id"),
    )
    op.create_index(op.f("ix_airlock_deletion_project_id"), "airlock_deletion", ["project_id"], unique=False)
    op.create_table(
        "airlock_deleted_file",
        sa.Column("deletion_id", sa.String(length=26), nullable=False),
        sa.Column("file_id", sa.String(length=26), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["deletion_id"],
            ["airlock_deletion.id"],
        ),
        sa.ForeignKeyConstraint(
            ["file_id"],
            ["airlock_file.id"],
        ),
        sa.PrimaryKeyConstraint("deletion_id", "file_id"),
    )
    op.create_table(
        "airlock_recall",
        sa.Column("release_id", sa.String(length=26), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("record_id", sa.String(length=26), nullable=False),
        sa.ForeignKeyConstraint(
            ["record_id"],
            ["audit_record.id"],
        ),
        sa.ForeignKeyConstraint(
            ["release_id"],
            ["airlock_release.id"],
        ),
        sa.PrimaryKeyConstraint("release_id"),
    )
    op.create_index(op.f("ix_airlock_recall_at"), "airlock_recall", ["at"], unique=False)
    op.create_table(
        "airlock_ticket",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "view", "download", name="ticket_kind", native_enum=False, create_constraint=True, length=32
            ),
            nullable=False,
        ),
        sa.Column("session_id", sa.String(length=26), nullable=False),
        sa.Column("person_id", sa.String(length=26), nullable=False),
        sa.Column("file_id", sa.String(length=26), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("used_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["file_id"],
            ["airlock_file.id"],
        ),
        sa.ForeignKeyConstraint(
            ["person_id"],
            ["person.id"],
        ),
        sa.ForeignKeyConstraint(
            ["session_id"],
            ["user_session.id"],
        ),
        sa.PrimaryKeyConstraint("token_hash"),
    )
    op.create_table(
        "airlock_decision",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("file_id", sa.String(length=26), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("reviewer_id", sa.String(length=26), nullable=False),
        sa.Column(
            "opinion",
            sa.Enum(
                "approve",
                "changes_requested",
                "reject",
                name="opinion",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("comment", sa.String(length=4000), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("superseded_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["file_id", "sha256", "turn"],
            ["airlock_bytes.file_id", "airlock_bytes.sha256", "airlock_bytes.turn"],
            name="airlock_decision_bytes",
        ),
        sa.ForeignKeyConstraint(
            ["reviewer_id"],
            ["person.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "airlock_decision_one_standing",
        "airlock_decision",
        ["file_id", "sha256", "reviewer_id"],
        unique=True,
        sqlite_where=sa.text("superseded_at IS NULL"),
        postgresql_where=sa.text("superseded_at IS NULL"),
    )
    op.create_index(op.f("ix_airlock_decision_file_id"), "airlock_decision", ["file_id"], unique=False)
    sqlite = op.get_bind().dialect.name == "sqlite"
    for statement in triggers.sqlite_triggers() if sqlite else triggers.postgresql_triggers():
        op.execute(sa.text(statement))
    if not sqlite:
        _app_role()


def _app_role() -> None:
    """Let the app's role use the tables and change none of them. SQLite has no roles: its connections refuse."""
    if op.get_bind().execute(sa.text("SELECT 1 FROM pg_roles WHERE rolname = 'broch_app'")).first() is None:
        op.execute("CREATE ROLE broch_app NOLOGIN")
    op.execute("GRANT USAGE ON SCHEMA public TO broch_app")
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO broch_app")
    op.execute("REVOKE INSERT, UPDATE, DELETE ON alembic_version FROM broch_app")
    op.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    database = op.get_bind().execute(sa.text("SELECT quote_ident(current_database())")).scalar_one()
    op.execute(f"REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC")
