"""Bytes on their way in: a temporary file, hashed as it is written, that somebody names once it is whole."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from broch_core import faults
from broch_core.errors import TooLarge
from broch_core.ids import new_id


class IncomingBytes:
    """A file of at most `limit` bytes below `folder`; it is gone on leaving unless it was renamed."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._limit = limit
        self._path = folder / new_id()
        self._file = self._path.open("xb")
        self._hash = hashlib.sha256()
        self.size = 0
        """Bytes so far."""

    def write(self, data: bytes) -> None:
        """Take some bytes.

        Raises:
            TooLarge: more than the limit has come.
        """
        self._require_room(data)
        faults.point("blob.write")
        self._file.write(data)
        self._count(data)

    def seal(self) -> str:
        """Make the bytes durable, still without a name, and return their SHA-256; done already is done."""
        if not self._file.closed:
            self._file.flush()
            faults.point("blob.sync")
            os.fsync(self._file.fileno())
            self._file.close()
        return self._hash.hexdigest()

    def _require_room(self, data: bytes) -> None:
        if self.size + len(data) > self._limit:
            raise TooLarge(f"The file is larger than the limit of {self._limit:,} bytes.")

    def _count(self, data: bytes) -> None:
        self._hash.update(data)
        self.size += len(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        with suppress(FileNotFoundError):
            self._path.unlink()
