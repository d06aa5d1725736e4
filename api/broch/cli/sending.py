"""Reading local files to send them: plain files only, in pieces, with their digest, and never more than was said."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from broch.cli.failure import Failure, Misused

PIECE = 1 << 18
"""Bytes in memory at once: 256 KiB."""


class LocalFile:
    """A plain file open for sending; its size is fixed when it is opened.

    Args:
        path: where it lies.

    Raises:
        Misused: it is no plain file, or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            # O_NONBLOCK: a named pipe must not hold us up before we see that it is one.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise Misused(f"'{path}' cannot be read: {error.strerror}.") from error
        self._file: BinaryIO = os.fdopen(descriptor, "rb", buffering=0)
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            self._file.close()
            raise Misused(f"'{path}' is not a plain file.")
        self.size = found.st_size
        self.fingerprint = f"{found.st_dev}:{found.st_ino}:{found.st_size}:{found.st_mtime_ns}"
        """Changes when the file does."""

    def pieces(self, start: int, count: int, moved: Callable[[int], None]) -> Iterator[bytes]:
        """Yield `count` bytes from `start` on.

        Raises:
            Failure: the file is shorter now.
        """
        self._file.seek(start)
        left = count
        while left:
            data = self._file.read(min(PIECE, left))
            if not data:
                raise Failure(f"'{self.path}' became shorter while it was sent.", "Send it again.")
            left -= len(data)
            yield data
            moved(len(data))

    def sha256(self) -> str:
        """Return the SHA-256 of the whole file, as it is now."""
        digest = hashlib.sha256()
        for data in self.pieces(0, self.size, lambda _: None):
            digest.update(data)
        return digest.hexdigest()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
