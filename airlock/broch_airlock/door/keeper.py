"""Who stands at the door: the workspace that a token was given to, or that a pod is, judged anew at every call."""

from __future__ import annotations

from dataclasses import dataclass

from sqlmodel import col, select

from broch_core.actors import Actor
from broch_core.clock import utc_now
from broch_core.errors import Conflict, Denied, Unauthenticated
from broch_core.lifecycles import WorkspaceStatus
from broch_core.scope import EVERYTHING, find_project, require_running
from broch_core.store.unit import Store
from broch_core.tables.people import Person
from broch_core.tables.workspaces import Workspace
from broch_core.web.sessions import actor_of, token_hash

_LONGEST_TOKEN = 200
NO_DOOR = (
    "The shared workspace has no door to the airlock: what goes out must be one person's act. "
    "Submit it from your own workspace; it sees /project too."
)
_OPEN = (WorkspaceStatus.STARTING, WorkspaceStatus.RUNNING)


@dataclass(frozen=True)
class Caller:
    """A workspace at the door."""

    workspace_id: str
    project_id: str
    actor: Actor
    """Its person, with no other membership than this project's: a zone reaches its own project alone."""


class DoorKeeper:
    """Judges what workspaces show."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def caller(self, token: str | None) -> Caller:
        """Return who a token stands for now. Of a shared workspace it is nobody in particular, so the door stays shut.

        Args:
            token: of the start; on a cluster `<namespace>/<pod name>`, which the zone gateway vouches for.

        Raises:
            Unauthenticated: the token is of no workspace that runs now.
            Denied: the person is no member any more, the project does not run, or the workspace is shared.
        """
        if not token or len(token) > _LONGEST_TOKEN:
            raise Unauthenticated("The door opens to the token of a workspace.")
        now = utc_now()
        with self._store.read() as session:
            row = session.exec(
                select(Workspace, Person)
                .join(Person, col(Person.id) == Workspace.person_id, isouter=True)
                .where(
                    # Looked up by the hash of 256 random bits: how long that takes tells nothing about the token.
                    Workspace.door_token_hash == token_hash(token),
                    col(Workspace.status).in_(_OPEN),
                    col(Workspace.deadline_at) > now,
                    col(Person.disabled_at).is_(None),
                )
            ).first()
            if row is None:
                raise Unauthenticated("This token is not of a workspace that runs now.")
            workspace, person = row
            if person is None:
                raise Denied(NO_DOOR)
            actor = actor_of(session, person, now)
            if not actor.is_member(workspace.project_id):
                raise Denied("You are no longer a member of this project.")
            try:
                require_running(find_project(session, EVERYTHING, workspace.project_id), now)
            except Conflict as error:
                raise Denied(error.detail) from None
        narrowed = Actor(
            person_id=actor.person_id,
            handle=actor.handle,
            display_name=actor.display_name,
            memberships={workspace.project_id: actor.memberships[workspace.project_id]},
        )
        return Caller(workspace.id, workspace.project_id, narrowed)
