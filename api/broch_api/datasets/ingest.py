"""A folder of this machine becomes the content of a dataset version: reflinked where possible, hashed here."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from broch_api.datasets.folder import FileBytes, IncomingFile, VersionFolders
from broch_api.datasets.paths import checked_path
from broch_api.datasets.versions import VersionVault
from broch_core.actions import Action
from broch_core.actors import Actor
from broch_core.errors import Invalid, TooLarge
from broch_core.rules import Resource, require

BATCH = 200
"""Files in one transaction: few enough that each has a descriptor open, enough to spare the disk most syncs."""


@dataclass(frozen=True)
class IngestProgress:
    """How far an ingest is."""

    files: int
    of_files: int
    bytes: int
    of_bytes: int
    path: str
    """The file that came last."""


class FolderIngest:
    """Takes folders of this machine; for the command line, never reachable from the network."""

    def __init__(self, vault: VersionVault, folders: VersionFolders, *, largest_file: int) -> None:
        self._vault = vault
        self._folders = folders
        self._largest = largest_file

    def ingest_folder(
        self,
        actor: Actor,
        version_id: str,
        folder: Path,
        progress: Callable[[IngestProgress], None] = lambda _progress: None,
    ) -> IngestProgress:
        """Take every file below a folder into an open version.

        The whole folder is looked at first: one unfit name and nothing is taken.

        Args:
            actor: who.
            version_id: an open version.
            folder: on this machine.
            progress: called after every file.

        Raises:
            Denied: the actor is no data steward.
            Invalid: it is empty, or has a link, a device or an unfit name.
            TooLarge: a file is larger than the setting allows.
            Conflict: the version is sealed, or has one of the files.
        """
        require(actor, Action.VERSION_UPLOAD, Resource("version", version_id))
        found = sorted(_survey(folder, self._largest))
        if not found:
            raise Invalid(f"The folder {folder} has no files.")
        total, files, size = sum(size for _, size in found), 0, 0
        last = IngestProgress(0, len(found), 0, total, "")
        for start in range(0, len(found), BATCH):
            with ExitStack() as stack:
                batch: list[tuple[IncomingFile, FileBytes]] = []
                for path, _ in found[start : start + BATCH]:
                    incoming = stack.enter_context(self._folders.incoming(self._largest))
                    with _open(folder, path) as source:
                        incoming.take(source)
                    taken = incoming.finish(path)
                    batch.append((incoming, taken))
                    files, size = files + 1, size + taken.size
                    last = IngestProgress(files, len(found), size, total, path)
                    progress(last)
                self._vault.keep(actor, version_id, batch)
        return last


def _survey(folder: Path, largest: int) -> Iterator[tuple[str, int]]:
    """Yield path and size of every file; anything but files and folders is refused."""
    for at, folders, names, descriptor in os.fwalk(folder, onerror=_unreadable):
        below = Path(at).relative_to(folder)
        for name in [*folders, *names]:
            path = (below / name).as_posix()
            status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                continue
            if not stat.S_ISREG(status.st_mode):
                raise Invalid(
                    f"'{path}' is neither a file nor a folder (a link?): nothing was taken.", field="path"
                )
            if status.st_size > largest:
                raise TooLarge(f"'{path}' is larger than the limit of {largest:,} bytes.")
            yield checked_path(path), status.st_size


def _unreadable(error: OSError) -> None:
    raise Invalid(f"The folder '{error.filename}' cannot be read: {error.strerror}.") from error


def _open(folder: Path, path: str) -> BinaryIO:
    """Open a regular file below a folder, no part of the way being a link."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        *parts, name = path.split("/")
        for part in parts:
            inner = os.open(part, flags | os.O_DIRECTORY, dir_fd=at)
            os.close(at)
            at = inner
        file = os.fdopen(os.open(name, flags, dir_fd=at), "rb")
    except OSError as error:
        raise Invalid(f"'{path}' cannot be read: {error.strerror}.", field="path") from error
    finally:
        os.close(at)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise Invalid(f"'{path}' is no longer a file.", field="path")
    return file
