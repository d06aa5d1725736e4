"""Where an export can lie, and one in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from broch_core.blobs import sync_folder
from broch_core.errors import Conflict
from broch_core.ids import new_id

LARGEST = 256 << 20
"""Most bytes of one file of an export: far above what an exporter writes, so that a false one cannot fill the memory."""


class ExportRefused(Conflict):
    """The place holds other bytes under a name, or cannot be used."""


class ExportPlace(Protocol):
    """Files under names, added and read, never changed."""

    def names(self, folder: str, *, after: str = "") -> list[str]:
        """Return the names of the files in a folder, without it, sorted; none when there is no such folder.

        Args:
            folder: which.
            after: only names that sort after this one.

        Raises:
            ExportRefused: they cannot be listed.
        """

    def read(self, name: str) -> bytes:
        """Return the bytes of a file.

        Raises:
            ExportRefused: there is none, or it is larger than `LARGEST`.
        """

    def add(self, name: str, data: bytes) -> None:
        """Add a file; the same bytes under the same name are done already.

        Raises:
            ExportRefused: other bytes have that name, or the place refuses.
        """

    def finish(self, says: str) -> None:
        """Make what was added since the last time last.

        Args:
            says: one line about it, for places that keep such.

        Raises:
            ExportRefused: the place refuses.
        """


class FolderPlace:
    """An export in a folder, such as one of another machine or on a medium that is written once."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def names(self, folder: str, *, after: str = "") -> list[str]:
        """Return the names in a folder."""
        try:
            with os.scandir(self._root / folder) as found:
                return sorted(
                    entry.name for entry in found if not entry.name.startswith(".") and entry.name > after
                )
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ExportRefused(f"{self._root / folder} cannot be read: {error.strerror}.") from error

    def read(self, name: str) -> bytes:
        """Return the bytes of a file."""
        try:
            with (self._root / name).open("rb") as file:
                data = file.read(LARGEST + 1)
        except OSError as error:
            raise ExportRefused(f"{self._root / name} cannot be read: {error.strerror}.") from error
        return checked_size(name, data)

    def add(self, name: str, data: bytes) -> None:
        """Add a file: written aside, synced, then given its name, which nothing else can have."""
        target = self._root / name
        aside = target.with_name(f".{new_id()}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(descriptor)
                os.link(aside, target)
            except FileExistsError:
                same_or_refused(name, self.read(name), data)
            finally:
                aside.unlink()
            sync_folder(target.parent)
        except OSError as error:
            raise ExportRefused(f"{target} cannot be written: {error.strerror}.") from error

    def finish(self, says: str) -> None:
        """Do nothing: each file is durable when it has its name."""


def same_or_refused(name: str, there: bytes, wanted: bytes) -> None:
    """Accept bytes that are there already.

    Raises:
        ExportRefused: they are other ones.
    """
    if there != wanted:
        raise ExportRefused(
            f"The export holds other bytes as {name}: this log is not the one that was exported there.",
            remedy="Keep both: broch audit verify --against PLACE says where they part.",
        )


def checked_size(name: str, data: bytes) -> bytes:
    """Return the bytes of a file.

    Raises:
        ExportRefused: there are too many.
    """
    if len(data) > LARGEST:
        raise ExportRefused(f"{name} is larger than any file of an export.")
    return data


def open_place(address: str, *, scratch: Path) -> ExportPlace:
    """Open a place by its address: a folder's path, `s3://BUCKET/PREFIX`, or `git:REPOSITORY`.

    Args:
        address: where. Credentials are not part of it: S3 takes those of the AWS tools, Git those of ssh.
        scratch: a folder for a working copy of a Git repository.

    Raises:
        ExportRefused: it is no address.
    """
    if address.startswith("s3://"):
        from broch_core.audit.exports.s3 import S3Place  # noqa: PLC0415 - boto3 is slow to import

        bucket, _, prefix = address.removeprefix("s3://").partition("/")
        return S3Place(bucket, prefix.strip("/"))
    if address.startswith("git:"):
        from broch_core.audit.exports.git import GitPlace  # noqa: PLC0415 - only where it is asked for

        return GitPlace(address.removeprefix("git:"), scratch)
    if "://" in address or not address:
        raise ExportRefused(
            f"{address!r} is no place for an export.",
            remedy="Give a folder, s3://BUCKET/PREFIX or git:REPOSITORY.",
        )
    return FolderPlace(Path(address))


def numbered(names: Iterable[str], suffix: str) -> list[tuple[int, ...]]:
    """Read the numbers in names such as `000000000000-000000005000.jsonl`; other names are none of ours."""
    found = []
    for name in names:
        parts = name.removesuffix(suffix).split("-")
        if name.endswith(suffix) and all(
            part.isascii() and part.isdigit() and len(part) == 12 for part in parts
        ):
            found.append(tuple(map(int, parts)))
    return sorted(found)
