"""Opening and stopping workspaces, for people."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlmodel import Session, col, select

from broch_api.workspaces.effects import stop_later
from broch_api.workspaces.premises import Premises
from broch_api.workspaces.rights import deadline, longest_run, should_run
from broch_api.workspaces.rows import standing_of
from broch_api.workspaces.schemas import WorkspaceView
from broch_core.actions import Action
from broch_core.actors import Actor, PlatformRole
from broch_core.audit.record import AuditSubject
from broch_core.clock import utc_now
from broch_core.confinement import BrowserPolicy, may_enter, shortcoming
from broch_core.errors import Conflict, Invalid, NotFound
from broch_core.lifecycles import WORKSPACE, WorkspaceEvent, WorkspaceStatus
from broch_core.rules import Decision, Resource, allow, require
from broch_core.scope import find_project, require_running, scope_of
from broch_core.settings import Settings
from broch_core.store.unit import Change, Store
from broch_core.tables.people import Person, UserSession
from broch_core.tables.projects import Project
from broch_core.tables.workspaces import Workspace
from broch_core.web.paging import Page, page_of

ACTIVE = frozenset({WorkspaceStatus.STARTING, WorkspaceStatus.RUNNING})
"""States in which a workspace holds rights."""


def notebook_url(hub_origin: str, principal: str) -> str:
    """Return where a browser enters a workspace.

    By way of the hub's sign-in, always: its cookie may still be that of another workspace of the same person.
    """
    return f"{hub_origin}/hub/oauth_login?next=/hub/user/{principal}/lab"


def page_of_workspace(settings: Settings, row: Workspace) -> str:
    """Return where a person opens a workspace in a browser."""
    name = "shared" if row.person_id is None else "workspace"
    return f"{settings.shell_origin}/projects/{row.project_id}/{name}"


def resource_of(row: Workspace) -> Resource:
    """Return what the rules may know of a workspace."""
    shared = row.person_id is None
    return Resource("workspace", row.id, row.project_id, person_id=row.person_id, shared=shared)


def chosen_profile(premises: Premises, profile: str | None) -> str:
    """Return the profile that was asked for, or the usual one.

    Raises:
        Invalid: there is no such profile.
    """
    if profile is None:
        return next(iter(premises.profiles))
    if profile not in premises.profiles:
        offered = ", ".join(premises.profiles)
        raise Invalid(f"There is no such profile. Choose one of: {offered}.", field="profile")
    return profile


class WorkspaceDesk:
    """Lists, opens and stops workspaces."""

    def __init__(self, store: Store, settings: Settings, premises: Premises) -> None:
        self._store = store
        self._settings = settings
        self._premises = premises

    @property
    def profiles(self) -> Mapping[str, str]:
        """Names and titles of the profiles that people may choose from, the usual one first."""
        return self._premises.profiles

    def list(
        self, actor: Actor, *, before: str | None, limit: int, project_id: str | None = None
    ) -> Page[WorkspaceView]:
        """Return the actor's own workspaces, or everybody's for an admin, newest first."""
        require(actor, Action.WORKSPACE_LIST)
        query = select(Workspace).order_by(col(Workspace.id).desc()).limit(limit + 1)
        if not actor.has(PlatformRole.ADMIN):
            query = query.where(Workspace.person_id == actor.person_id)
        if before is not None:
            query = query.where(Workspace.id < before)
        if project_id is not None:
            query = query.where(Workspace.project_id == project_id)
        with self._store.read() as session:
            rows = session.exec(query).all()
            return page_of(rows, limit, lambda row: self._view(session, row), lambda row: row.id)

    def read(self, actor: Actor, workspace_id: str) -> WorkspaceView:
        """Return one workspace.

        Raises:
            NotFound: there is none, or the actor may not know of it.
        """
        with self._store.read() as session:
            row = _find(session, actor, workspace_id, Action.WORKSPACE_READ)
            return self._view(session, row)

    def mine(self, actor: Actor, project_id: str) -> tuple[Project, WorkspaceView | None]:
        """Return a project and the actor's own workspace in it, if there ever was one.

        Raises:
            NotFound: the actor is no member of such a project.
        """
        require(actor, Action.WORKSPACE_OPEN, _own(actor, project_id))
        with self._store.read() as session:
            project = find_project(session, scope_of(actor), project_id)
            row = _mine(session, project_id, actor.person_id)
            return project, self._view(session, row) if row else None

    def browser_lacks(self, actor: Actor, project: Project) -> tuple[str | None, Decision]:
        """Return what the actor's browser lacks, and whether it may still show a workspace of the project."""
        if project.browser_policy is BrowserPolicy.ALLOW:
            return None, allow()
        with self._store.read() as session:
            entered = session.get(UserSession, actor.session_id)
        confined = entered.confined if entered else None
        return shortcoming(confined), may_enter(project.browser_policy, confined)

    def browser_lacks_in(self, actor: Actor, project_id: str) -> tuple[str | None, Decision]:
        """Return the same for a project by its id, which the actor is known to see."""
        with self._store.read() as session:
            project = find_project(session, scope_of(actor), project_id)
        return self.browser_lacks(actor, project)

    def open(self, actor: Actor, project_id: str, profile: str | None = None) -> WorkspaceView:
        """Have the actor's workspace in a project started; one that is starting or running stays as it is.

        Args:
            actor: whose workspace.
            project_id: in which project.
            profile: name of one of `profiles`; the usual one if none is named.

        Raises:
            NotFound: the actor is no member of such a project.
            Invalid: there is no such profile.
            Conflict: the project does not run, or the workspace is just stopping.
        """
        require(actor, Action.WORKSPACE_OPEN, _own(actor, project_id))
        now = utc_now()
        profile = chosen_profile(self._premises, profile)
        with self._store.write() as change:
            session = change.session
            project = find_project(session, scope_of(actor), project_id, lock=True)
            require_running(project, now)
            row = _mine(session, project_id, actor.person_id, lock=True)
            if row is None:
                row = Workspace(project_id=project_id, person_id=actor.person_id)
                session.add(row)
                session.flush()
            if row.status not in ACTIVE:
                run = longest_run(self._settings.workspace_lifetime, self._premises.hours(profile))
                begin(change, actor, Action.WORKSPACE_OPEN, row, now, run, profile)
            return self._view(session, row)

    def stop(self, actor: Actor, workspace_id: str) -> WorkspaceView:
        """Have a workspace stopped; its rights end at once. One that does not run stays as it is.

        Raises:
            NotFound: there is none, or the actor may not know of it.
        """
        with self._store.write() as change:
            row = _find(change.session, actor, workspace_id, Action.WORKSPACE_STOP, lock=True)
            if row.status in ACTIVE:
                own = row.person_id == actor.person_id
                reason = "You stopped it." if own else "A platform admin stopped it."
                stop_later(change, row, actor.person_id, reason)
            return self._view(change.session, row)

    def _view(self, session: Session, row: Workspace) -> WorkspaceView:
        project = session.get_one(Project, row.project_id)
        person = session.get_one(Person, row.person_id) if row.person_id is not None else None
        return WorkspaceView.of(
            row,
            project,
            person,
            url=notebook_url(self._settings.hub_origin, row.principal),
            page=page_of_workspace(self._settings, row),
        )


def _own(actor: Actor, project_id: str) -> Resource:
    return Resource("workspace", None, project_id, person_id=actor.person_id)


def _mine(session: Session, project_id: str, person_id: str, *, lock: bool = False) -> Workspace | None:
    query = select(Workspace).where(Workspace.project_id == project_id, Workspace.person_id == person_id)
    return session.exec(query.with_for_update() if lock else query).first()


def _find(
    session: Session, actor: Actor, workspace_id: str, action: Action, *, lock: bool = False
) -> Workspace:
    query = select(Workspace).where(Workspace.id == workspace_id)
    row = session.exec(query.with_for_update() if lock else query).first()
    require(actor, action, resource_of(row) if row else Resource("workspace", workspace_id))
    if row is None:
        raise NotFound
    return row


def begin(
    change: Change, actor: Actor, action: Action, row: Workspace, now: datetime, run: timedelta, profile: str
) -> None:
    """Have a workspace started that does not run: its row, the record of who asked, and the order to the hub.

    Raises:
        Conflict: it may not run now, or is just stopping.
    """
    standing = standing_of(change.session, row, now)
    decision = should_run(standing.facts(starting=True), now)
    if not decision.allowed:
        raise Conflict(decision.reason)
    change.advance(
        WORKSPACE,
        row,
        WorkspaceEvent.OPEN,
        opened_at=now,
        deadline_at=deadline(
            now,
            run,
            project_ends_on=standing.project.ends_on,
            member_until=standing.member_until,
            grants_until=[grant.until for grant, _, _ in standing.grants],
        ),
        message=None,
        profile=profile,
        start_bytes=0,
        alarm_at=None,
        idle_stop_at=None,
        door_token_hash=None,
        grant_ids=[],
    )
    change.audit(
        actor.person_id,
        action,
        AuditSubject("workspace", row.id, row.project_id),
        facts={"deadline": row.deadline_at.isoformat() if row.deadline_at else None, "profile": profile},
    )
    change.later(
        "workspace.start",
        f"workspace.start:{row.id}:{row.version}",
        {"workspace_id": row.id, "version": row.version},
    )
