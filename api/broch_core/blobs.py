"""Content-addressed bytes, by project and class (design, rule 4): never "already have it" across projects.

A blob is written to a temporary file, hashed on the way, synced, renamed into place, and its folder synced: a crash
leaves either nothing or the whole. Names are SHA-256 in hexadecimal; callers pass ids, never paths.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

from broch_core import faults
from broch_core.errors import NotFound
from broch_core.incoming import IncomingBytes

CHUNK = 1 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ID = re.compile(r"[0-9A-Z]{26}")


class BlobClass(StrEnum):
    """Where in its life a blob is; each class has its own retention."""

    DRAFT = "draft"
    QUARANTINED = "quarantined"
    HELD = "held"
    RELEASED = "released"


class Incoming(Protocol):
    """Bytes on their way into a store: hashed as they come, nothing visible until `commit`."""

    size: int
    """Bytes so far."""

    def write(self, data: bytes) -> None:
        """Take some bytes."""

    def seal(self) -> str:
        """Do what can be done before a lock is taken; return the SHA-256."""

    def commit(self, class_: BlobClass) -> str:
        """Make the blob durable in `class_`; return its SHA-256."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave nothing behind that was not committed."""


class Blobs(Protocol):
    """A store of blobs; a folder on one machine, S3 on a cluster."""

    uploads: Path
    """Folder of unfinished resumable uploads; they outlive a restart, unlike `temporary`."""
    temporary: Path

    def writer(self, project_id: str, limit: int) -> Incoming:
        """Open a writer for at most `limit` bytes."""

    def open(self, project_id: str, class_: BlobClass, sha256: str) -> BinaryIO:
        """Open a blob for reading from its start."""

    def exists(self, project_id: str, class_: BlobClass, sha256: str) -> bool:
        """Tell whether a blob is in a class."""

    def local(self, project_id: str, class_: BlobClass, sha256: str) -> AbstractContextManager[Path]:
        """Show a blob as a file of this machine, for as long as the context lasts."""

    def lasting(self, project_id: str, class_: BlobClass, sha256: str) -> Path | None:
        """Return the file that a blob is, where blobs are files that stay as long as they are needed."""

    def copy(self, project_id: str, sources: Mapping[str, BlobClass], target: BlobClass) -> None:
        """Put blobs (SHA-256 -> class) into another class too; done already is done."""

    def adopt(self, path: Path, project_id: str, class_: BlobClass, sha256: str) -> None:
        """Make a complete, synced file a blob; the caller worked out its SHA-256 and removes the file."""

    def delete(self, project_id: str, class_: BlobClass, *sha256s: str) -> None:
        """Delete blobs; done already is done."""

    def sweep(self) -> None:
        """Remove what dead writers left behind; for the start, before anybody writes."""


def require_name(project_id: str, sha256: str) -> None:
    """Refuse what cannot name a blob.

    Raises:
        NotFound: one of the parts cannot.
    """
    if not _ID.fullmatch(project_id) or not _SHA256.fullmatch(sha256):
        raise NotFound("There are no such bytes.")


class BlobWriter(IncomingBytes):
    """Bytes on their way in: hashed as they come, nothing visible until `commit`.

    `seal` is the slow part of `commit`, for before a lock is taken.
    """

    def __init__(self, blobs: FolderBlobs, project_id: str, limit: int) -> None:
        super().__init__(blobs.temporary, limit)
        self._blobs = blobs
        self._project_id = project_id

    def commit(self, class_: BlobClass) -> str:
        """Make the blob durable in `class_`; return its SHA-256."""
        sha256 = self.seal()
        target = self._blobs.path(self._project_id, class_, sha256)
        target.parent.mkdir(parents=True, exist_ok=True)
        self._path.chmod(0o440)
        faults.point("blob.name")
        self._path.rename(target)
        faults.point("blob.named")
        sync_folder(target.parent)
        return sha256


class FolderBlobs:
    """Blobs in a folder of this machine."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.uploads = root / "uploads"
        """Unfinished resumable uploads; they outlive a restart, unlike `temporary`."""
        self.temporary = root / "tmp"
        self.temporary.mkdir(parents=True, exist_ok=True, mode=0o700)

    def path(self, project_id: str, class_: BlobClass, sha256: str) -> Path:
        """Return where a blob lies.

        Raises:
            NotFound: one of the parts cannot name a blob.
        """
        require_name(project_id, sha256)
        return self._root / class_.value / project_id / sha256[:2] / sha256

    def writer(self, project_id: str, limit: int) -> BlobWriter:
        """Open a writer for at most `limit` bytes."""
        return BlobWriter(self, project_id, limit)

    def open(self, project_id: str, class_: BlobClass, sha256: str) -> BinaryIO:
        """Open a blob for reading from its start.

        Raises:
            NotFound: there is none.
        """
        try:
            return self.path(project_id, class_, sha256).open("rb")
        except FileNotFoundError:
            raise NotFound("The bytes of this file are no longer kept.") from None

    def exists(self, project_id: str, class_: BlobClass, sha256: str) -> bool:
        """Tell whether a blob is in a class."""
        return self.path(project_id, class_, sha256).exists()

    @contextmanager
    def local(self, project_id: str, class_: BlobClass, sha256: str) -> Iterator[Path]:
        """Show a blob as the file that it is; whether it is there shows when it is opened."""
        yield self.path(project_id, class_, sha256)

    def lasting(self, project_id: str, class_: BlobClass, sha256: str) -> Path | None:
        """Return the file that a blob is."""
        return self.path(project_id, class_, sha256)

    def copy(self, project_id: str, sources: Mapping[str, BlobClass], target: BlobClass) -> None:
        """Put blobs (SHA-256 -> class) into another class too (one inode: blobs never change); done already is done.

        Raises:
            NotFound: one is in neither class.
        """
        changed: set[Path] = set()
        for sha256, source in sources.items():
            goal = self.path(project_id, target, sha256)
            faults.point("blob.link")
            goal.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(self.path(project_id, source, sha256), goal)
            except FileExistsError:
                continue
            except FileNotFoundError:
                if not goal.exists():
                    raise NotFound("The bytes of this file are no longer kept.") from None
                continue
            changed.add(goal.parent)
            faults.point("blob.linked")
        _sync_folders(changed)

    def adopt(self, path: Path, project_id: str, class_: BlobClass, sha256: str) -> None:
        """Make a complete, synced file of this file system a blob; the caller worked out its SHA-256.

        The file keeps its old name too, so that a crash before the caller has noted the blob loses nothing; the
        caller removes that name, and writes to the file no more.
        """
        target = self.path(project_id, class_, sha256)
        target.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.link(path, target)
        sync_folder(target.parent)

    def delete(self, project_id: str, class_: BlobClass, *sha256s: str) -> None:
        """Delete blobs; done already is done."""
        changed: set[Path] = set()
        for sha256 in sha256s:
            path = self.path(project_id, class_, sha256)
            with suppress(FileNotFoundError):
                faults.point("blob.delete")
                path.unlink()
                changed.add(path.parent)
        _sync_folders(changed)

    def sweep(self) -> None:
        """Remove what dead writers left behind; for the start, before anybody writes."""
        for left in self.temporary.iterdir():
            if left.is_dir():
                shutil.rmtree(left)
            else:
                left.unlink()


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` durable (fsync(2) of a file says nothing about its name)."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folders(folders: Iterable[Path]) -> None:
    """Make renames in all `folders` durable; after the first the journal has little left to write for the others."""
    for folder in folders:
        sync_folder(folder)


def chunks(file: BinaryIO, size: int = CHUNK) -> Iterator[bytes]:
    """Read a file piece by piece."""
    while data := file.read(size):
        yield data


def sha256_of(file: BinaryIO) -> str:
    """Return the SHA-256 of what is left in `file`."""
    digest = hashlib.sha256()
    for data in chunks(file):
        digest.update(data)
    return digest.hexdigest()
