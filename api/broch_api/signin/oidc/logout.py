"""Sessions end because the provider says so (OpenID Connect Back-Channel Logout 1.0)."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import structlog
from sqlmodel import Session, col, select

from broch_api.signin.oidc.ended import end_session
from broch_api.signin.oidc.errors import LogoutRefused, TokenRefused
from broch_api.signin.oidc.persons import find
from broch_api.signin.oidc.service import OidcSignIn
from broch_api.signin.oidc.tokens import LOGOUT_LONGEST, SKEW, Logout, check_logout_token
from broch_core.clock import utc_now
from broch_core.store.unit import Store
from broch_core.tables.people import UserSession

log = structlog.get_logger()

_MOST_REMEMBERED = 10_000


class BackChannel:
    """Takes logout tokens."""

    def __init__(self, store: Store, sign_in: OidcSignIn) -> None:
        self._store = store
        self._sign_in = sign_in
        self._seen: dict[str, datetime] = {}
        self._lock = threading.Lock()

    def receive(self, raw: str) -> int:
        """End what a logout token names, and the workspaces that were entered from there; return how many sessions.

        Raises:
            LogoutRefused: the token proves nothing, or was used.
            ProviderAway: its keys cannot be had now; the provider may send it again.
        """
        provider = self._sign_in.provider
        now = utc_now()
        try:
            logout = check_logout_token(raw, provider.keys(raw), provider.expected, now=now)
            self._once(logout.jti, now)
        except TokenRefused as error:
            log.warning("oidc.logout_refused", reason=error.reason)
            raise LogoutRefused(error.reason) from error
        self._sign_in.logged_out.remember(logout, now)  # before sessions are looked for (LoggedOut)
        try:
            return self._end(logout, provider.settings.issuer)
        except Exception:
            with self._lock:  # nothing ended: the provider shall send it again
                self._seen.pop(logout.jti, None)
            raise

    def _end(self, logout: Logout, issuer: str) -> int:
        with self._store.read() as session:
            if not _named(session, logout):
                return 0
        with self._store.write() as change:
            rows = _named(change.session, logout, lock=True)
            for row in rows:
                end_session(change, row, issuer)
            change.exempt = not rows
        return len(rows)

    def _once(self, jti: str, now: datetime) -> None:
        """Remember a token for as long as it could be shown again.

        Of this process alone: a token that another replica took ends nothing twice, since it names a session that is
        over, or only sessions that began before it was made.
        """
        with self._lock:
            self._seen = {one: at for one, at in self._seen.items() if now - at < 2 * LOGOUT_LONGEST}
            if jti in self._seen or len(self._seen) >= _MOST_REMEMBERED:
                raise TokenRefused("jti")
            self._seen[jti] = now


def _named(session: Session, logout: Logout, *, lock: bool = False) -> list[UserSession]:
    query = select(UserSession).where(col(UserSession.ended_at).is_(None))
    if logout.sub is not None:
        person = find(session, logout.iss, logout.sub)
        if person is None:
            return []
        query = query.where(UserSession.person_id == person.id)
    if logout.sid is not None:
        query = query.where(UserSession.idp_session == logout.sid)
    else:  # all of a person, but none that began after the provider said so
        made = datetime.fromtimestamp(logout.iat, UTC) + SKEW
        query = query.where(UserSession.started_at <= made)
    return list(session.exec(query.with_for_update() if lock else query))
