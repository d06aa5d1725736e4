"""The demo's sign-in. It asks for no password, so it answers nobody but this machine."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from fastapi import Request
from sqlmodel import col, select

from broch_api.people.service import roles_of
from broch_api.signin.ways import SignInWay, Wish
from broch_core.actors import PlatformRole
from broch_core.errors import Denied
from broch_core.store.unit import Store
from broch_core.tables.people import Person
from broch_core.web.forms import Fields
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


class DemoSignIn(SignInWay):
    """Starts sessions without passwords."""

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

    def page(self, request: Request) -> tuple[str, Mapping[str, Any]]:
        """Ask who of the people here it is."""
        self.require_near(request.client.host if request.client else None, request.headers)
        return "signin/page.html", {"people": self.people()}

    def begin(self, request: Request, form: Fields, wish: Wish) -> Started:
        """Sign in whoever was chosen."""
        self.require_near(request.client.host if request.client else None, request.headers)
        return self.start(form["person"], kind="browser", confined=wish.confined)

    def farewell(self) -> None:
        """Nothing is elsewhere."""


def _is_loopback(host: str | None) -> bool:
    try:
        return host is not None and ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
