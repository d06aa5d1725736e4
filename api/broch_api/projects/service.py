"""The register of projects: who sees which, their life cycle, what hangs on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sqlmodel import Session, col, select

from broch_api.datasets.exports import permissions_of_project
from broch_api.datasets.grants import grants_of_project
from broch_api.projects.effects import stop_workspaces
from broch_api.projects.members import members_of
from broch_api.projects.schemas import ProjectCreate, ProjectDetail, ProjectView
from broch_api.revocations.begin import EndedRight, revoke
from broch_api.workspaces.effects import stop_shared
from broch_api.workspaces.rights import SHARED_NOT_ALLOWED
from broch_core.actions import Action
from broch_core.actors import Actor
from broch_core.audit.record import AuditSubject
from broch_core.clock import utc_now
from broch_core.confinement import BrowserPolicy
from broch_core.errors import Conflict, Invalid
from broch_core.lifecycles import PROJECT, ProjectEvent, ProjectStatus
from broch_core.revocations import RevocationCause
from broch_core.rules import Resource, require
from broch_core.scope import find_project, hold_freeze, require_thawed_tre, scope_of
from broch_core.store.unit import Change, Store
from broch_core.tables.projects import Project
from broch_core.web.paging import Page, page_of

ACTIONS: Mapping[ProjectEvent, Action] = {
    ProjectEvent.ACTIVATE: Action.PROJECT_ACTIVATE,
    ProjectEvent.FREEZE: Action.PROJECT_FREEZE,
    ProjectEvent.THAW: Action.PROJECT_THAW,
    ProjectEvent.END: Action.PROJECT_END,
}
_BEGINNING = frozenset({ProjectEvent.ACTIVATE, ProjectEvent.THAW})
"""Not while the whole TRE is frozen."""
_STOPPING: Mapping[ProjectEvent, tuple[RevocationCause, str]] = {
    ProjectEvent.FREEZE: (RevocationCause.PROJECT_FROZEN, "The project is frozen."),
    ProjectEvent.END: (RevocationCause.PROJECT_ENDED, "The project has ended."),
}


class ProjectRegister:
    """Lists, creates and moves projects."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def list(
        self, actor: Actor, *, before: str | None, limit: int, slug: str | None = None
    ) -> Page[ProjectView]:
        """Return the projects that the actor may see, newest first."""
        require(actor, Action.PROJECT_LIST)
        query = select(Project).order_by(col(Project.id).desc()).limit(limit + 1)
        if (seen := scope_of(actor).project_ids) is not None:
            query = query.where(col(Project.id).in_(seen))
        if before is not None:
            query = query.where(Project.id < before)
        if slug is not None:
            query = query.where(Project.slug == slug)
        with self._store.read() as session:
            rows = session.exec(query).all()
        return page_of(rows, limit, ProjectView.of, lambda project: project.id)

    def detail(self, actor: Actor, project_id: str) -> ProjectDetail:
        """Return a project with members, grants and permissions.

        Raises:
            NotFound: the actor may not know of it.
        """
        require(actor, Action.PROJECT_READ, Resource("project", project_id, project_id))
        with self._store.read() as session:
            return _detail(session, find_project(session, scope_of(actor), project_id))

    def create(self, actor: Actor, body: ProjectCreate) -> ProjectView:
        """Create a project in state `planned`.

        Raises:
            Denied: the actor is no platform admin.
            Invalid: it would be over already.
            Conflict: the slug is taken.
        """
        require(actor, Action.PROJECT_CREATE)
        if body.ends_on < utc_now().date():
            raise Invalid("The last day lies in the past.", field="ends_on")
        with self._store.write() as change:
            if change.session.exec(select(Project.id).where(Project.slug == body.slug)).first() is not None:
                raise Conflict(f"There is a project '{body.slug}' already.", field="slug")
            project = Project(**body.model_dump())
            change.session.add(project)
            change.audit(
                actor.person_id,
                Action.PROJECT_CREATE,
                AuditSubject("project", project.id, project.id),
                facts={
                    "starts_on": str(project.starts_on),
                    "ends_on": str(project.ends_on),
                    "browser_policy": project.browser_policy.value,
                    "user_namespaces": project.user_namespaces.value,
                    "quota": project.quota,
                },
                personal={"slug": project.slug, "name": project.name, "purpose": project.purpose},
            )
        return ProjectView.of(project)

    def move(self, actor: Actor, project_id: str, event: ProjectEvent) -> ProjectView:
        """Move a project along its life cycle; freezing and ending stop every workspace in it.

        Raises:
            NotFound: the actor may not know of it.
            Denied: the actor is no platform admin.
            Conflict: the event does not fit the state, its dates are over, or the whole TRE is frozen.
        """
        action = ACTIONS[event]
        require(actor, action, Resource("project", project_id, project_id))
        with self._store.write() as change:
            if event in _BEGINNING:
                hold_freeze(change.session)
            project = find_project(change.session, scope_of(actor), project_id, lock=True)
            before = project.status
            after = PROJECT.after(before, event)
            if after is ProjectStatus.ACTIVE and project.ends_on < utc_now().date():
                raise Conflict(
                    f"The project '{project.name}' was over on {project.ends_on}.",
                    remedy="Create a new project for further work.",
                )
            if event in _BEGINNING:
                require_thawed_tre(change.session)
            change.advance(PROJECT, project, event)
            change.audit(
                actor.person_id,
                action,
                AuditSubject("project", project_id, project_id),
                facts={"from": before.value, "to": after.value},
            )
            if event in _STOPPING:
                cause, reason = _STOPPING[event]
                revoke(change, EndedRight(cause, project_id, actor.person_id, reason))
        return ProjectView.of(project)

    def choose_browsers(self, actor: Actor, project_id: str, policy: BrowserPolicy) -> ProjectView:
        """Say what browsers without `Connection-Allowlist` are told; refusing them stops the workspaces that are open.

        Raises:
            NotFound: the actor may not know of it.
            Denied: the actor is no platform admin.
        """
        action = Action.PROJECT_BROWSER_POLICY
        with self._policy(actor, action, project_id) as (change, project):
            before, project.browser_policy = project.browser_policy, policy
            record = _record(change, actor, action, project, before.value, policy.value)
            if policy is BrowserPolicy.REFUSE and before is not policy:
                reason = (
                    "The project refuses browsers without Connection-Allowlist from now on. Open it again."
                )
                stop_workspaces(change, cause=record, project_id=project_id, reason=reason)
        return ProjectView.of(project)

    def choose_idle_stop(self, actor: Actor, project_id: str, minutes: int | None) -> ProjectView:
        """Say how long workspaces may be idle before they are stopped: those that start from now on.

        Args:
            actor: who says so.
            project_id: of which project.
            minutes: 0: for ever; None: as the platform says.

        Raises:
            NotFound: the actor may not know of it.
            Denied: the actor is no platform admin.
        """
        action = Action.PROJECT_IDLE_STOP
        with self._policy(actor, action, project_id) as (change, project):
            before, project.idle_minutes = project.idle_minutes, minutes
            _record(change, actor, action, project, before, minutes)
        return ProjectView.of(project)

    def allow_shared(self, actor: Actor, project_id: str, *, allowed: bool) -> ProjectView:
        """Say whether members may work in one workspace together; saying no stops the one that runs.

        Raises:
            NotFound: the actor may not know of it.
            Denied: the actor is no platform admin.
        """
        action = Action.PROJECT_SHARED_WORKSPACE
        with self._policy(actor, action, project_id) as (change, project):
            before, project.shared_workspace = project.shared_workspace, allowed
            _record(change, actor, action, project, before, allowed)
            if before and not allowed:
                stop_shared(change, project_id, actor.person_id, SHARED_NOT_ALLOWED)
        return ProjectView.of(project)

    @contextmanager
    def _policy(self, actor: Actor, action: Action, project_id: str) -> Iterator[tuple[Change, Project]]:
        """Let an action set one of a project's policies, alone with its row."""
        require(actor, action, Resource("project", project_id, project_id))
        with self._store.write() as change:
            project = find_project(change.session, scope_of(actor), project_id, lock=True)
            yield change, project
            change.session.add(project)


def _record(
    change: Change, actor: Actor, action: Action, project: Project, before: object, after: object
) -> str:
    """Write down which policy was set, from what to what; return the record's id."""
    subject = AuditSubject("project", project.id, project.id)
    return change.audit(actor.person_id, action, subject, facts={"from": before, "to": after})


def _detail(session: Session, project: Project) -> ProjectDetail:
    now = utc_now()
    return ProjectDetail(
        **ProjectView.of(project).model_dump(),
        members=members_of(session, project.id, now),
        grants=grants_of_project(session, project, now),
        export_permissions=permissions_of_project(session, project.id),
    )
