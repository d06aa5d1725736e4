"""Pages of the workspace that members of a project share."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Request, Response

from broch_api.workspaces.pages import STEPS, note_of
from broch_api.workspaces.schemas import SharedView
from broch_api.workspaces.service import WorkspaceDesk
from broch_api.workspaces.shared import SharedDesk
from broch_core.actions import Action
from broch_core.actors import Actor
from broch_core.ids import Id
from broch_core.lifecycles import WorkspaceStatus
from broch_core.rules import Resource, decide
from broch_core.web.forms import PostedForm
from broch_core.web.guard import Who
from broch_core.web.pages import Pages
from broch_core.web.routing import Kind, Router, provided

router = Router("/projects/{project_id}/shared", kind=Kind.PAGE)
Desk = Annotated[SharedDesk, provided(SharedDesk)]
Own = Annotated[WorkspaceDesk, provided(WorkspaceDesk)]
Shell = Annotated[Pages, provided(Pages)]
_RELOAD = {"HX-Refresh": "true", "Cache-Control": "no-store"}
_FRESH = "What is in the project folder is kept between starts, and nothing else."


@router.get("", action=Action.SHARED_ENTER)
def shared_page(request: Request, project_id: Id, actor: Who, desk: Desk, own: Own, shell: Shell) -> Response:
    """Show the shared workspace: its notebook, its start, or why there is none."""
    view = desk.view(actor, project_id, Action.SHARED_ENTER)
    lacks, entry = own.browser_lacks_in(actor, project_id)
    context = _frame(actor, view) | {
        "warning": lacks,
        "refused": None if entry.allowed else entry.reason,
        "profiles": own.profiles,
        "profile": view.workspace.profile if view.workspace else None,
    }
    return shell.render(request, "workspace_frame.html", {"workspace": context})


@router.post("", action=Action.SHARED_OPEN)
def open_shared(project_id: Id, form: PostedForm, actor: Who, desk: Desk, shell: Shell) -> Response:
    """Open the shared workspace, and show its start."""
    desk.open(actor, project_id, form["profile"] or None)
    return shell.redirect(f"/projects/{project_id}/shared")


@router.post("/leave", action=Action.SHARED_LEAVE)
def leave_shared(project_id: Id, actor: Who, desk: Desk, shell: Shell) -> Response:
    """Leave the shared workspace."""
    desk.leave(actor, project_id)
    return shell.redirect(f"/projects/{project_id}", "You left the shared workspace. The others go on.")


@router.post("/stop", action=Action.SHARED_STOP)
def stop_shared(project_id: Id, actor: Who, desk: Desk, shell: Shell) -> Response:
    """Stop the shared workspace for all."""
    desk.stop(actor, project_id)
    return shell.redirect(f"/projects/{project_id}", "The shared workspace is stopping.")


@router.get("/stage", action=Action.SHARED_ENTER)
def shared_stage(request: Request, project_id: Id, actor: Who, desk: Desk, shell: Shell) -> Response:
    """Answer the page's question how far the start is; once it is over, have the page loaded again."""
    view = desk.view(actor, project_id, Action.SHARED_ENTER)
    if view.status is not WorkspaceStatus.STARTING:
        return Response(status_code=200, headers=_RELOAD)
    return shell.render(request, "fragments/workspace_stage.html", {"workspace": _frame(actor, view)})


@router.get("/watch", action=Action.SHARED_ENTER)
def shared_watch(request: Request, project_id: Id, actor: Who, desk: Desk, shell: Shell) -> Response:
    """Say who is in it and how much it showed; have the page loaded again when it no longer runs."""
    view = desk.view(actor, project_id, Action.SHARED_ENTER)
    if view.status is not WorkspaceStatus.RUNNING:
        return Response(status_code=200, headers=_RELOAD)
    return shell.render(request, "workspaces/_shown.html", {"shown": view.workspace, "people": view.present})


@router.get("/card", action=Action.SHARED_READ)
def shared_card(request: Request, project_id: Id, actor: Who, desk: Desk, shell: Shell) -> Response:
    """Fill the card of the project's page with the present state."""
    view = desk.view(actor, project_id)
    return shell.render(request, "workspaces/_shared_card.html", {"shared": view})


def _frame(actor: Actor, view: SharedView) -> dict[str, Any]:
    here = f"/projects/{view.project.id}/shared"
    about = Resource("workspace", None, view.project.id, shared=True)
    known, state = view.workspace, view.status.value
    message, _, log = (known.message or "" if known else "").partition("\n")
    starts = view.closed is None and state != WorkspaceStatus.STOPPING
    return {
        "shared": True,
        "notice": view.notice,
        "people": view.present,
        "project_name": view.project.name,
        "project_href": f"/projects/{view.project.id}",
        "state": state,
        "until": known.deadline_at if known else None,
        "src": known.url if known else None,
        "stop_action": f"{here}/stop" if decide(actor, Action.SHARED_STOP, about).allowed else None,
        "leave_action": f"{here}/leave",
        "start_action": here if starts else None,
        "airlock_href": None,
        "airlock_state": None,
        "progress_href": f"{here}/stage",
        "watch_href": f"{here}/watch",
        "steps": STEPS if state == WorkspaceStatus.STARTING else (),
        "step": 2 if known and known.planned else 1,
        "message": message or view.closed or note_of(state, _FRESH),
        "log": log,
    }
