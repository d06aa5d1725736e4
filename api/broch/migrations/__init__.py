"""The schema, one version after another, alike on SQLite and PostgreSQL."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from broch_core.errors import Conflict, Unavailable
from broch_core.store.engine import make_engine

_OLDER = "Run `broch migrate` as the schema's owner; an installation or upgrade by the chart does."
_UNKNOWN = "Upgrade Broch, or restore the database as it was before the upgrade that was rolled back."


def upgrade(url: str) -> None:
    """Bring the schema at `url` to the newest version, in one transaction; newest already is done.

    Args:
        url: SQLAlchemy URL of a role that owns the schema. The app's own role may not change it.

    Raises:
        Conflict: it is of a version that is not known here.
    """
    engine = make_engine(url, owner=True)
    try:
        with engine.begin() as connection:
            config = _config()
            there, known = _version(connection), _known(config)
            if there is not None and there not in known:
                raise _mismatch(there, known)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        engine.dispose()


def require_current(url: str) -> None:
    """Refuse a schema of another version than this code's: it would read some rows wrongly, and say nothing.

    Args:
        url: SQLAlchemy URL; the app's own role will do.

    Raises:
        Conflict: it is older, newer, or not there.
        Unavailable: the database does not answer.
    """
    engine = make_engine(url)
    try:
        with engine.connect() as connection:
            there = _version(connection)
    except OperationalError as error:
        raise Unavailable(f"The database does not answer: {error.orig}") from error
    finally:
        engine.dispose()
    known = _known(_config())
    if there is None:
        raise Conflict("The database has no schema of Broch.", remedy=_OLDER)
    if there != known[0]:
        raise _mismatch(there, known)


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    return config


def _known(config: Config) -> list[str]:
    """Return all versions, newest first."""
    return [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]


def _version(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _mismatch(there: str, known: list[str]) -> Conflict:
    return Conflict(
        f"The database's schema is of version {there}, and this Broch needs {known[0]}.",
        remedy=_OLDER if there in known else _UNKNOWN,
    )
