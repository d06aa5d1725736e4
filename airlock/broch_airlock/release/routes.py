"""API of downloads, receipts, recalls and the public keys."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Response
from fastapi.responses import StreamingResponse

from broch_airlock.release.answers import saved, stream
from broch_airlock.release.downloads import DownloadDesk
from broch_airlock.release.overseer import ReleaseOverseer
from broch_airlock.release.schemas import RecallNew, ReleaseEntry, TicketView
from broch_core.actions import Action
from broch_core.ids import Id
from broch_core.proof import KeyFolder
from broch_core.web.guard import Who
from broch_core.web.paging import PAGE, Before, Limit, Page
from broch_core.web.routing import Router, provided

router = Router("/api/v1/airlock", tag="airlock releases")
Desk = Annotated[DownloadDesk, provided(DownloadDesk)]
Overseer = Annotated[ReleaseOverseer, provided(ReleaseOverseer)]
Keys = Annotated[KeyFolder, provided(KeyFolder)]

_BYTES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The released bytes.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
_JSON: dict[int | str, dict[str, Any]] = {
    200: {"description": "The document.", "content": {"application/json": {"schema": {"type": "object"}}}}
}


@router.post(
    "/requests/{request_id}/files/{file_id}/tickets", action=Action.AIRLOCK_DOWNLOAD, status_code=201
)
def make_ticket(request_id: Id, file_id: Id, actor: Who, desk: Desk) -> TicketView:
    """Make a ticket for one download of a released result, good for a minute."""
    return desk.ticket(actor, request_id, file_id)


@router.post(
    "/requests/{request_id}/files/{file_id}/download",
    action=Action.AIRLOCK_DOWNLOAD,
    response_class=StreamingResponse,
    responses=_BYTES,
)
def download_file(request_id: Id, file_id: Id, actor: Who, desk: Desk) -> StreamingResponse:
    """Download a released result: a ticket made and used in one call."""
    return stream(desk.download(actor, request_id, file_id))


@router.get(
    "/requests/{request_id}/receipt",
    action=Action.AIRLOCK_RECEIPT,
    response_class=Response,
    responses=_JSON,
)
def read_receipt(request_id: Id, actor: Who, desk: Desk) -> Response:
    """Save the receipt of a release; `broch verify` checks it without a server."""
    return saved(desk.receipt(actor, request_id), "receipt.json")


@router.get("/trust.json", action=Action.PUBLIC_READ, response_class=Response, responses=_JSON)
def read_trust(keys: Keys) -> Response:
    """Save the public keys that receipts are verified by."""
    return saved(keys.trust().dump(), "trust.json")


@router.get("/recalls.json", action=Action.PUBLIC_READ, response_class=Response, responses=_JSON)
def read_recalls(overseer: Overseer) -> Response:
    """Save the signed list of recalled releases; `broch verify --recalls` takes it."""
    return saved(overseer.recalls(), "recalls.json")


@router.get("/releases", action=Action.AIRLOCK_OVERSEE)
def list_releases(
    actor: Who, overseer: Overseer, before: Before = None, limit: Limit = PAGE
) -> Page[ReleaseEntry]:
    """List what was released, recalled or failed, newest first."""
    return overseer.list(actor, before=before, limit=limit)


@router.post("/requests/{request_id}/retry", action=Action.AIRLOCK_RETRY)
def retry_release(request_id: Id, actor: Who, overseer: Overseer) -> ReleaseEntry:
    """Try a failed release again."""
    return overseer.retry(actor, request_id)


@router.post("/requests/{request_id}/recall", action=Action.AIRLOCK_RECALL)
def recall_release(request_id: Id, body: RecallNew, actor: Who, overseer: Overseer) -> ReleaseEntry:
    """Recall a release: no more downloads, imports are taken back, and the list of recalls names it."""
    return overseer.recall(actor, request_id, body)
