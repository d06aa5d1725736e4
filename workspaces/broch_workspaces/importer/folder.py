"""The folder `/imports`: a file appears whole or not at all, never over another, whatever dies in between.

Only importers write there, but nothing found there is believed: names are of this folder, links are not followed.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from broch_core import faults

_LONGEST = 255
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


class BadName(ValueError):
    """It names no file of this folder."""


class Taken(Exception):
    """The name is taken by other bytes."""


class Spoilt(Exception):
    """What came is not what was released; the text says how."""


class NoLinks(OSError):
    """The volume has no hard links, by which a file gets its name without replacing another."""


def plain_name(name: str) -> str:
    """Return a name that is one visible component of a path.

    Raises:
        BadName: it is not.
    """
    try:
        short = 0 < len(name.encode()) <= _LONGEST
    except UnicodeEncodeError:
        short = False
    if not short or name.startswith(".") or "/" in name or not name.isprintable():
        raise BadName(f"{name!r} names no file")
    return name


class ImportsFolder:
    """The folder, held open: it cannot be exchanged under our hands.

    Args:
        path: where it is mounted.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1

    def __enter__(self) -> Self:
        self._fd = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def holds(self, name: str, sha256: str) -> bool | None:
        """Tell whether `name` has these bytes; None if there is nothing of that name."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            fd = os.open(name, flags, dir_fd=self._fd)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO):  # a link, a socket: no file of ours
                return False
            raise
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            return False
        with os.fdopen(fd, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256

    def place(self, delivery_id: str, name: str, pieces: Iterable[bytes], *, size: int, sha256: str) -> None:
        """Give bytes the name, unless it is taken.

        Args:
            delivery_id: names what is still coming, `.incoming-<id>`.
            name: by `plain_name`.
            pieces: the bytes.
            size: how many they must be.
            sha256: what they must be.

        Raises:
            Spoilt: they are others.
            Taken: the name has other bytes.
            NoLinks: the volume cannot do it.
            OSError: the volume is full, or broken.
        """
        with self._incoming(f".incoming-{delivery_id}") as fd:
            self._take(fd, pieces, size, sha256)
            faults.point("importer.written")
            os.fchmod(fd, 0o444)
            os.fsync(fd)
            faults.point("importer.synced")
            self._name(fd, name, sha256)
            faults.point("importer.linked")
        os.fsync(self._fd)
        faults.point("importer.done")

    def tidy(self, delivery_id: str) -> None:
        """Remove what a dead importer of the same delivery left, and make durable what it did."""
        with suppress(FileNotFoundError):
            os.unlink(f".incoming-{delivery_id}", dir_fd=self._fd)
        os.fsync(self._fd)

    def remove(self, name: str, sha256: str) -> None:
        """Take these bytes away; done already is done, and other bytes of that name stay."""
        if self.holds(name, sha256):
            faults.point("importer.found")
            os.unlink(name, dir_fd=self._fd)
            faults.point("importer.unlinked")
        os.fsync(self._fd)

    @contextmanager
    def _incoming(self, temporary: str) -> Iterator[int]:
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=self._fd)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(temporary, flags, 0o600, dir_fd=self._fd)
        try:
            yield fd
        finally:
            os.close(fd)
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=self._fd)

    @staticmethod
    def _take(fd: int, pieces: Iterable[bytes], size: int, sha256: str) -> None:
        digest, taken = hashlib.sha256(), 0
        for piece in pieces:
            taken += len(piece)
            if taken > size:
                raise Spoilt(f"more came than the {size:,} bytes that were released")
            digest.update(piece)
            view = memoryview(piece)
            while view:
                view = view[os.write(fd, view) :]
        if taken < size:
            raise Spoilt(f"only {taken:,} of {size:,} bytes came")
        if digest.hexdigest() != sha256:
            raise Spoilt("other bytes came than were released")

    def _name(self, fd: int, name: str, sha256: str) -> None:
        try:
            # By descriptor: should another importer of the same delivery have taken the temporary name over meanwhile,
            # what gets the name is still what was hashed here. link(2) fails where rename(2) would replace.
            os.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=self._fd, follow_symlinks=True)
        except FileExistsError:
            if not self.holds(name, sha256):
                raise Taken(name) from None
        except OSError as error:
            if error.errno in _NO_LINKS:
                raise NoLinks(error.errno, "this volume cannot link files") from error
            raise
