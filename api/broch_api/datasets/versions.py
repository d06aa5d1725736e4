"""The vault of dataset versions: bytes in, seal, read again. Hashing happens outside of transactions."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from fastapi.concurrency import run_in_threadpool
from sqlmodel import col, update

from broch_api.datasets.catalogue import files_of, find_version, manifest_of, version_view
from broch_api.datasets.folder import FileBytes, IncomingFile, VersionFolders
from broch_api.datasets.paths import checked_path
from broch_api.datasets.schemas import FileView, VersionView
from broch_core.actions import Action
from broch_core.actors import Actor
from broch_core.audit.record import AuditSubject
from broch_core.blobs import CHUNK
from broch_core.clock import utc_now
from broch_core.errors import Conflict, Invalid, NotFound, TooLarge
from broch_core.lifecycles import VERSION, VersionEvent, VersionStatus
from broch_core.rules import Resource, require
from broch_core.store.unit import Change, Store
from broch_core.tables.datasets import DatasetFile, DatasetVersion

PROTECT = "dataset.protect"
"""Outbox kind: take write permission from a sealed version's folder."""


class VersionVault:
    """Takes the bytes of open versions and seals them."""

    def __init__(self, store: Store, folders: VersionFolders, *, largest_file: int) -> None:
        self._store = store
        self._folders = folders
        self._largest = largest_file

    async def upload(
        self, actor: Actor, version_id: str, path: str, length: int, body: AsyncIterator[bytes]
    ) -> FileView:
        """Take one file as a stream, in constant memory.

        Args:
            actor: who.
            version_id: an open version.
            path: of the file inside it.
            length: bytes that the sender says will come.
            body: the bytes.

        Raises:
            Denied: the actor is no data steward.
            NotFound: there is no such version.
            Invalid: the path is not hygienic, or more or fewer bytes came than were said.
            TooLarge: the file is larger than the setting allows.
            Conflict: the version is sealed, or has such a file.
        """
        await run_in_threadpool(self._ready, actor, version_id, path)
        if length > self._largest:
            raise TooLarge(f"The file is larger than the limit of {self._largest:,} bytes.")
        incoming = await run_in_threadpool(self._folders.incoming, length)
        try:
            try:
                async for data in _pieces(body):
                    await run_in_threadpool(incoming.write, data)
            except TooLarge:
                raise Invalid(f"More bytes came than the {length:,} of Content-Length.") from None
            if incoming.size != length:
                raise Invalid(f"{incoming.size:,} bytes came, not the {length:,} of Content-Length.")
            taken = await run_in_threadpool(incoming.finish, path)
            await run_in_threadpool(self.keep, actor, version_id, [(incoming, taken)])
        finally:
            await run_in_threadpool(incoming.__exit__, None, None, None)
        return FileView(path=taken.path, size=taken.size, sha256=taken.sha256)

    def _ready(self, actor: Actor, version_id: str, path: str) -> None:
        require(actor, Action.VERSION_UPLOAD, Resource("version", version_id))
        checked_path(path)
        with self._store.read() as session:
            _require_open(find_version(session, version_id))
            if session.get(DatasetFile, (version_id, path)) is not None:
                raise _taken(path)

    def keep(self, actor: Actor, version_id: str, files: list[tuple[IncomingFile, FileBytes]]) -> None:
        """Make finished files part of an open version, all in one transaction.

        Raises:
            Denied: the actor is no data steward.
            Conflict: the version is sealed, or has one of them already.
        """
        require(actor, Action.VERSION_UPLOAD, Resource("version", version_id))
        with self._store.write() as change:
            _require_open(find_version(change.session, version_id, lock=True))
            for _, taken in files:
                if change.session.get(DatasetFile, (version_id, taken.path)) is not None:
                    raise _taken(taken.path)
                change.session.add(
                    DatasetFile(version_id=version_id, path=taken.path, size=taken.size, sha256=taken.sha256)
                )
            total = sum(taken.size for _, taken in files)
            _count(change, version_id, len(files), total)
            one = files[0][1] if len(files) == 1 else None
            change.audit(
                actor.person_id,
                Action.VERSION_UPLOAD,
                AuditSubject("version", version_id),
                facts={"files": len(files), "bytes": str(total)} | ({"sha256": one.sha256} if one else {}),
                personal={"path": one.path} if one else {},
            )
            change.session.flush()
            for incoming, taken in files:
                incoming.place(version_id, taken.path)

    def remove_file(self, actor: Actor, version_id: str, path: str) -> None:
        """Take a file out of an open version.

        Raises:
            Denied: the actor is no data steward.
            NotFound: there is no such file.
            Conflict: the version is sealed.
        """
        require(actor, Action.VERSION_UPLOAD, Resource("version", version_id))
        with self._store.write() as change:
            _require_open(find_version(change.session, version_id, lock=True))
            row = change.session.get(DatasetFile, (version_id, path))
            if row is None:
                raise NotFound("The version has no such file.")
            change.session.delete(row)
            _count(change, version_id, -1, -row.size)
            change.audit(
                actor.person_id,
                Action.VERSION_UPLOAD,
                AuditSubject("version", version_id),
                facts={"removed": row.sha256},
                personal={"path": path},
            )
            change.session.flush()
            self._folders.remove(version_id, path)

    def seal(self, actor: Actor, version_id: str) -> VersionView:
        """Seal a version: its manifest is fixed, and nothing changes it any more.

        Raises:
            Denied: the actor is no data steward.
            NotFound: there is no such version.
            Conflict: it is not open, is empty, or a file came in at this moment.
        """
        require(actor, Action.VERSION_SEAL, Resource("version", version_id))
        with self._store.read() as session:
            row = find_version(session, version_id)
            VERSION.after(row.status, VersionEvent.SEAL)
            files = files_of(session, version_id)
        if not files:
            raise Conflict("The version has no files.", remedy="Upload some, then seal it.")
        manifest_sha256 = hashlib.sha256(manifest_of(files)).hexdigest()
        known = {file.path for file in files}
        with self._store.write() as change:
            # `row` carries the version number of the moment its files were listed: a file that came since then has
            # raised it, and the compare-and-swap says so.
            change.session.add(row)
            change.advance(
                VERSION, row, VersionEvent.SEAL, manifest_sha256=manifest_sha256, sealed_at=utc_now()
            )
            for stray in set(self._folders.files(version_id)) - known:
                self._folders.remove(version_id, stray)
            change.audit(
                actor.person_id,
                Action.VERSION_SEAL,
                AuditSubject("version", version_id),
                facts={
                    "dataset": row.dataset_id,
                    "number": row.number,
                    "manifest_sha256": manifest_sha256,
                    "files": row.file_count,
                    "bytes": str(row.total_bytes),
                },
            )
            change.later(PROTECT, f"{PROTECT}:{version_id}", {"version_id": version_id})
        return version_view(row)

    def protect(self, payload: Mapping[str, Any]) -> None:
        """Handle the outbox kind `dataset.protect`."""
        self._folders.protect(str(payload["version_id"]))


async def _pieces(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Gather what the network gives into pieces that are worth a hop to a thread."""
    held = bytearray()
    async for data in body:
        held += data
        if len(held) >= CHUNK:
            yield bytes(held)
            held.clear()
    if held:
        yield bytes(held)


def _taken(path: str) -> Conflict:
    return Conflict(f"The version has a file '{path}' already.", remedy="Remove it first.", field="path")


def _require_open(row: DatasetVersion) -> None:
    if row.status is not VersionStatus.OPEN:
        raise Conflict(
            f"Version {row.number} is {row.status.value}: nothing in it changes any more.",
            remedy="Open a new version of the dataset.",
        )


def _count(change: Change, version_id: str, files: int, size: int) -> None:
    change.session.exec(
        update(DatasetVersion)
        .where(col(DatasetVersion.id) == version_id)
        .values(
            version=DatasetVersion.version + 1,
            file_count=DatasetVersion.file_count + files,
            total_bytes=DatasetVersion.total_bytes + size,
        )
        .execution_options(synchronize_session=False)
    )
