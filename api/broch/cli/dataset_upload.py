"""Sending a folder into a dataset version, file by file; what is there already is not sent twice."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from broch.cli import output
from broch.cli.client import Api, segment
from broch.cli.failure import Failure, Misused
from broch.cli.progress import Progress
from broch.cli.sending import LocalFile


def send_folder(api: Api, dataset_id: str, folder: Path) -> dict[str, Any]:
    """Send every file of a folder into the open version of a dataset, opening one if there is none.

    Args:
        api: signed in as a data steward.
        dataset_id: of which dataset.
        folder: whose files to send, with their paths below it.

    Returns:
        The version as the server shows it.

    Raises:
        Misused: the folder has no files, or something in it is neither file nor folder.
        Failure: the version has files that the folder has not, or with other bytes.
    """
    files = files_below(folder)
    version = _open_version(api, dataset_id)
    path = f"dataset-versions/{segment(version['id'])}"
    there = {row["path"]: row for row in api.pages(f"{path}/files", limit=sys.maxsize, cursor="after")}
    if strange := sorted(there.keys() - files.keys()):
        raise Failure(
            f"Version {version['number']} is open and has files that are not in {folder}, such as '{strange[0]}'.",
            "Send the folder that it was begun with, or remove them on the page of the dataset.",
        )
    for name, local in files.items():
        if name in there:
            _require_same(local, name, there[name])
        else:
            _send(api, path, name, local)
    found: dict[str, Any] = api.get(path)
    return found


def files_below(folder: Path) -> dict[str, Path]:
    """Return the plain files below a folder, by path with forward slashes, in order.

    Raises:
        Misused: it is no folder, has no files, or has a link or something else in it.
    """
    if not folder.is_dir():
        raise Misused(f"'{folder}' is no folder.", "Put the files of the version into one, and name that.")
    found: dict[str, Path] = {}
    for place, folders, names in os.walk(folder, onerror=_unreadable):
        folders.sort()
        for name in [*names, *(n for n in folders if (Path(place) / n).is_symlink())]:
            path = Path(place) / name
            if not stat.S_ISREG(path.lstat().st_mode):
                raise Misused(f"'{path}' is a link or no plain file.", "A version has plain files only.")
            found[path.relative_to(folder).as_posix()] = path
    if not found:
        raise Misused(f"'{folder}' has no files.")
    return dict(sorted(found.items()))


def _unreadable(error: OSError) -> None:
    raise Misused(f"'{error.filename}' cannot be read: {error.strerror}.")


def _open_version(api: Api, dataset_id: str) -> dict[str, Any]:
    path = f"datasets/{segment(dataset_id)}"
    newest = next(iter(api.get(path)["versions"]), None)
    if newest is not None and newest["status"] == "open":
        output.note(f"Going on with version {newest['number']}, which is open.")
        return dict(newest)
    made: dict[str, Any] = api.post(f"{path}/versions")
    return made


def _require_same(local: Path, name: str, there: dict[str, Any]) -> None:
    with LocalFile(local) as file:
        if file.size != there["size"] or file.sha256() != there["sha256"]:
            raise Failure(
                f"The open version has '{name}' with other bytes.", "Remove it on the page of the dataset."
            )


def _send(api: Api, path: str, name: str, local: Path) -> None:
    digest = hashlib.sha256()
    with LocalFile(local) as file, Progress(name, file.size) as progress:

        def content() -> Iterator[bytes]:
            for piece in file.pieces(0, file.size, progress.advance):
                digest.update(piece)
                yield piece

        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(file.size)}
        where = f"{path}/files/" + "/".join(map(segment, name.split("/")))
        answer = api.send("PUT", where, headers=headers, content=content(), patient=True).json()
    if answer["sha256"] != digest.hexdigest():
        raise Failure(f"'{name}' arrived with other bytes than were sent.", "Remove it and send it again.")
