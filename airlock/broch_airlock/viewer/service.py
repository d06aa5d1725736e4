"""Showing a file under review to one reviewer, once for each ticket."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from broch_airlock.facts import find_request, reach_request, request_resource, subject_of
from broch_airlock.release.schemas import TicketView
from broch_airlock.release.tickets import holder, issue, redeem
from broch_airlock.review.schemas import ViewTicketNew
from broch_airlock.tables import AirlockFile, AirlockRequest, TicketKind
from broch_core.actions import Action
from broch_core.actors import Actor
from broch_core.blobs import BlobClass, Blobs
from broch_core.errors import Conflict, Gone, NotFound
from broch_core.ids import existing_id
from broch_core.lifecycles import AirlockStatus
from broch_core.rules import require
from broch_core.scope import EVERYTHING
from broch_core.settings import Settings
from broch_core.store.unit import Store

PAGES_MOST = 1_000_000
"""Highest number of a part of a file that can be asked for."""


class Renderer(Protocol):
    """Turns a file into one inert HTML document, in a sandbox."""

    def render(self, path: Path, name: str, sha256: str, *, page: int) -> str:
        """Return the document; all parts inlined, no script, no link.

        Raises:
            DomainError: it cannot be shown; the sentence says why.
        """


class ViewDesk:
    """Makes view tickets and shows what they are for."""

    def __init__(self, store: Store, blobs: Blobs, settings: Settings, renderer: Renderer) -> None:
        self._store = store
        self._blobs = blobs
        self._settings = settings
        self._renderer = renderer

    def ticket(self, actor: Actor, request_id: str, file_id: str, body: ViewTicketNew) -> TicketView:
        """Make a ticket for one look at a file.

        Raises:
            NotFound: there is no such request or file.
            Denied: the actor is not independent of it.
            Conflict: the request is not in review, or the file has changed.
        """
        with self._store.write() as change:
            session = change.session
            request = reach_request(session, actor, Action.AIRLOCK_FILE_VIEW, request_id)
            file = session.get(AirlockFile, existing_id(file_id))
            if file is None or file.request_id != request.id:
                raise NotFound
            _require_in_review(request)
            if file.sha256 != body.sha256 or request.turn != body.turn:
                raise Conflict(
                    "The file has changed since this page was made.", remedy="Load the page again."
                )
            token, ticket = issue(change, actor, file, TicketKind.VIEW, self._settings.ticket_lifetime)
            change.audit(
                actor.person_id,
                Action.AIRLOCK_FILE_VIEW,
                subject_of(request),
                facts={"ticket": "made", "file": file.id, "sha256": file.sha256},
            )
        return TicketView(
            ticket=token, expires_at=ticket.expires_at, target=f"{self._settings.viewer_origin}/view"
        )

    def show(self, token: str, page: int) -> str:
        """Use a ticket up and return the rendered file.

        Raises:
            Gone: the ticket is not good, its session has ended, or the file has changed.
            NotFound: the reviewer's right has ended.
            Conflict: the request is not in review any more.
        """
        with self._store.write() as change:
            session = change.session
            ticket = redeem(change, token, TicketKind.VIEW)
            actor = holder(session, ticket)
            file = session.get_one(AirlockFile, ticket.file_id)
            request = find_request(session, EVERYTHING, file.request_id)
            require(actor, Action.AIRLOCK_FILE_VIEW, request_resource(session, actor, request))
            _require_in_review(request)
            if (file.sha256, file.turn) != (ticket.sha256, ticket.turn):
                raise Gone("The file has changed since this ticket was made.", remedy="Load the page again.")
            change.audit(
                actor.person_id,
                Action.AIRLOCK_FILE_VIEW,
                subject_of(request),
                facts={"ticket": "used", "file": file.id, "sha256": file.sha256, "page": page},
            )
        with self._blobs.local(request.project_id, BlobClass.HELD, file.sha256) as path:
            return self._renderer.render(path, file.name, file.sha256, page=page)


def _require_in_review(request: AirlockRequest) -> None:
    if request.status is not AirlockStatus.IN_REVIEW:
        raise Conflict(f"The request is {request.status.value.replace('_', ' ')}, not in review.")
