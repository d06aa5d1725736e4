"""The download forms of pages; they work without scripts."""

from __future__ import annotations

from typing import Annotated

from fastapi import Form, Response

from broch_airlock.release.answers import saved, stream
from broch_airlock.release.downloads import DownloadDesk
from broch_airlock.release.tickets import LONGEST
from broch_core.actions import Action
from broch_core.ids import Id
from broch_core.web.guard import Who
from broch_core.web.routing import Kind, Router, provided

router = Router("/airlock", kind=Kind.PAGE)
Desk = Annotated[DownloadDesk, provided(DownloadDesk)]


@router.post("/download", action=Action.AIRLOCK_DOWNLOAD)
def redeem_ticket(ticket: Annotated[str, Form(max_length=LONGEST)], actor: Who, desk: Desk) -> Response:
    """Use a download ticket."""
    return stream(desk.redeem(actor, ticket))


@router.post("/requests/{request_id}/files/{file_id}/download", action=Action.AIRLOCK_DOWNLOAD)
def download_file(request_id: Id, file_id: Id, actor: Who, desk: Desk) -> Response:
    """Download a released result by one press of a button."""
    return stream(desk.download(actor, request_id, file_id))


@router.get("/requests/{request_id}/receipt", action=Action.AIRLOCK_RECEIPT)
def save_receipt(request_id: Id, actor: Who, desk: Desk) -> Response:
    """Save the receipt of a release."""
    return saved(desk.receipt(actor, request_id), "receipt.json")
