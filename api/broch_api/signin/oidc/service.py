"""Signing in by a provider, and out because the provider says so."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import structlog
from fastapi import Request
from sqlmodel import Session, col, delete, func, select

from broch_api.signin.answers import ATTEMPT_COOKIE
from broch_api.signin.oidc import persons
from broch_api.signin.oidc.ended import LoggedOut, end_session
from broch_api.signin.oidc.errors import (
    AttemptOver,
    NoProvider,
    NotProven,
    PersonDisabled,
    ProviderRefused,
    SecondFactorMissing,
    TokenRefused,
)
from broch_api.signin.oidc.provider import OidcProvider, error_code
from broch_api.signin.oidc.tokens import Identity, check_id_token
from broch_api.signin.ways import Departure, SignInWay, Wish
from broch_core.actions import Action
from broch_core.audit.denials import DenialLog
from broch_core.clock import utc_now
from broch_core.errors import Conflict
from broch_core.rules import Resource
from broch_core.store.unit import Store
from broch_core.tables.people import LoginAttempt, UserSession
from broch_core.web.forms import Fields
from broch_core.web.sessions import Sessions, Started, token_hash

log = structlog.get_logger()

ATTEMPT_LIFETIME = timedelta(minutes=10)
"""How long somebody may take at the provider. Ten minutes: a forgotten phone is fetched, a forgotten tab is not used."""
_MOST_ATTEMPTS = 20_000
"""Most sign-ins that may be on their way. The oldest make room: whoever begins many does not keep others out."""
_LONGEST_SECRET = 100
_LONGEST_CODE = 2000
_TRIES = 3


@dataclass(frozen=True)
class Answer:
    """What a browser brings back from the provider."""

    state: str
    code: str | None
    error: str | None
    issuer: str | None


class OidcSignIn(SignInWay):
    """Starts sessions of people whom the provider vouches for."""

    def __init__(
        self, store: Store, sessions: Sessions, provider: OidcProvider | None, denials: DenialLog
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._provider = provider
        self._denials = denials
        self.logged_out = LoggedOut()

    @property
    def provider(self) -> OidcProvider:
        """The provider.

        Raises:
            NoProvider: none is set.
        """
        if self._provider is None:
            raise NoProvider
        return self._provider

    def page(self, request: Request) -> tuple[str, Mapping[str, Any]]:
        """Offer the one button there is."""
        del request
        return "signin/provider.html", {"provider": urlsplit(self.provider.settings.issuer).netloc}

    def begin(self, request: Request, form: Fields, wish: Wish) -> Departure:
        """Send the browser to the provider, and remember what must come back.

        Raises:
            ProviderAway: the provider does not answer.
        """
        del form
        kept = request.cookies.get(ATTEMPT_COOKIE, "")
        return self.depart(kept if 0 < len(kept) <= _LONGEST_SECRET else None, wish)

    def depart(self, browser: str | None, wish: Wish) -> Departure:
        """Begin a sign-in.

        Args:
            browser: the secret that the browser holds already, from another tab.
            wish: what it wants.

        Raises:
            ProviderAway: the provider does not answer.
        """
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        browser = browser or secrets.token_urlsafe(32)
        address = self.provider.address_of_sign_in(state=state, nonce=nonce, verifier=verifier)
        now = utc_now()
        with self._store.write(housekeeping=True) as change:
            _make_room(change.session)
            change.session.add(
                LoginAttempt(
                    state_hash=token_hash(state),
                    nonce_hash=token_hash(nonce),
                    verifier=verifier,
                    next=wish.next,
                    browser_hash=token_hash(browser),
                    confined=wish.confined,
                    expires_at=now + ATTEMPT_LIFETIME,
                )
            )
        return Departure(address, browser)

    def farewell(self) -> str | None:
        """Return where the browser signs out at the provider."""
        return self.provider.address_of_sign_out()

    def arrive(self, answer: Answer, browser: str | None) -> tuple[Started, str]:
        """Sign in whoever comes back; return the session and the path to go on to.

        Args:
            answer: what the browser brings.
            browser: the secret that it was given when it left.

        Raises:
            AttemptOver: it began nothing that waits for this, or too long ago, or this was used.
            ProviderRefused: the provider, or the person there, says no.
            ProviderAway: the provider does not answer now.
            NotProven: the token proves nothing.
            SecondFactorMissing: it says of one factor only.
            PersonDisabled: the person may not come in.
        """
        attempt = self._take(answer.state, browser)
        settings = self.provider.settings
        if answer.issuer is not None and answer.issuer != settings.issuer:
            raise NotProven  # RFC 9207: the answer of another provider
        if answer.code is None or not 0 < len(answer.code) <= _LONGEST_CODE:
            raise ProviderRefused(error_code(answer.error))
        tokens = self.provider.redeem(answer.code, attempt.verifier)
        try:
            identity = check_id_token(
                tokens.id_token,
                self.provider.keys(tokens.id_token),
                self.provider.expected,
                nonce_hash=attempt.nonce_hash,
                access_token=tokens.access_token,
                began=attempt.expires_at - ATTEMPT_LIFETIME,
                now=utc_now(),
            )
        except TokenRefused as error:
            log.warning("oidc.token_refused", reason=error.reason)
            raise NotProven from error
        if identity.methods().isdisjoint(settings.mfa):
            self._deny(identity)
            raise SecondFactorMissing
        started = self._admit(identity, attempt)
        if self.logged_out.covers(identity):
            log.warning("oidc.ended_meanwhile", session=started.session_id)
            self._end(started)
            raise NotProven
        return started, attempt.next

    def _take(self, state: str, browser: str | None) -> LoginAttempt:
        """Return the attempt and delete it: whoever comes second finds nothing."""
        if not 0 < len(state) <= _LONGEST_SECRET or not browser or len(browser) > _LONGEST_SECRET:
            raise AttemptOver
        ours = (
            col(LoginAttempt.state_hash) == token_hash(state),
            col(LoginAttempt.browser_hash) == token_hash(browser),
            col(LoginAttempt.expires_at) > utc_now(),
        )
        with self._store.write(housekeeping=True) as change:
            attempt = change.session.exec(select(LoginAttempt).where(*ours)).first()
            if attempt is not None:
                change.session.expunge(attempt)
                gone = change.session.exec(delete(LoginAttempt).where(*ours))
                if gone.rowcount == 1:
                    return attempt
        raise AttemptOver

    def _admit(self, identity: Identity, attempt: LoginAttempt) -> Started:
        arrival = persons.arrival_of(identity, self.provider.settings.groups)
        for left in reversed(range(_TRIES)):
            try:
                with self._store.write() as change:
                    person = persons.admit(change, arrival)
                    if person.disabled_at is None:
                        return self._sessions.open(
                            change,
                            person,
                            kind="browser",
                            confined=attempt.confined,
                            idp_session=identity.sid,
                        )
                break
            except Conflict:  # the same person in two tabs, or two people with one user name
                if not left:
                    raise
        self._deny(identity)
        raise PersonDisabled

    def _end(self, started: Started) -> None:
        with self._store.write() as change:
            row = change.session.get_one(UserSession, started.session_id, with_for_update=True)
            if row.ended_at is None:
                end_session(change, row, self.provider.settings.issuer)
            else:  # the logout came late enough to find it
                change.exempt = True

    def _deny(self, identity: Identity) -> None:
        with self._store.read() as session:
            person = persons.find(session, identity.iss, identity.sub)
        if person is not None:
            self._denials.note(person.id, Action.SESSION_START, Resource("person", person.id))


def _make_room(session: Session) -> None:
    session.exec(delete(LoginAttempt).where(col(LoginAttempt.expires_at) <= utc_now()))
    waiting = session.exec(select(func.count()).select_from(LoginAttempt)).one()
    if waiting >= _MOST_ATTEMPTS:
        oldest = (
            select(LoginAttempt.state_hash)
            .order_by(col(LoginAttempt.expires_at))
            .limit(waiting - _MOST_ATTEMPTS + 1)
        )
        session.exec(delete(LoginAttempt).where(col(LoginAttempt.state_hash).in_(oldest)))
