"""The first start is whole or it never was: one that died half-way is set aside and made anew.

Web listens only after the first start is done, so what a broken one left holds nobody's work.
"""

from __future__ import annotations

import os
from pathlib import Path

import structlog

from broch_core.clock import utc_now
from broch_core.errors import Conflict
from broch_core.settings import Settings

MARKER = "first-start"
"""Lies in the folder of state from before the schema is made until the demo is planted."""
MADE_ANEW = ("broch.sqlite", "broch.sqlite-wal", "broch.sqlite-shm", "blobs", "datasets", "zones")
"""What a first start makes, the database last: without it nothing here is in use."""

log = structlog.get_logger()


def set_aside_broken(settings: Settings) -> Path | None:
    """Move what a broken first start left out of the way, and note that one begins when there is no database yet.

    Call it before the database is opened.

    Returns:
        Where it lies now, or None when there was nothing of the kind.

    Raises:
        Conflict: it lies in a database server, where nothing can be set aside.
    """
    marker = settings.folder / MARKER
    if not marker.exists():
        if settings.database_url is None and not (settings.folder / "broch.sqlite").exists():
            begin(settings)
        return None
    if settings.database_url is not None:
        raise Conflict(
            "The first start did not finish, and its database is on a server.",
            remedy=f"Empty that database, then remove {marker}, datasets, zones and blobs beside it.",
        )
    aside = settings.folder / f"unfinished-{utc_now():%Y%m%dT%H%M%S%f}"
    aside.mkdir(mode=0o700)
    for name in reversed(MADE_ANEW):
        path = settings.folder / name
        if path.exists():
            path.rename(aside / name)
    log.warning("first_start.set_aside", folder=str(aside))
    return aside


def begin(settings: Settings) -> None:
    """Note, on the disk, that a first start is under way."""
    marker = settings.folder / MARKER
    marker.touch(mode=0o600)
    _sync(settings.folder)


def done(settings: Settings) -> None:
    """Note that it is done: from now on everything here is kept."""
    (settings.folder / MARKER).unlink(missing_ok=True)
    _sync(settings.folder)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
