"""The download forms of pages, which work without scripts, and the admin's page of releases."""

from __future__ import annotations

from typing import Annotated

from fastapi import Form, Query, Request, Response

from broch_airlock.release.answers import saved, stream
from broch_airlock.release.downloads import DownloadDesk
from broch_airlock.release.overseer import ReleaseOverseer
from broch_airlock.release.schemas import RecallNew
from broch_airlock.release.tickets import LONGEST
from broch_core.actions import Action
from broch_core.ids import Id
from broch_core.web.forms import PostedForm, check
from broch_core.web.guard import Who
from broch_core.web.pages import Pages
from broch_core.web.paging import PAGE
from broch_core.web.routing import Kind, Router, provided

router = Router("/airlock", kind=Kind.PAGE)
Desk = Annotated[DownloadDesk, provided(DownloadDesk)]
Overseer = Annotated[ReleaseOverseer, provided(ReleaseOverseer)]
Shell = Annotated[Pages, provided(Pages)]
_HERE = "/airlock/releases"


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


@router.get("/releases", action=Action.AIRLOCK_OVERSEE)
def releases_page(
    request: Request,
    actor: Who,
    overseer: Overseer,
    shell: Shell,
    before: Annotated[Id | None, Query()] = None,
) -> Response:
    """Show releases to a platform admin."""
    page = overseer.list(actor, before=before, limit=PAGE)
    more = f"{_HERE}?before={page.next}" if page.next else None
    return shell.render(request, "release/releases.html", {"entries": page.items, "more": more})


@router.post("/requests/{request_id}/retry", action=Action.AIRLOCK_RETRY)
def retry_release(request_id: Id, actor: Who, overseer: Overseer, shell: Shell) -> Response:
    """Try a failed release again."""
    overseer.retry(actor, request_id)
    return shell.redirect(_HERE, "The release is tried again.")


@router.post("/requests/{request_id}/recall", action=Action.AIRLOCK_RECALL)
def recall_release(
    request_id: Id, form: PostedForm, actor: Who, overseer: Overseer, shell: Shell
) -> Response:
    """Recall a release."""
    checked = check(RecallNew, {"reason": form["reason"]})
    if checked.body is None:
        overseer.require(actor, request_id)
        return shell.redirect(_HERE, "Say why it is recalled: members read it.", kind="bad")
    overseer.recall(actor, request_id, checked.body)
    return shell.redirect(_HERE, "Recalled. Nobody can download it any more.")
