"""The schema, one version after another, alike on SQLite and PostgreSQL."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config

from broch_core.store.engine import make_engine


def upgrade(url: str) -> None:
    """Bring the schema at `url` to the newest version, in one transaction; newest already is done.

    Args:
        url: SQLAlchemy URL of a role that owns the schema. The app's own role may not change it.
    """
    engine = make_engine(url, owner=True)
    try:
        with engine.begin() as connection:
            config = Config()
            config.set_main_option("script_location", str(Path(__file__).parent))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        engine.dispose()
