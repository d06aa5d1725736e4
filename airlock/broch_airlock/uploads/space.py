"""Room on the disk of the airlock: some is left free, whatever comes in."""

from __future__ import annotations

import shutil
from pathlib import Path

from broch_airlock.uploads.errors import NoSpace

SPARE_BYTES = 256 << 20
"""Left free on the disk, bytes. 256 MiB: the database beside the blobs must still be able to commit."""


def require_space(folder: Path, size: int = 0) -> None:
    """Raise unless the disk of a folder holds `size` more bytes and the spare ones.

    Asked before bytes come and again before each piece is written: how many there will be is not always known, and others
    write at the same time.

    Raises:
        NoSpace: it does not.
    """
    if shutil.disk_usage(folder).free < size + SPARE_BYTES:
        raise NoSpace(
            "The disk of the airlock is nearly full. Nothing was taken.",
            remedy="Ask your administrator to make room.",
        )
