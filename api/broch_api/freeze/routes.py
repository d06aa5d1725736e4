"""API and pages of a freeze of the whole TRE."""

from __future__ import annotations

from typing import Annotated

from fastapi import Response

from broch_api.freeze.schemas import FreezeBegin, FreezeView
from broch_api.freeze.service import FreezeDesk
from broch_core.actions import Action
from broch_core.errors import Conflict
from broch_core.rules import require
from broch_core.web.forms import PostedForm, check
from broch_core.web.guard import Who
from broch_core.web.pages import Pages
from broch_core.web.routing import Kind, Router, provided

router = Router("/api/v1/freeze", tag="status")
pages = Router("/status/freeze", kind=Kind.PAGE)
Desk = Annotated[FreezeDesk, provided(FreezeDesk)]
Shell = Annotated[Pages, provided(Pages)]


@router.get("", action=Action.TRE_READ)
def read_freeze(actor: Who, desk: Desk) -> FreezeView:
    """Say whether the whole TRE is frozen, and how much of what ran was seen gone."""
    return desk.state(actor)


@router.post("", action=Action.TRE_FREEZE, status_code=201)
def begin_freeze(body: FreezeBegin, actor: Who, desk: Desk) -> FreezeView:
    """Freeze the whole TRE at once: workspaces of all projects, downloads, releases, new starts."""
    return desk.begin(actor, body)


@router.delete("", action=Action.TRE_UNFREEZE)
def end_freeze(actor: Who, desk: Desk) -> FreezeView:
    """Thaw what the freeze froze; projects that were frozen before stay so. Without a freeze nothing changes."""
    return desk.end(actor)


@pages.post("", action=Action.TRE_FREEZE)
def begin_freeze_here(form: PostedForm, actor: Who, desk: Desk, shell: Shell) -> Response:
    """Freeze the whole TRE from the page of status."""
    require(actor, Action.TRE_FREEZE)
    checked = check(FreezeBegin, {"reason": form["reason"]})
    if checked.body is None:
        return shell.redirect("/status", f"Nothing was frozen. {checked.errors['reason']}", kind="warn")
    try:
        begun = desk.begin(actor, checked.body)
    except Conflict as error:
        return shell.redirect("/status", error.detail, kind="warn")
    undo = {"action": "/status/freeze/end", "label": "Thaw it again", "fields": {}}
    said = f"The whole TRE is frozen: {begun.projects} projects stop now."
    return shell.redirect("/status", said, undo=undo)


@pages.post("/end", action=Action.TRE_UNFREEZE)
def end_freeze_here(actor: Who, desk: Desk, shell: Shell) -> Response:
    """Thaw the TRE from the page of status."""
    desk.end(actor)
    return shell.redirect("/status", "The TRE is not frozen any more.")
