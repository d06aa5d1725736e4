"""What zones may fetch from outside, who allowed it, and what became of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from broch_core.store.types import UtcDateTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_OPEN = "status IN ('proposed', 'allowed')"


def _choice(name: str, *values: str) -> sa.Enum:
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=32)


def _text(name: str, length: int, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(length=length), nullable=nullable)


def _status() -> sa.Column[str]:
    return sa.Column(
        "status",
        _choice("allowance_status", "proposed", "allowed", "declined", "removed"),
        nullable=False,
    )


def _asked() -> list[sa.schema.SchemaItem]:
    """Return what every entry says of the people who asked, decided and removed."""
    return [
        _text("why", 1000),
        _text("asked_by", 26),
        sa.Column("asked_at", UtcDateTime(), nullable=False),
        _text("decided_by", 26, nullable=True),
        sa.Column("decided_at", UtcDateTime(), nullable=True),
        _text("reason", 1000),
        _text("removed_by", 26, nullable=True),
        sa.Column("removed_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"]),
        sa.ForeignKeyConstraint(["asked_by"], ["person.id"]),
        sa.ForeignKeyConstraint(["decided_by"], ["person.id"]),
        sa.ForeignKeyConstraint(["removed_by"], ["person.id"]),
        sa.PrimaryKeyConstraint("id"),
    ]


def upgrade() -> None:
    op.execute(
        "ALTER TABLE project ADD COLUMN package_bytes_a_day BIGINT "
        "CONSTRAINT project_package_bytes CHECK (package_bytes_a_day > 0)"
    )
    op.create_table(
        "listed_package",
        _text("id", 26),
        _text("project_id", 26, nullable=True),
        _text("ecosystem", 16),
        _text("channel", 64),
        _text("name", 302),
        _text("release", 100),
        _text("licence", 200),
        sa.Column("files", sa.JSON(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("pinned", sa.JSON(), nullable=False),
        _status(),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("lookup", _choice("lookup", "waiting", "done", "failed"), nullable=False),
        _text("problem", 500, nullable=True),
        _text("lock_sha256", 64, nullable=True),
        _text("lock_name", 255, nullable=True),
        _text("allow_by", 26, nullable=True),
        _text("licence_reason", 1000),
        *_asked(),
        sa.ForeignKeyConstraint(["allow_by"], ["person.id"]),
        sa.CheckConstraint(
            "ecosystem IN ('pypi', 'cran', 'conda', 'npm')", name="listed_package_ecosystem_known"
        ),
        sa.CheckConstraint("(ecosystem = 'conda') = (channel <> '')", name="listed_package_channel_condas"),
        sa.CheckConstraint("status <> 'allowed' OR lookup = 'done'", name="listed_package_allowed_whole"),
        sa.CheckConstraint(
            "status = 'proposed' OR decided_at IS NOT NULL", name="listed_package_decided_by_somebody"
        ),
        sa.CheckConstraint(
            "(status = 'removed') = (removed_at IS NOT NULL)", name="listed_package_removed_by_somebody"
        ),
    )
    for column in ("project_id", "status", "lock_sha256"):
        op.create_index(op.f(f"ix_listed_package_{column}"), "listed_package", [column], unique=False)
    _once("listed_package_once", "listed_package", ["project_id", *_VERSION], _OPEN)
    _once("listed_package_once_for_all", "listed_package", _VERSION, f"project_id IS NULL AND {_OPEN}")
    op.create_table(
        "nominated_resource",
        _text("id", 26),
        _text("project_id", 26),
        _text("slug", 63),
        _text("url", 1300),
        _text("sha256", 64, nullable=True),
        sa.Column("largest", sa.BigInteger(), nullable=False),
        _status(),
        sa.Column("version", sa.Integer(), nullable=False),
        *_asked(),
        sa.CheckConstraint("url LIKE 'https://%'", name="nominated_resource_https"),
        sa.CheckConstraint("largest > 0", name="nominated_resource_bounded"),
        sa.CheckConstraint(
            "status = 'proposed' OR decided_at IS NOT NULL", name="nominated_resource_decided_by_somebody"
        ),
        sa.CheckConstraint(
            "(status = 'removed') = (removed_at IS NOT NULL)", name="nominated_resource_removed_by_somebody"
        ),
    )
    op.create_index(
        op.f("ix_nominated_resource_project_id"), "nominated_resource", ["project_id"], unique=False
    )
    _once("nominated_resource_once", "nominated_resource", ["project_id", "slug"], _OPEN)
    op.create_table(
        "package_use",
        _text("id", 26),
        _text("project_id", 26),
        sa.Column("use", _choice("use", "fetched", "refused"), nullable=False),
        _text("ecosystem", 16),
        _text("name", 255),
        _text("release", 100),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("first_at", UtcDateTime(), nullable=False),
        sa.Column("last_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.CheckConstraint("count > 0", name="package_use_counted"),
    )
    op.create_index(op.f("ix_package_use_last_at"), "package_use", ["last_at"], unique=False)
    op.create_index(
        "package_use_once", "package_use", ["project_id", "use", "ecosystem", "name", "release"], unique=True
    )
    if op.get_bind().dialect.name != "sqlite":
        for table in ("listed_package", "nominated_resource"):  # history: never deleted
            op.execute(f"GRANT SELECT, INSERT, UPDATE ON {table} TO broch_app")
        op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON package_use TO broch_app")


_VERSION = ["ecosystem", "channel", "name", "release"]


def _once(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(
        name, table, columns, unique=True, sqlite_where=sa.text(where), postgresql_where=sa.text(where)
    )
