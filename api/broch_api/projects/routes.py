"""API of projects and their members."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from broch_api.projects.members import MemberRegister
from broch_api.projects.schemas import (
    BrowserPolicyChoice,
    IdleStopChoice,
    MemberAdd,
    MemberView,
    ProjectCreate,
    ProjectDetail,
    ProjectView,
    SharedWorkspaceChoice,
)
from broch_api.projects.service import ProjectRegister
from broch_core.actions import Action
from broch_core.ids import Id
from broch_core.lifecycles import ProjectEvent
from broch_core.web.guard import Who
from broch_core.web.paging import PAGE, Before, Limit, Page
from broch_core.web.routing import Router, provided
from broch_core.web.texts import Slug

router = Router("/api/v1/projects", tag="projects")
Projects = Annotated[ProjectRegister, provided(ProjectRegister)]
Members = Annotated[MemberRegister, provided(MemberRegister)]
WithSlug = Annotated[Slug | None, Query(description="Only the one with this slug.")]


@router.get("", action=Action.PROJECT_LIST)
def list_projects(
    actor: Who, projects: Projects, before: Before = None, limit: Limit = PAGE, slug: WithSlug = None
) -> Page[ProjectView]:
    """List your projects, newest first; a platform admin sees all."""
    return projects.list(actor, before=before, limit=limit, slug=slug)


@router.post("", action=Action.PROJECT_CREATE, status_code=201)
def create_project(body: ProjectCreate, actor: Who, projects: Projects) -> ProjectView:
    """Create a project; work begins when it is activated."""
    return projects.create(actor, body)


@router.get("/{project_id}", action=Action.PROJECT_READ)
def read_project(project_id: Id, actor: Who, projects: Projects) -> ProjectDetail:
    """Read a project with its members, grants and permissions to export."""
    return projects.detail(actor, project_id)


@router.post("/{project_id}/activate", action=Action.PROJECT_ACTIVATE)
def activate_project(project_id: Id, actor: Who, projects: Projects) -> ProjectView:
    """Let work begin in a planned project."""
    return projects.move(actor, project_id, ProjectEvent.ACTIVATE)


@router.post("/{project_id}/freeze", action=Action.PROJECT_FREEZE)
def freeze_project(project_id: Id, actor: Who, projects: Projects) -> ProjectView:
    """Stop everything in a project at once: workspaces, downloads, releases."""
    return projects.move(actor, project_id, ProjectEvent.FREEZE)


@router.post("/{project_id}/thaw", action=Action.PROJECT_THAW)
def thaw_project(project_id: Id, actor: Who, projects: Projects) -> ProjectView:
    """Let work go on in a frozen project."""
    return projects.move(actor, project_id, ProjectEvent.THAW)


@router.post("/{project_id}/end", action=Action.PROJECT_END)
def end_project(project_id: Id, actor: Who, projects: Projects) -> ProjectView:
    """End a project for good."""
    return projects.move(actor, project_id, ProjectEvent.END)


@router.post("/{project_id}/browser-policy", action=Action.PROJECT_BROWSER_POLICY)
def choose_browsers(project_id: Id, body: BrowserPolicyChoice, actor: Who, projects: Projects) -> ProjectView:
    """Say what a browser without `Connection-Allowlist` is told; `refuse` stops the workspaces that are open."""
    return projects.choose_browsers(actor, project_id, body.policy)


@router.post("/{project_id}/idle-stop", action=Action.PROJECT_IDLE_STOP)
def choose_idle_stop(project_id: Id, body: IdleStopChoice, actor: Who, projects: Projects) -> ProjectView:
    """Say how long a workspace may be idle before it is stopped; it holds for starts from now on."""
    return projects.choose_idle_stop(actor, project_id, body.minutes)


@router.post("/{project_id}/shared-workspace", action=Action.PROJECT_SHARED_WORKSPACE)
def allow_shared(project_id: Id, body: SharedWorkspaceChoice, actor: Who, projects: Projects) -> ProjectView:
    """Say whether members may work in one workspace together: what a cell did there is the project's act, not a person's."""
    return projects.allow_shared(actor, project_id, allowed=body.allowed)


@router.get("/{project_id}/members", action=Action.PROJECT_READ)
def list_members(project_id: Id, actor: Who, members: Members) -> list[MemberView]:
    """List everybody who is or was a member: present ones first."""
    return members.history(actor, project_id)


@router.post("/{project_id}/members", action=Action.MEMBER_ADD, status_code=201)
def add_member(project_id: Id, body: MemberAdd, actor: Who, members: Members) -> MemberView:
    """Make somebody a member. A reviewer who becomes one may never again review this project's requests."""
    return members.add(actor, project_id, body)


@router.delete("/{project_id}/members/{membership_id}", action=Action.MEMBER_REMOVE)
def remove_member(project_id: Id, membership_id: Id, actor: Who, members: Members) -> MemberView:
    """End a membership now; it stays in the history."""
    return members.remove(actor, project_id, membership_id)
