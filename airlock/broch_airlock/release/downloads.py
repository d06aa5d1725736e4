"""Downloads of released results, and receipts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO

import structlog
from sqlmodel import Session, select

from broch_airlock.facts import find_request, reach_request, request_resource, subject_of
from broch_airlock.release.schemas import TicketView
from broch_airlock.release.tickets import issue, redeem
from broch_airlock.retention.service import deletion_of
from broch_airlock.tables import AirlockFile, AirlockRequest, Direction, Release, ReleasedFile, TicketKind
from broch_core import faults
from broch_core.actions import Action
from broch_core.actors import Actor
from broch_core.blobs import BlobClass, Blobs, chunks
from broch_core.errors import Conflict, Gone, NotFound
from broch_core.ids import existing_id
from broch_core.lifecycles import AirlockStatus, ProjectStatus
from broch_core.rules import require
from broch_core.scope import EVERYTHING, find_project, require_thawed_tre
from broch_core.settings import Settings
from broch_core.store.unit import Change, Store

log = structlog.get_logger()


@dataclass(frozen=True)
class Download:
    """Released bytes on their way out."""

    name: str
    size: int
    sha256: str
    file: BinaryIO

    def pieces(self) -> Iterator[bytes]:
        """Give the bytes; the last piece only when all of them are what was released.

        Raises:
            OSError: they are not; the connection breaks before the file is complete.
        """
        digest = hashlib.sha256()
        held = b""
        with self.file:
            for piece in chunks(self.file):
                faults.point("download.piece")
                digest.update(piece)
                if held:
                    yield held
                held = piece
        if digest.hexdigest() != self.sha256:
            log.error("airlock.released_bytes_altered", sha256=self.sha256)
            raise OSError("the stored bytes are not those that were released")
        if held:
            yield held


class DownloadDesk:
    """Gives released files and receipts to members."""

    def __init__(self, store: Store, blobs: Blobs, settings: Settings) -> None:
        self._store = store
        self._blobs = blobs
        self._settings = settings

    def ticket(self, actor: Actor, request_id: str, file_id: str) -> TicketView:
        """Make a ticket for one download of a released result.

        Raises:
            NotFound: there is no such request or file.
            Conflict: it is not released, came in, or the project is frozen.
        """
        with self._store.write() as change:
            token, expires_at = self._issue(change, actor, request_id, file_id)
        return TicketView(
            ticket=token, expires_at=expires_at, target=f"{self._settings.shell_origin}/airlock/download"
        )

    def redeem(self, actor: Actor, token: str) -> Download:
        """Open the file of a ticket.

        Raises:
            Gone: the ticket is not good, or was made in another session.
        """
        with self._store.write() as change:
            found = self._redeem(change, actor, token)
        faults.point("download.redeemed")
        return self._open(*found)

    def download(self, actor: Actor, request_id: str, file_id: str) -> Download:
        """Make a ticket and use it, in one call: what a button without scripts and the command line do."""
        with self._store.write() as change:
            token, _ = self._issue(change, actor, request_id, file_id)
            found = self._redeem(change, actor, token)
        return self._open(*found)

    def receipt(self, actor: Actor, request_id: str) -> str:
        """Return the receipt of a release.

        Raises:
            Conflict: it is not released yet.
        """
        with self._store.read() as session:
            request = reach_request(session, actor, Action.AIRLOCK_RECEIPT, request_id)
            release = session.exec(select(Release).where(Release.request_id == request.id)).first()
        if release is None or release.receipt is None:
            raise Conflict(
                "There is no receipt: the request has not been released.", state=request.status.value
            )
        return release.receipt

    def _issue(self, change: Change, actor: Actor, request_id: str, file_id: str) -> tuple[str, datetime]:
        session = change.session
        request = reach_request(session, actor, Action.AIRLOCK_DOWNLOAD, request_id)
        file = session.get(AirlockFile, existing_id(file_id))
        if file is None or file.request_id != request.id:
            raise NotFound
        self._require_downloadable(session, request)
        token, ticket = issue(change, actor, file, TicketKind.DOWNLOAD, self._settings.ticket_lifetime)
        change.audit(
            actor.person_id,
            Action.AIRLOCK_DOWNLOAD,
            subject_of(request),
            facts={"ticket": "made", "file": file.id, "sha256": file.sha256},
        )
        return token, ticket.expires_at

    def _redeem(self, change: Change, actor: Actor, token: str) -> tuple[str, ReleasedFile]:
        session = change.session
        ticket = redeem(change, token, TicketKind.DOWNLOAD)
        file = session.get_one(AirlockFile, ticket.file_id)
        request = find_request(session, EVERYTHING, file.request_id)
        if ticket.session_id != actor.session_id or ticket.person_id != actor.person_id:
            raise Gone("This ticket was made in another session.", remedy="Press the download button again.")
        require(actor, Action.AIRLOCK_DOWNLOAD, request_resource(session, actor, request))
        self._require_downloadable(session, request)
        released = session.exec(select(ReleasedFile).where(ReleasedFile.file_id == file.id)).one()
        if released.sha256 != ticket.sha256:
            raise Gone("The file has changed since the ticket was made.")
        change.audit(
            actor.person_id,
            Action.AIRLOCK_DOWNLOAD,
            subject_of(request),
            facts={
                "ticket": "used",
                "file": file.id,
                "sha256": released.sha256,
                "release": released.release_id,
            },
            personal={"name": released.name},
        )
        return request.project_id, released

    def _require_downloadable(self, session: Session, request: AirlockRequest) -> None:
        if request.status is not AirlockStatus.RELEASED:
            raise Conflict(
                f"The request is {request.status.value.replace('_', ' ')}, not released.",
                state=request.status.value,
            )
        if request.direction is not Direction.EGRESS:
            raise Conflict("Imports stay inside: their files are in /imports of the project.")
        require_thawed_tre(session)  # of projects that have ended too: their members fetch what was released
        project = find_project(session, EVERYTHING, request.project_id)
        if project.status is ProjectStatus.FROZEN:
            raise Conflict("The project is frozen: nothing leaves it.", remedy="Ask a platform admin.")
        if deletion_of(session, request.id) is not None:
            raise Gone("The files were deleted when their retention was over; receipt and digests stay.")

    def _open(self, project_id: str, released: ReleasedFile) -> Download:
        file = self._blobs.open(project_id, BlobClass.RELEASED, released.sha256)
        return Download(released.name, released.size, released.sha256, file)
