"""Sending files into an ingress request by tus 1.0 (https://tus.io/protocols/resumable-upload); Ctrl-C loses nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from broch.cli import output
from broch.cli.client import Api, segment
from broch.cli.credentials import cache_folder, read_private, write_private
from broch.cli.failure import Failure, Misused, Refused, Unreachable
from broch.cli.lookup import is_id
from broch.cli.progress import Progress
from broch.cli.sending import LocalFile

CHUNK = 8 << 20
"""Bytes in one PATCH: what is sent again at most after a break."""
_TUS = {"Tus-Resumable": "1.0.0"}
_WAITS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0)
"""Seconds between attempts: half a minute in all, enough for a server to start again."""
_GONE = frozenset({404, 410})
_PASSING = frozenset({409, 423, 503})


class UploadMemory:
    """What one upload command has begun, kept so that the same command goes on with it.

    Args:
        server: the server.
        person_id: who sends.
        what: project or request, and purpose.
        files: what is sent.
    """

    def __init__(self, server: str, person_id: str, what: Sequence[str], files: Sequence[Path]) -> None:
        identity = json.dumps([server, person_id, *what, *(str(file.resolve()) for file in files)])
        self._path = cache_folder() / f"upload-{hashlib.sha256(identity.encode()).hexdigest()[:32]}.json"
        kept = read_private(self._path)
        request, uploads = kept.get("request"), kept.get("uploads")
        self.request_id: str | None = request if isinstance(request, str) and is_id(request) else None
        self._uploads: dict[str, dict[str, str]] = uploads if isinstance(uploads, dict) else {}

    def begin(self, request_id: str) -> None:
        """Note which request the files go into."""
        if request_id != self.request_id:
            self.request_id, self._uploads = request_id, {}
        self._save()

    def upload_of(self, file: LocalFile) -> str | None:
        """Return the id of a file's unfinished upload, if the file is still the same."""
        kept = self._uploads.get(str(file.path.resolve()), {})
        known = kept.get("id", "")
        return known if kept.get("file") == file.fingerprint and is_id(known) else None

    def remember(self, file: LocalFile, upload_id: str) -> None:
        """Note a file's upload."""
        self._uploads[str(file.path.resolve())] = {"id": upload_id, "file": file.fingerprint}
        self._save()

    def forget(self) -> None:
        """Everything has arrived: there is nothing to go on with."""
        self._path.unlink(missing_ok=True)

    def _save(self) -> None:
        write_private(self._path, {"request": self.request_id, "uploads": self._uploads})


def named(files: Sequence[Path]) -> dict[str, Path]:
    """Return the files by the name that they get in the request.

    Raises:
        Misused: two have the same name.
    """
    found: dict[str, Path] = {}
    for path in files:
        if path.name in found:
            raise Misused(f"Two files are named '{path.name}'.", "Rename one of them.")
        found[path.name] = path
    return found


def send_files(
    api: Api, request: Mapping[str, Any], files: Mapping[str, Path], memory: UploadMemory
) -> dict[str, Any]:
    """Send files into a request; those that are there already with the same bytes are not sent again.

    Args:
        api: signed in as its author.
        request: as the server shows it.
        files: by their name in the request.
        memory: of unfinished uploads.

    Returns:
        The request as the server shows it afterwards.
    """
    there = {row["name"]: row for row in request["file_list"]}
    path = f"airlock/requests/{segment(request['id'])}"
    sums: dict[str, str] = {}
    for name, local in files.items():
        with LocalFile(local) as file:
            sums[name] = file.sha256()
            row = there.get(name)
            if row is not None and (row["size"], row["sha256"]) == (file.size, sums[name]):
                output.note(f"{output.plain(name)}  is there already")
                continue
            with Progress(name, file.size) as progress:
                _send(api, path, name, file, memory, progress)
    found: dict[str, Any] = api.get(path)
    arrived = {row["name"]: row["sha256"] for row in found["file_list"]}
    for name, sha256 in sums.items():
        if arrived.get(name) != sha256:
            raise Failure(f"'{name}' arrived with other bytes than it has here.", "Send it again.")
    memory.forget()
    return found


def _send(api: Api, path: str, name: str, file: LocalFile, memory: UploadMemory, progress: Progress) -> None:
    upload_id = memory.upload_of(file)
    offset = _offset(api, upload_id, file.size) if upload_id is not None else None
    if upload_id is None or offset is None:
        upload_id, offset = _create(api, path, name, file.size), 0
        memory.remember(file, upload_id)
    progress.resume(offset)
    failed = 0
    while offset is None or offset < file.size:
        try:
            if offset is None:
                offset = _resumed(api, upload_id, name, file, progress)
            else:
                offset = _patch(api, upload_id, file, offset, min(CHUNK, file.size - offset), progress)
                failed = 0
        except (Unreachable, Refused) as failure:
            if failed == len(_WAITS) or (isinstance(failure, Refused) and failure.status not in _PASSING):
                raise
            if failed == 0:
                output.note(f"{failure.message} Going on as soon as it answers.")
            time.sleep(_WAITS[failed])
            failed += 1
            offset = None  # how much has arrived, only the server knows


def _resumed(api: Api, upload_id: str, name: str, file: LocalFile, progress: Progress) -> int:
    offset = _offset(api, upload_id, file.size)
    if offset is None:
        raise Failure(f"The upload of '{name}' is gone.", "Send it again.")
    progress.resume(offset)
    return offset


def _create(api: Api, path: str, name: str, length: int) -> str:
    metadata = "filename " + base64.b64encode(name.encode("utf-8", "surrogateescape")).decode()
    headers = _TUS | {"Upload-Length": str(length), "Upload-Metadata": metadata}
    answer = api.send("POST", f"{path}/uploads", headers=headers)
    upload_id = str(answer.headers.get("Location", "")).rpartition("/")[2]
    if not is_id(upload_id):  # an address elsewhere must not get our token
        raise Failure("The server did not say where the bytes go.")
    return upload_id


def _offset(api: Api, upload_id: str, length: int) -> int | None:
    try:
        answer = api.send("HEAD", f"airlock/uploads/{segment(upload_id)}", headers=_TUS)
    except Refused as refusal:
        if refusal.status in _GONE:
            return None
        raise
    if answer.headers.get("Upload-Length") != str(length):
        return None
    return _number(answer.headers.get("Upload-Offset", ""), length)


def _patch(api: Api, upload_id: str, file: LocalFile, offset: int, count: int, progress: Progress) -> int:
    headers = _TUS | {
        "Upload-Offset": str(offset),
        "Content-Type": "application/offset+octet-stream",
        "Content-Length": str(count),
    }
    pieces = file.pieces(offset, count, progress.advance)
    where = f"airlock/uploads/{segment(upload_id)}"
    answer = api.send("PATCH", where, headers=headers, content=pieces, patient=True)
    now = _number(answer.headers.get("Upload-Offset", ""), file.size)
    if now <= offset:
        raise Failure("The server takes no bytes.", "Try again.")
    return now


def _number(text: str, most: int) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18 or int(text) > most:
        raise Failure("The server did not say how far the upload is.")
    return int(text)
