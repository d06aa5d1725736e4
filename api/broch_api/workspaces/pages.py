"""Pages of workspaces: the list, and the page that frames one."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Request, Response

from broch_api.workspaces.schemas import WorkspaceView
from broch_api.workspaces.service import WorkspaceDesk
from broch_core.actions import Action
from broch_core.actors import PlatformRole
from broch_core.clock import utc_now
from broch_core.ids import Id
from broch_core.lifecycles import WorkspaceStatus
from broch_core.scope import not_running
from broch_core.tables.projects import Project
from broch_core.web.forms import PostedForm
from broch_core.web.guard import Who
from broch_core.web.pages import Pages
from broch_core.web.paging import PAGE, Before
from broch_core.web.routing import Kind, Router, provided

router = Router("", kind=Kind.PAGE)
Desk = Annotated[WorkspaceDesk, provided(WorkspaceDesk)]
Shell = Annotated[Pages, provided(Pages)]

STEPS = ("Rights and data are checked", "The hub takes it over", "Sandbox and notebook start")
_RELOAD = {"HX-Refresh": "true", "Cache-Control": "no-store"}
_FRESH = "Its files are kept between starts."


@router.get("/workspaces", action=Action.WORKSPACE_LIST)
def workspaces_page(
    request: Request, actor: Who, desk: Desk, shell: Shell, before: Before = None
) -> Response:
    """Show your workspaces; a platform admin sees everybody's."""
    page = desk.list(actor, before=before, limit=PAGE)
    everybody = actor.has(PlatformRole.ADMIN)
    context = {"page": page, "before": before, "everybody": everybody}
    return shell.render(request, "workspaces/list.html", context)


@router.post("/workspaces/{workspace_id}/stop", action=Action.WORKSPACE_STOP)
def stop_workspace(workspace_id: Id, actor: Who, desk: Desk, shell: Shell) -> Response:
    """Stop a workspace from the list."""
    stopped = desk.stop(actor, workspace_id)
    return shell.redirect("/workspaces", f"The workspace in {stopped.project.name} is stopping.")


@router.get("/projects/{project_id}/workspace", action=Action.WORKSPACE_OPEN)
def workspace_page(request: Request, project_id: Id, actor: Who, desk: Desk, shell: Shell) -> Response:
    """Show your workspace in a project: its notebook, its start, or why there is none."""
    project, view = desk.mine(actor, project_id)
    lacks, entry = desk.browser_lacks(actor, project)
    context = _frame(project, view) | {
        "warning": lacks,
        "refused": None if entry.allowed else entry.reason,
        "profiles": desk.profiles,
        "profile": view.profile if view else None,
    }
    return shell.render(request, "workspace_frame.html", {"workspace": context})


@router.post("/projects/{project_id}/workspace", action=Action.WORKSPACE_OPEN)
def open_workspace(project_id: Id, form: PostedForm, actor: Who, desk: Desk, shell: Shell) -> Response:
    """Open your workspace in a project, and show its start."""
    desk.open(actor, project_id, form["profile"] or None)
    return shell.redirect(f"/projects/{project_id}/workspace")


@router.get("/projects/{project_id}/workspace/stage", action=Action.WORKSPACE_OPEN)
def workspace_stage(request: Request, project_id: Id, actor: Who, desk: Desk, shell: Shell) -> Response:
    """Answer the page's question how far the start is; once it is over, have the page loaded again."""
    project, view = desk.mine(actor, project_id)
    if view is None or view.status is not WorkspaceStatus.STARTING:
        return Response(status_code=200, headers=_RELOAD)
    return shell.render(request, "fragments/workspace_stage.html", {"workspace": _frame(project, view)})


@router.get("/projects/{project_id}/workspace/watch", action=Action.WORKSPACE_OPEN)
def workspace_watch(request: Request, project_id: Id, actor: Who, desk: Desk, shell: Shell) -> Response:
    """Say how much the notebook showed; have the page loaded again when the workspace no longer runs."""
    _, view = desk.mine(actor, project_id)
    if view is None or view.status is not WorkspaceStatus.RUNNING:
        return Response(status_code=200, headers=_RELOAD)
    return shell.render(request, "workspaces/_shown.html", {"shown": view})


@router.get("/projects/{project_id}/workspace/card", action=Action.WORKSPACE_OPEN)
def workspace_card(request: Request, project_id: Id, actor: Who, desk: Desk, shell: Shell) -> Response:
    """Fill the card of the project's page with the present state."""
    project, view = desk.mine(actor, project_id)
    context = {"project": project, "workspace": view, "profiles": desk.profiles, "shut": _shut(project)}
    return shell.render(request, "workspaces/_card.html", context)


def _frame(project: Project, view: WorkspaceView | None) -> dict[str, Any]:
    here = f"/projects/{project.id}/workspace"
    message, _, log = (view.message or "" if view else "").partition("\n")
    state = view.status.value if view else WorkspaceStatus.STOPPED.value
    shut = _shut(project)
    return {
        "project_name": project.name,
        "project_href": f"/projects/{project.id}",
        "state": state,
        "until": view.deadline_at if view else None,
        "src": view.url if view else None,
        "stop_action": f"/workspaces/{view.id}/stop" if view else None,
        "start_action": here if state != WorkspaceStatus.STOPPING and shut is None else None,
        "shut": shut,
        "airlock_href": f"/airlock?project_id={project.id}",
        "airlock_state": None,
        "airlock_fragment": f"/airlock/fragment?project={project.id}",
        "progress_href": f"{here}/stage",
        "watch_href": f"{here}/watch",
        "steps": STEPS
        if state == WorkspaceStatus.STARTING
        else (),  # a failure may come long after the start
        "step": 2 if view and view.planned else 1,
        "message": message or note_of(state, _FRESH),
        "log": log,
    }


def _shut(project: Project) -> str | None:
    """Say why no workspace of a project can be started; nothing where it can."""
    why = not_running(project, utc_now())
    return f"{why.detail} {why.remedy or ''}".strip() if why is not None else None


def note_of(state: str, usual: str) -> str:
    """Return what is said of a state that has no message of its own."""
    return {
        WorkspaceStatus.STARTING.value: "This takes a few seconds.",
        WorkspaceStatus.STOPPING.value: "It is stopping. Load the page again in a moment.",
    }.get(state, usual)
