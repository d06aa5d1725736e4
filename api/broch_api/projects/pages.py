"""Pages of projects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any

from fastapi import Request, Response

from broch_api.projects.members import MemberRegister
from broch_api.projects.schemas import (
    BrowserPolicyChoice,
    IdleStopChoice,
    MemberAdd,
    ProjectCreate,
    ProjectDetail,
    SharedWorkspaceChoice,
)
from broch_api.projects.service import ACTIONS, ProjectRegister
from broch_api.revocations.service import RevocationDesk
from broch_core.actions import Action
from broch_core.actors import Actor, ProjectRole
from broch_core.confinement import BrowserPolicy
from broch_core.errors import Conflict, Invalid
from broch_core.ids import Id
from broch_core.lifecycles import ProjectEvent, ProjectStatus
from broch_core.rules import Resource, decide, require
from broch_core.web.forms import PostedForm, check
from broch_core.web.guard import Who
from broch_core.web.pages import Pages
from broch_core.web.paging import PAGE, Before
from broch_core.web.routing import Kind, Router, provided

router = Router("/projects", kind=Kind.PAGE)
Projects = Annotated[ProjectRegister, provided(ProjectRegister)]
Members = Annotated[MemberRegister, provided(MemberRegister)]
Revocations = Annotated[RevocationDesk, provided(RevocationDesk)]
Shell = Annotated[Pages, provided(Pages)]

_STEP: Mapping[ProjectStatus, int] = {
    ProjectStatus.PLANNED: 0,
    ProjectStatus.ACTIVE: 1,
    ProjectStatus.FROZEN: 1,
    ProjectStatus.ENDED: 3,
}
_DONE: Mapping[ProjectEvent, str] = {
    ProjectEvent.ACTIVATE: "The project is active. Members can open their workspaces.",
    ProjectEvent.FREEZE: "The project is frozen. Its workspaces stop now.",
    ProjectEvent.THAW: "The project is active again.",
    ProjectEvent.END: "The project has ended.",
}
_UNDO: Mapping[ProjectEvent, tuple[ProjectEvent, str]] = {
    ProjectEvent.FREEZE: (ProjectEvent.THAW, "Thaw it again"),
    ProjectEvent.THAW: (ProjectEvent.FREEZE, "Freeze it again"),
}
_BROWSERS: Mapping[BrowserPolicy, str] = {
    BrowserPolicy.ALLOW: "Every browser may open workspaces of this project.",
    BrowserPolicy.WARN: "Browsers without Connection-Allowlist are warned.",
    BrowserPolicy.REFUSE: "Browsers without Connection-Allowlist are refused. Workspaces that were open stop now.",
}
_FIELDS = ("slug", "name", "purpose", "starts_on", "ends_on")


def day_end(day: date) -> datetime:
    """Return the moment at which a last day is over (UTC)."""
    return datetime.combine(day + timedelta(days=1), time(), UTC)


@router.get("", action=Action.PROJECT_LIST)
def projects_page(
    request: Request, actor: Who, projects: Projects, shell: Shell, before: Before = None
) -> Response:
    """Show the projects that one may see."""
    context = {
        "page": projects.list(actor, before=before, limit=PAGE),
        "before": before,
        "day_end": day_end,
        "may_create": decide(actor, Action.PROJECT_CREATE).allowed,
    }
    return shell.render(request, "projects/list.html", context)


@router.get("/new", action=Action.PROJECT_CREATE)
def new_project_page(request: Request, actor: Who, shell: Shell) -> Response:
    """Show the form of a new project."""
    require(actor, Action.PROJECT_CREATE)
    return shell.render(request, "projects/new.html", {"values": {}, "errors": {}})


@router.post("", action=Action.PROJECT_CREATE)
def create_project(
    request: Request, form: PostedForm, actor: Who, projects: Projects, shell: Shell
) -> Response:
    """Create a project from the form."""
    require(actor, Action.PROJECT_CREATE)
    given = {name: form[name] for name in _FIELDS}
    checked = check(ProjectCreate, given)
    errors = checked.errors
    if checked.body is not None:
        try:
            project = projects.create(actor, checked.body)
        except (Conflict, Invalid) as error:
            errors = checked.refused(error)
        else:
            return shell.redirect(
                f"/projects/{project.id}", "The project is planned. Add its members, then activate it."
            )
    return shell.render(request, "projects/new.html", {"values": given, "errors": errors}, status=422)


@router.get("/{project_id}", action=Action.PROJECT_READ)
def project_page(
    request: Request,
    project_id: Id,
    actor: Who,
    projects: Projects,
    revocations: Revocations,
    shell: Shell,
) -> Response:
    """Show one project."""
    context = _context(actor, projects.detail(actor, project_id))
    ended = [(None, view) for view in revocations.of_project(actor, project_id)]
    return shell.render(request, "projects/detail.html", context | {"ended": ended})


def _move(event: ProjectEvent) -> Callable[..., Response]:
    def move(project_id: Id, actor: Who, projects: Projects, shell: Shell) -> Response:
        here = f"/projects/{project_id}"
        try:
            projects.move(actor, project_id, event)
        except Conflict as error:
            return shell.redirect(here, f"{error.detail} {error.remedy or ''}".strip(), kind="warn")
        undo = _UNDO.get(event)
        return shell.redirect(
            here,
            _DONE[event],
            undo={"action": f"{here}/{undo[0].value}", "label": undo[1], "fields": {}} if undo else None,
        )

    move.__doc__ = f"Move a project by '{event.value}'."
    return move


for _event, _action in ACTIONS.items():
    router.post(f"/{{project_id}}/{_event.value}", action=_action)(_move(_event))


@router.post("/{project_id}/browser-policy", action=Action.PROJECT_BROWSER_POLICY)
def choose_browsers(
    project_id: Id, form: PostedForm, actor: Who, projects: Projects, shell: Shell
) -> Response:
    """Say what browsers without `Connection-Allowlist` are told."""
    checked = check(BrowserPolicyChoice, {"policy": form["policy"]})
    if checked.body is None:
        raise Invalid("Choose one of the options.", field="policy")
    projects.choose_browsers(actor, project_id, checked.body.policy)
    return shell.redirect(f"/projects/{project_id}", _BROWSERS[checked.body.policy])


@router.post("/{project_id}/idle-stop", action=Action.PROJECT_IDLE_STOP)
def choose_idle_stop(
    project_id: Id, form: PostedForm, actor: Who, projects: Projects, shell: Shell
) -> Response:
    """Say how long a workspace may be idle before it is stopped."""
    checked = check(IdleStopChoice, {"minutes": form["minutes"].strip() or None})
    if checked.body is None:
        raise Invalid(
            "Give minutes as a whole number: 0 for never, nothing for the platform's.", field="minutes"
        )
    projects.choose_idle_stop(actor, project_id, checked.body.minutes)
    return shell.redirect(f"/projects/{project_id}", "It holds for workspaces that start from now on.")


@router.post("/{project_id}/shared-workspace", action=Action.PROJECT_SHARED_WORKSPACE)
def allow_shared(project_id: Id, form: PostedForm, actor: Who, projects: Projects, shell: Shell) -> Response:
    """Say whether members may work in one workspace together."""
    checked = check(SharedWorkspaceChoice, {"allowed": form["allowed"]})
    if checked.body is None:
        raise Invalid("Choose one of the options.", field="allowed")
    projects.allow_shared(actor, project_id, allowed=checked.body.allowed)
    text = (
        "Members may work in one workspace together. What a cell does there is the project's act."
        if checked.body.allowed
        else "There is no shared workspace any more. If one ran, it stops now."
    )
    return shell.redirect(f"/projects/{project_id}", text)


@router.post("/{project_id}/members", action=Action.MEMBER_ADD)
def add_member(
    request: Request,
    project_id: Id,
    form: PostedForm,
    actor: Who,
    members: Members,
    projects: Projects,
    shell: Shell,
) -> Response:
    """Make somebody a member."""
    require(actor, Action.MEMBER_ADD, Resource("project", project_id, project_id))
    given = {name: form[name] for name in ("handle", "role", "last_day")}
    checked = check(MemberAdd, given)
    errors = checked.errors
    if checked.body is not None:
        try:
            added = members.add(actor, project_id, checked.body)
        except (Conflict, Invalid) as error:
            errors = checked.refused(error)
        else:
            name = added.person.display_name
            if added.reviewer:
                text = (
                    f"{name} is a member. As an airlock reviewer, {name} may never again review this project."
                )
                return shell.redirect(f"/projects/{project_id}", text, kind="warn")
            return shell.redirect(f"/projects/{project_id}", f"{name} is a member.")
    context = _context(actor, projects.detail(actor, project_id)) | {"values": given, "errors": errors}
    return shell.render(request, "projects/detail.html", context, status=422)


@router.post("/{project_id}/members/{membership_id}/remove", action=Action.MEMBER_REMOVE)
def remove_member(project_id: Id, membership_id: Id, actor: Who, members: Members, shell: Shell) -> Response:
    """End a membership."""
    here = f"/projects/{project_id}"
    try:
        gone = members.remove(actor, project_id, membership_id)
    except Conflict as error:
        return shell.redirect(here, error.detail, kind="warn")
    return shell.redirect(
        here,
        f"{gone.person.display_name} is no longer a member.",
        undo={
            "action": f"{here}/members",
            "label": "Add again",
            "fields": {"handle": gone.person.handle, "role": gone.role.value},
        },
    )


def _context(actor: Actor, project: ProjectDetail) -> dict[str, Any]:
    about = Resource("project", project.id, project.id)
    return {
        "project": project,
        "step": _STEP[project.status],
        "ends_at": day_end(project.ends_on),
        "events": [e.value for e in project.possible if decide(actor, ACTIONS[e], about).allowed],
        "may_manage": decide(actor, Action.MEMBER_ADD, about).allowed
        and project.status is not ProjectStatus.ENDED,
        "may_choose_browsers": decide(actor, Action.PROJECT_BROWSER_POLICY, about).allowed,
        "may_choose_idle": decide(actor, Action.PROJECT_IDLE_STOP, about).allowed,
        "may_choose_shared": decide(actor, Action.PROJECT_SHARED_WORKSPACE, about).allowed,
        "shared_options": [("false", "Not allowed"), ("true", "Allowed")],
        "browser_options": [(policy.value, policy.value.capitalize()) for policy in BrowserPolicy],
        "is_member": actor.is_member(project.id),
        "role_options": [(role.value, role.value.capitalize()) for role in ProjectRole],
        "values": {},
        "errors": {},
        "ended": [],
    }
