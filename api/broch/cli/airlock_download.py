"""Saving what was released: digests checked while the bytes come, and nothing of yours overwritten unasked."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from broch.cli.client import Api, segment
from broch.cli.failure import Failure
from broch.cli.progress import Progress

RECEIPT = "receipt.json"
_LARGEST_RECEIPT = 1 << 20
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})


def save_release(api: Api, request: Mapping[str, Any], folder: Path, *, force: bool) -> list[Path]:
    """Save the files of a released request, and its receipt.

    Args:
        api: signed in as a member of its project.
        request: as the server shows it.
        folder: where to; made if it is not there.
        force: replace files that are there.

    Returns:
        What was saved, the receipt last.

    Raises:
        Failure: a file is there already, a name is not one, or the bytes are not those that were released.
    """
    names = [safe_name(row["name"]) for row in request["file_list"]]
    receipt = RECEIPT if RECEIPT not in names else f"receipt-{request['id']}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failure(f"{folder} cannot be made: {error.strerror}.") from error
    taken = [name for name in (*names, receipt) if os.path.lexists(folder / name)]
    if taken and not force:
        raise Failure(f"{folder / taken[0]} is there already.", "Save elsewhere, or say --force.")
    path = f"airlock/requests/{segment(request['id'])}"
    saved = []
    for name, row in zip(names, request["file_list"], strict=True):
        with (
            Progress(name, row["size"]) as progress,
            api.stream(f"{path}/files/{segment(row['id'])}/download", method="POST") as answer,
        ):
            pieces = _counted(answer.iter_bytes(), progress, row["size"], name)
            save(folder / name, pieces, sha256=row["sha256"], force=force)
        saved.append(folder / name)
    save(folder / receipt, [read_proof(api, request["id"])], force=force)
    return [*saved, folder / receipt]


def read_proof(api: Api, request_id: str, kind: str = "receipt") -> bytes:
    """Return the receipt of a release, or the deletion certificate (`certificate`), byte for byte."""
    data = api.send("GET", f"airlock/requests/{segment(request_id)}/{kind}").content
    if len(data) > _LARGEST_RECEIPT:
        raise Failure(f"The {kind} is larger than any {kind} is.")
    return data


def safe_name(name: str) -> str:
    """Return a name if it stays in the folder and shows itself as what it is.

    Raises:
        Failure: it does not.
    """
    if name in {"", ".", ".."} or "/" in name or not name.isprintable():
        raise Failure(f"The server names a file {name!r}, which is no name of a file.")
    return name


def save(path: Path, pieces: Iterable[bytes], *, sha256: str | None = None, force: bool = False) -> None:
    """Write a file beside its place and move it there when it is whole.

    Args:
        path: its place.
        pieces: its bytes.
        sha256: what they must be.
        force: replace what is there.

    Raises:
        Failure: the digest is another one, something is there, or the disk refuses.
    """
    digest = hashlib.sha256()
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".broch-")
        part = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                for piece in pieces:
                    digest.update(piece)
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            if sha256 is not None and digest.hexdigest() != sha256:
                raise Failure(
                    f"The bytes of '{path.name}' are not those that were released; nothing was saved.",
                    "Try again, and tell your administrator if that does not help.",
                )
            _place(part, path, force=force)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise Failure(f"{path} cannot be written: {error.strerror}.") from error


def _place(part: Path, path: Path, *, force: bool) -> None:
    if force:
        part.replace(path)
        return
    try:
        os.link(part, path)  # unlike a rename, it never replaces
    except FileExistsError:
        raise Failure(f"{path} is there already.", "Save elsewhere, or say --force.") from None
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            raise Failure(f"{path} is there already.", "Save elsewhere, or say --force.") from None
        part.replace(path)


def _counted(pieces: Iterable[bytes], progress: Progress, most: int, name: str) -> Iterable[bytes]:
    came = 0
    for piece in pieces:
        came += len(piece)
        if came > most:
            raise Failure(f"More bytes of '{name}' came than were released; nothing was saved.")
        progress.advance(len(piece))
        yield piece
