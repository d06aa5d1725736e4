"""API of workspaces."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from broch_api.workspaces.schemas import WorkspaceOpen, WorkspaceView
from broch_api.workspaces.service import WorkspaceDesk
from broch_core.actions import Action
from broch_core.ids import Id
from broch_core.web.guard import Who
from broch_core.web.paging import PAGE, Before, Limit, Page
from broch_core.web.routing import Router, provided

router = Router("/api/v1/workspaces", tag="workspaces")
Desk = Annotated[WorkspaceDesk, provided(WorkspaceDesk)]
InProject = Annotated[Id | None, Query(description="Only those of this project.")]


@router.get("", action=Action.WORKSPACE_LIST)
def list_workspaces(
    actor: Who, desk: Desk, project_id: InProject = None, before: Before = None, limit: Limit = PAGE
) -> Page[WorkspaceView]:
    """List your workspaces, newest first; a platform admin sees everybody's."""
    return desk.list(actor, before=before, limit=limit, project_id=project_id)


@router.post("", action=Action.WORKSPACE_OPEN, status_code=202)
def open_workspace(body: WorkspaceOpen, actor: Who, desk: Desk) -> WorkspaceView:
    """Open your workspace in a project. It starts in the background: read it until it is running or failed."""
    return desk.open(actor, body.project_id, body.profile)


@router.get("/{workspace_id}", action=Action.WORKSPACE_READ)
def read_workspace(workspace_id: Id, actor: Who, desk: Desk) -> WorkspaceView:
    """Read one workspace: its state, when it stops, why it failed."""
    return desk.read(actor, workspace_id)


@router.post("/{workspace_id}/stop", action=Action.WORKSPACE_STOP, status_code=202)
def stop_workspace(workspace_id: Id, actor: Who, desk: Desk) -> WorkspaceView:
    """Stop a workspace. Its rights end at once; its server ends in the background."""
    return desk.stop(actor, workspace_id)
