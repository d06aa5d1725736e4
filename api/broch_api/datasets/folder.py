"""The bytes of dataset versions: one folder per version that only Broch writes.

A file comes as a temporary file beside the versions, is hashed and synced there, and is renamed into its place in the
transaction that writes its row: what has no row is no part of a version.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from broch_core.blobs import CHUNK, sync_folder
from broch_core.errors import Conflict, NotFound
from broch_core.incoming import IncomingBytes

FICLONE = 0x40049409
"""ioctl that shares extents copy-on-write (ioctl_ficlonerange(2), linux/fs.h)."""
_NO_CLONE = frozenset({errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.EPERM, errno.ENOSYS})
_ID = re.compile(r"[0-9A-Z]{26}")
FILE_MODE = 0o444
FOLDER_MODE = 0o555


@dataclass(frozen=True)
class FileBytes:
    """One file of a version: where, how long, which bytes."""

    path: str
    size: int
    sha256: str


class IncomingFile(IncomingBytes):
    """Bytes on their way into a version: hashed as they come, in no version until `place`."""

    def __init__(self, folders: VersionFolders, limit: int) -> None:
        super().__init__(folders.temporary, limit)
        self._folders = folders

    def take(self, source: BinaryIO) -> None:
        """Take a whole file: by sharing its extents where the file system can, by copying elsewhere.

        What is hashed are the bytes that were taken, not those of the source.
        """
        if not _clone(source, self._file):
            while data := source.read(CHUNK):
                self.write(data)
            return
        with self._path.open("rb") as taken:
            while data := taken.read(CHUNK):
                self._require_room(data)
                self._count(data)

    def finish(self, path: str) -> FileBytes:
        """Make the bytes durable and say what came; nothing can be added any more."""
        return FileBytes(path, self.size, self.seal())

    def place(self, version_id: str, path: str) -> None:
        """Rename into the version; for inside the transaction that writes the row.

        Raises:
            Conflict: a folder is in the place, or a file in the place of a folder.
        """
        target = self._folders.path(version_id) / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            self._path.chmod(FILE_MODE)
            self._path.rename(target)
        except (NotADirectoryError, IsADirectoryError, FileExistsError):
            raise Conflict(f"'{path}' would be a file and a folder at once.", field="path") from None
        sync_folder(target.parent)


class VersionFolders:
    """The folders of all versions, below one root."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.temporary = root / "tmp"
        self.temporary.mkdir(parents=True, exist_ok=True, mode=0o700)

    def path(self, version_id: str) -> Path:
        """Return the folder of a version.

        Raises:
            NotFound: it cannot be an id.
        """
        if not _ID.fullmatch(version_id):
            raise NotFound
        return self._root / version_id

    def incoming(self, limit: int) -> IncomingFile:
        """Open a writer for at most `limit` bytes."""
        return IncomingFile(self, limit)

    def create(self, version_id: str) -> None:
        """Make the folder of a version; done already is done."""
        self.path(version_id).mkdir(exist_ok=True)
        sync_folder(self._root)

    def files(self, version_id: str) -> Iterator[str]:
        """Yield the path of everything that is not a folder, in no order."""
        root = self.path(version_id)
        for folder, _, names in os.walk(root, onerror=_raise):
            below = Path(folder).relative_to(root)
            for name in names:
                yield (below / name).as_posix()

    def remove(self, version_id: str, path: str) -> None:
        """Remove a file of an open version; done already is done."""
        with suppress(FileNotFoundError):
            (self.path(version_id) / path).unlink()

    def protect(self, version_id: str) -> None:
        """Take write permission from everybody, ourselves included."""
        root = self.path(version_id)
        for folder, _, names in os.walk(root, topdown=False, onerror=_raise):
            for name in names:
                (Path(folder) / name).chmod(FILE_MODE, follow_symlinks=True)
            Path(folder).chmod(FOLDER_MODE)

    def open(self, version_id: str, path: str) -> BinaryIO:
        """Open a file of a version, never through a link.

        Raises:
            OSError: there is none, or it is a link.
        """
        place = self.path(version_id) / path
        return os.fdopen(os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")

    def sweep(self) -> None:
        """Remove what dead writers left behind; for the start, before anybody writes."""
        shutil.rmtree(self.temporary)
        self.temporary.mkdir(mode=0o700)


def _raise(error: OSError) -> None:
    raise error


def _clone(source: BinaryIO, target: BinaryIO) -> bool:
    try:
        fcntl.ioctl(target.fileno(), FICLONE, source.fileno())
    except OSError as error:
        if error.errno in _NO_CLONE:
            return False
        raise
    return True
