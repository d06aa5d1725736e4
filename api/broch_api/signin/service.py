"""The demo's sign-in. It asks for no password, so it answers nobody but this machine."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sqlmodel import col, select

from broch_api.people.schemas import PersonRef
from broch_api.people.service import roles_of
from broch_api.signin.schemas import SessionView
from broch_api.workspaces.effects import stop_entered
from broch_core.actions import Action
from broch_core.actors import Actor, PlatformRole
from broch_core.errors import Denied, Unauthenticated
from broch_core.rules import Resource, require
from broch_core.store.unit import Store
from broch_core.tables.people import Person, UserSession
from broch_core.web.sessions import Sessions, Started

_MOST_CARDS = 60
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")

ROLE_NAMES: Mapping[PlatformRole, str] = {
    PlatformRole.ADMIN: "Administrator",
    PlatformRole.STEWARD: "Data steward",
    PlatformRole.REVIEWER: "Airlock reviewer",
    PlatformRole.ASSET_OWNER: "Information asset owner",
}


@dataclass(frozen=True)
class PersonCard:
    """One person to choose on the sign-in page."""

    handle: str
    display_name: str
    role: str
    description: str


class DemoSignIn:
    """Starts and ends sessions without passwords."""

    def __init__(self, store: Store, sessions: Sessions, *, enabled: bool) -> None:
        self._store = store
        self._sessions = sessions
        self._enabled = enabled

    def require_near(self, host: str | None, headers: Mapping[str, str]) -> None:
        """Raise unless the demo is on and the caller is this machine itself.

        Args:
            host: the address that the connection came from.
            headers: of the request, names in lower case.

        Raises:
            Denied: with the reason.
        """
        if not self._enabled:
            raise Denied(
                "The demo sign-in is switched off (setting `demo`).",
                remedy="Sign in by your organisation's account.",
            )
        if not _is_loopback(host):
            raise Denied("The demo sign-in asks for no password and answers this machine only.")
        if named := next((name for name in _FORWARDED if name in headers), None):
            raise Denied(
                f"The request was passed on by a proxy (header '{named}'), so it may come from anywhere. "
                "The demo sign-in asks for no password and answers this machine only."
            )
        if headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
            raise Denied("Another site may not sign you in.")

    def people(self) -> list[PersonCard]:
        """Return who can sign in, in the order in which they were added."""
        with self._store.read() as session:
            rows = session.exec(
                select(Person).where(col(Person.disabled_at).is_(None)).order_by(Person.id).limit(_MOST_CARDS)
            ).all()
            roles = roles_of(session, [person.id for person in rows])
        return [
            PersonCard(
                person.handle,
                person.display_name,
                ", ".join(ROLE_NAMES[role] for role in roles[person.id]) or "Researcher",
                person.about,
            )
            for person in rows
        ]

    def start(self, handle: str, *, kind: Literal["browser", "cli"], confined: bool | None = None) -> Started:
        """Sign somebody in.

        Args:
            handle: who.
            kind: of client.
            confined: whether the browser was seen to enforce `Connection-Allowlist`; nothing when it was not seen.

        Raises:
            NotFound: nobody active has this handle.
        """
        return self._sessions.start(handle, kind=kind, confined=confined)

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


def _is_loopback(host: str | None) -> bool:
    try:
        return host is not None and ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
