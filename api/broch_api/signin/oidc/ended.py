"""The end of sessions that the provider ends: of those that stand, and of those that are about to begin."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime

from broch_api.signin.oidc.tokens import LOGOUT_LONGEST, SKEW, Identity, Logout
from broch_api.workspaces.effects import stop_entered
from broch_core.actions import Action
from broch_core.actors import SYSTEM, Actor
from broch_core.audit.record import AuditSubject
from broch_core.clock import utc_now
from broch_core.store.unit import Change
from broch_core.tables.people import Person, UserSession


def end_session(change: Change, row: UserSession, issuer: str) -> None:
    """End one session and stop the workspaces that it entered."""
    person = change.session.get_one(Person, row.person_id)
    row.ended_at = utc_now()
    change.session.add(row)
    change.audit(
        SYSTEM,
        Action.SESSION_END,
        AuditSubject("session", row.id),
        facts={"by": "provider", "person": person.id},
        personal={"issuer": issuer},
    )
    stop_entered(change, Actor(person.id, person.handle, person.display_name, session_id=row.id))


@dataclass(frozen=True)
class _Said:
    logout: Logout
    at: datetime


class LoggedOut:
    """What the provider ended lately: a sign-in that was on its way meanwhile must not outlive it.

    Who ends looks here first and then for sessions; who begins a session looks here once it stands. So one of the two
    sees the other, whoever was first. Of this process alone, like the sign-ins that wait for their keys.
    """

    def __init__(self) -> None:
        self._said: list[_Said] = []
        self._lock = threading.Lock()

    def remember(self, logout: Logout, now: datetime) -> None:
        """Keep what a logout token named for as long as a sign-in may be under way with an older answer."""
        with self._lock:
            self._said = [one for one in self._said if now - one.at < 2 * LOGOUT_LONGEST]
            self._said.append(_Said(logout, now))

    def covers(self, identity: Identity) -> bool:
        """Tell whether the session that vouched for somebody was ended since."""
        with self._lock:
            said = list(self._said)
        return any(_names(one.logout, identity) for one in said)


def _names(logout: Logout, identity: Identity) -> bool:
    if logout.sub is not None and logout.sub != identity.sub:
        return False
    if logout.sid is not None:
        return logout.sid == identity.sid
    return identity.iat <= logout.iat + SKEW.total_seconds()
