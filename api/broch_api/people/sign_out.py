"""Signing somebody out everywhere: for roles that were taken away elsewhere, a lost laptop, a session nobody knows."""

from __future__ import annotations

from sqlmodel import col, select

from broch_api.workspaces.effects import stop_entered
from broch_core.actions import Action
from broch_core.actors import Actor
from broch_core.audit.record import AuditSubject
from broch_core.clock import utc_now
from broch_core.errors import NotFound
from broch_core.rules import require
from broch_core.store.unit import Store
from broch_core.tables.people import Person, UserSession


class SignOuts:
    """Ends sessions of others, whatever the provider that they signed in with still knows of them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def everywhere(self, actor: Actor, handle: str) -> int:
        """End every session of a person, with the workspaces that they entered; return how many there were.

        Raises:
            Denied: the actor is no platform admin.
            NotFound: nobody has this handle.
        """
        require(actor, Action.PERSON_SIGN_OUT)
        with self._store.write() as change:
            person = change.session.exec(select(Person).where(Person.handle == handle)).first()
            if person is None:
                raise NotFound(f"Nobody here has the sign-in name '{handle}'.")
            now = utc_now()
            open_ = select(UserSession).where(
                UserSession.person_id == person.id,
                col(UserSession.ended_at).is_(None),
                UserSession.expires_at > now,
            )
            ended = change.session.exec(open_.with_for_update()).all()
            for row in ended:
                row.ended_at = now
                change.session.add(row)
                stop_entered(change, Actor(person.id, person.handle, person.display_name, session_id=row.id))
            change.audit(
                actor.person_id,
                Action.PERSON_SIGN_OUT,
                AuditSubject("person", person.id),
                facts={"sessions": len(ended)},
            )
        return len(ended)
