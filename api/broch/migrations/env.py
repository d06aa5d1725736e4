"""What Alembic runs. The connection comes from `upgrade()`, so that the URL stands nowhere in a file."""

from __future__ import annotations

from alembic import context
from sqlmodel import SQLModel

import broch.schema

target_metadata = broch.schema.metadata()
assert target_metadata is SQLModel.metadata  # noqa: S101 - one metadata for every package

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=target_metadata,
    compare_type=True,
    transactional_ddl=True,
)
context.run_migrations()
