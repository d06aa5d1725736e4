"""The workspace that members of a project share, and who is in it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from broch_core.store.types import UtcDateTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "project", sa.Column("shared_workspace", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    sqlite = op.get_bind().dialect.name == "sqlite"
    if sqlite:
        _allow_nobody_on_sqlite()
    else:
        op.alter_column("workspace", "person_id", existing_type=sa.String(length=26), nullable=True)
    _once("workspace_shared_once", "workspace", ["project_id"], "person_id IS NULL")
    op.create_table(
        "entrant",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("workspace_id", sa.String(length=26), nullable=False),
        sa.Column("person_id", sa.String(length=26), nullable=False),
        sa.Column("session_id", sa.String(length=26), nullable=False),
        sa.Column("principal", sa.String(length=40), nullable=False),
        sa.Column("entered_at", UtcDateTime(), nullable=False),
        sa.Column("left_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspace.id"]),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"]),
        sa.ForeignKeyConstraint(["session_id"], ["user_session.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("principal"),
    )
    for column in ("workspace_id", "person_id", "session_id"):
        op.create_index(op.f(f"ix_entrant_{column}"), "entrant", [column], unique=False)
    _once("entrant_once", "entrant", ["workspace_id", "session_id"], "left_at IS NULL")
    if not sqlite:
        op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON entrant TO broch_app")


def _once(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(
        name, table, columns, unique=True, sqlite_where=sa.text(where), postgresql_where=sa.text(where)
    )


def _allow_nobody_on_sqlite() -> None:
    """Make the table anew, as its own text says but for one word: nothing refers to it yet."""
    asked = "SELECT type, sql FROM sqlite_master WHERE tbl_name = 'workspace' AND sql IS NOT NULL"
    found = [(str(kind), str(text)) for kind, text in op.get_bind().exec_driver_sql(asked)]
    (table,) = [text for kind, text in found if kind == "table"]
    others = [text for kind, text in found if kind != "table"]
    made = table.replace("person_id VARCHAR(26) NOT NULL", "person_id VARCHAR(26)", 1)
    if made == table:
        raise RuntimeError("the table of workspaces is not as migrations made it")
    op.execute("ALTER TABLE workspace RENAME TO workspace_before")
    for kind, text in found:
        if kind == "index":
            op.execute(f"DROP INDEX {text.split(' ON ')[0].split()[-1]}")
    op.execute(made)
    columns = ", ".join(
        f'"{row[1]}"' for row in op.get_bind().exec_driver_sql("PRAGMA table_info(workspace_before)")
    )
    op.execute(f"INSERT INTO workspace ({columns}) SELECT {columns} FROM workspace_before")  # noqa: S608 - our own columns
    op.execute("DROP TABLE workspace_before")
    for text in others:
        op.execute(text)
