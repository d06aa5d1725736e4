"""`broch migrate`: the schema of a database server, changed by the role that owns it; a hook of the chart runs this."""

from __future__ import annotations

import os

import typer

from broch import migrations
from broch.cli.failure import Failure
from broch_core.errors import Conflict

VARIABLE = "BROCH_DATABASE_OWNER_URL"


def migrate() -> None:
    """Bring the schema of the database at BROCH_DATABASE_OWNER_URL to this version's; newest already is done.

    Example:  BROCH_DATABASE_OWNER_URL=postgresql+psycopg://owner@db/broch broch migrate
    """
    url = os.environ.get(VARIABLE)
    if not url:
        raise Failure(f"{VARIABLE} is not set.", "Name the database and the role that owns its schema there.")
    if url.startswith("sqlite"):
        raise Failure("SQLite is migrated by `broch up`.", "This is for a database server.")
    try:
        migrations.upgrade(url)
    except Conflict as error:
        raise Failure(error.detail, error.remedy) from error
    typer.echo("The schema is up to date.")
