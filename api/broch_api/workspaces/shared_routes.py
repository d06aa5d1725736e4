"""API of the workspace that members of a project share."""

from __future__ import annotations

from typing import Annotated

from broch_api.workspaces.schemas import SharedOpen, SharedView
from broch_api.workspaces.shared import SharedDesk
from broch_core.actions import Action
from broch_core.ids import Id
from broch_core.web.guard import Who
from broch_core.web.routing import Router, provided

router = Router("/api/v1/projects/{project_id}/shared-workspace", tag="workspaces")
Desk = Annotated[SharedDesk, provided(SharedDesk)]


@router.get("", action=Action.SHARED_READ)
def read_shared(project_id: Id, actor: Who, desk: Desk) -> SharedView:
    """Read how the shared workspace is, and who is in it."""
    return desk.view(actor, project_id)


@router.post("/open", action=Action.SHARED_OPEN, status_code=202)
def open_shared(project_id: Id, body: SharedOpen, actor: Who, desk: Desk) -> SharedView:
    """Open the shared workspace. It starts in the background; each member then enters it in a browser."""
    return desk.open(actor, project_id, body.profile)


@router.post("/leave", action=Action.SHARED_LEAVE)
def leave_shared(project_id: Id, actor: Who, desk: Desk) -> SharedView:
    """Leave the shared workspace with your present session. The others go on."""
    return desk.leave(actor, project_id)


@router.post("/stop", action=Action.SHARED_STOP, status_code=202)
def stop_shared(project_id: Id, actor: Who, desk: Desk) -> SharedView:
    """Stop the shared workspace for all. Its rights end at once; its server ends in the background."""
    return desk.stop(actor, project_id)
