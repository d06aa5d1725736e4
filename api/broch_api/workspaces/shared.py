"""The workspace that members of a project share: opening it, leaving it, who is in it."""

from __future__ import annotations

from sqlmodel import Session, col, select

from broch_api.workspaces.effects import stop_later
from broch_api.workspaces.entrants import end_stays, present, stays
from broch_api.workspaces.premises import Premises
from broch_api.workspaces.rights import SHARED_NOT_ALLOWED, longest_run
from broch_api.workspaces.schemas import SharedView, WorkspacePerson, WorkspaceProject, WorkspaceView
from broch_api.workspaces.service import ACTIVE, begin, chosen_profile, notebook_url, page_of_workspace
from broch_core.actions import Action
from broch_core.actors import Actor
from broch_core.clock import utc_now
from broch_core.errors import Conflict
from broch_core.lifecycles import WorkspaceStatus
from broch_core.rules import Resource, require
from broch_core.scope import find_project, require_running, scope_of
from broch_core.settings import Settings
from broch_core.store.unit import Store
from broch_core.tables.projects import Project
from broch_core.tables.workspaces import Workspace

NOTICE = (
    "Everybody in it runs cells with the same rights in one and the same server: what a cell did is the project's act, "
    "and nobody can tell whose. There is no door to the airlock and no private home in it; results go out from a "
    "member's own workspace."
)
"""What people are told before they enter, and who allows it before that."""


class SharedDesk:
    """Shows, opens, leaves and stops shared workspaces. Who enters one does so by the sign-in to the hub."""

    def __init__(self, store: Store, settings: Settings, premises: Premises) -> None:
        self._store = store
        self._settings = settings
        self._premises = premises

    def view(self, actor: Actor, project_id: str, action: Action = Action.SHARED_READ) -> SharedView:
        """Return how it is, and who is in it.

        Args:
            actor: who asks.
            project_id: of which project.
            action: what the actor is about to do.

        Raises:
            NotFound: the actor may not know of such a project.
        """
        require(actor, action, _of(project_id))
        with self._store.read() as session:
            project = find_project(session, scope_of(actor), project_id)
            return self._view(session, actor, project, _row(session, project_id))

    def open(self, actor: Actor, project_id: str, profile: str | None = None) -> SharedView:
        """Have it started; one that is starting or running stays as it is.

        Raises:
            NotFound: the actor is no member of such a project.
            Invalid: there is no such profile.
            Conflict: the policy does not allow it, the project does not run, or it is just stopping.
        """
        require(actor, Action.SHARED_OPEN, _of(project_id))
        now, profile = utc_now(), chosen_profile(self._premises, profile)
        with self._store.write() as change:
            session = change.session
            project = find_project(session, scope_of(actor), project_id, lock=True)
            require_running(project, now)
            row = _row(session, project_id, lock=True)
            if row is None:
                row = Workspace(project_id=project_id, person_id=None)
                session.add(row)
                session.flush()
            if row.status not in ACTIVE:
                run = longest_run(self._settings.workspace_lifetime, self._premises.hours(profile))
                begin(change, actor, Action.SHARED_OPEN, row, now, run, profile)
            return self._view(session, actor, project, row)

    def leave(self, actor: Actor, project_id: str) -> SharedView:
        """End the stay of the actor's session, if it has one; the others go on.

        Raises:
            NotFound: the actor is no member of such a project.
        """
        require(actor, Action.SHARED_LEAVE, _of(project_id))
        with self._store.write() as change:
            project = find_project(change.session, scope_of(actor), project_id)
            row = _row(change.session, project_id)
            if row is not None and actor.session_id:
                own = stays(change.session, workspace_id=row.id, session_id=actor.session_id, lock=True)
                end_stays(change, own, actor.person_id, "left")
                change.session.flush()
            return self._view(change.session, actor, project, row)

    def stop(self, actor: Actor, project_id: str) -> SharedView:
        """Have it stopped for all. One that does not run stays as it is.

        Raises:
            NotFound: the actor may not know of such a project.
            Denied: the actor is neither a lead nor a platform admin.
        """
        require(actor, Action.SHARED_STOP, _of(project_id))
        with self._store.write() as change:
            project = find_project(change.session, scope_of(actor), project_id)
            row = _row(change.session, project_id, lock=True)
            if row is not None and row.status in ACTIVE:
                stop_later(change, row, actor.person_id, f"{actor.display_name} stopped it for all.")
            return self._view(change.session, actor, project, row)

    def _view(self, session: Session, actor: Actor, project: Project, row: Workspace | None) -> SharedView:
        return SharedView(
            project=WorkspaceProject(id=project.id, slug=project.slug, name=project.name),
            allowed=project.shared_workspace,
            closed=_closed(project),
            status=row.status if row is not None else WorkspaceStatus.STOPPED,
            workspace=None
            if row is None
            else WorkspaceView.of(
                row,
                project,
                None,
                url=notebook_url(self._settings.hub_origin, row.principal),
                page=page_of_workspace(self._settings, row),
            ),
            present=[] if row is None else [WorkspacePerson.of(one) for one in present(session, row.id)],
            inside=row is not None
            and bool(actor.session_id)
            and bool(stays(session, workspace_id=row.id, session_id=actor.session_id)),
            notice=NOTICE,
        )


def _closed(project: Project) -> str | None:
    if not project.shared_workspace:
        return SHARED_NOT_ALLOWED
    try:
        require_running(project, utc_now())
    except Conflict as error:
        return error.detail
    return None


def _of(project_id: str) -> Resource:
    return Resource("workspace", None, project_id, shared=True)


def _row(session: Session, project_id: str, *, lock: bool = False) -> Workspace | None:
    query = select(Workspace).where(Workspace.project_id == project_id, col(Workspace.person_id).is_(None))
    return session.exec(query.with_for_update() if lock else query).first()
