"""Sessions of people who are signed in, whichever way they came."""

from __future__ import annotations

from broch_api.people.schemas import PersonRef
from broch_api.signin.schemas import SessionView
from broch_api.workspaces.effects import stop_entered
from broch_core.actions import Action
from broch_core.actors import Actor
from broch_core.errors import Unauthenticated
from broch_core.rules import Resource, require
from broch_core.store.unit import Store
from broch_core.tables.people import UserSession
from broch_core.web.sessions import Sessions


class SessionDesk:
    """Shows and ends sessions."""

    def __init__(self, store: Store, sessions: Sessions) -> None:
        self._store = store
        self._sessions = sessions

    def end(self, actor: Actor) -> None:
        """End the session that the actor came with, and with it the workspaces that it entered."""
        require(actor, Action.SESSION_END, Resource("session", actor.session_id, person_id=actor.person_id))
        self._sessions.end(actor, lambda change: stop_entered(change, actor))

    def current(self, actor: Actor) -> SessionView:
        """Say who the actor is and what they are to the platform.

        Raises:
            Unauthenticated: the session is gone.
        """
        require(actor, Action.SESSION_READ, Resource("session", actor.session_id, person_id=actor.person_id))
        with self._store.read() as session:
            row = session.get(UserSession, actor.session_id)
        if row is None:
            raise Unauthenticated("Sign in to go on.")
        return SessionView(
            id=row.id,
            person=PersonRef(id=actor.person_id, handle=actor.handle, display_name=actor.display_name),
            roles=sorted(actor.roles),
            memberships=dict(actor.memberships),
            confined=row.confined,
            expires_at=row.expires_at,
        )
