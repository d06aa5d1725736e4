"""Sessions: random tokens, kept hashed, and the actor that one stands for at this moment."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlmodel import Session, col, or_, select, update

from broch_core.actions import Action
from broch_core.actors import Actor, PlatformRole, ProjectRole
from broch_core.audit.record import AuditSubject
from broch_core.clock import utc_now
from broch_core.errors import NotFound
from broch_core.store.unit import Change, Store
from broch_core.tables.people import Person, PersonRole, UserSession
from broch_core.tables.projects import Membership

_CACHE_LARGEST = 10_000
_READ: frozenset[str] = frozenset(
    str(table.__tablename__) for table in (UserSession, Person, PersonRole, Membership)
)
"""Tables that an actor is made of."""


def token_hash(token: str) -> str:
    """Hash a random token for keeping (256 bits of entropy need no slow hash)."""
    return hashlib.sha256(token.encode()).hexdigest()


@dataclass(frozen=True)
class Started:
    """A new session: the token goes to its owner and is not kept."""

    token: str
    session_id: str
    expires_at: datetime


class Sessions:
    """Starts, resolves and ends sessions."""

    def __init__(self, store: Store, secret: bytes, lifetime: timedelta) -> None:
        self._store = store
        self._secret = secret
        self._lifetime = lifetime
        self._cache: dict[str, tuple[int, datetime, Actor]] = {}

    def start(self, handle: str, *, kind: Literal["browser", "cli"], confined: bool | None = None) -> Started:
        """Sign a person in.

        Args:
            handle: of the person.
            kind: of client.
            confined: whether the browser was seen to enforce `Connection-Allowlist`.

        Raises:
            NotFound: no active person has this handle.
        """
        with self._store.write() as change:
            person = change.session.exec(
                select(Person).where(Person.handle == handle, col(Person.disabled_at).is_(None))
            ).first()
            if person is None:
                raise NotFound(f"Nobody here has the handle '{handle[:40]}'.")
            return self.open(change, person, kind=kind, confined=confined)

    def open(
        self,
        change: Change,
        person: Person,
        *,
        kind: Literal["browser", "cli"],
        confined: bool | None = None,
        idp_session: str | None = None,
    ) -> Started:
        """Begin a session in a transaction that does more.

        Args:
            change: the transaction.
            person: who was found to be there.
            kind: of client.
            confined: whether the browser was seen to enforce `Connection-Allowlist`.
            idp_session: the provider's name of its own session, which ends ours with it.
        """
        token = secrets.token_urlsafe(32)
        session = UserSession(
            token_hash=token_hash(token),
            person_id=person.id,
            kind=kind,
            confined=confined,
            idp_session=idp_session,
            expires_at=utc_now() + self._lifetime,
        )
        change.session.add(session)
        change.audit(
            person.id,
            Action.SESSION_START,
            AuditSubject("session", session.id),
            facts={"kind": kind, "confined": confined},
        )
        return Started(token, session.id, session.expires_at)

    def end(self, actor: Actor, also: Callable[[Change], None] | None = None) -> None:
        """End the session that the actor came with.

        Args:
            actor: whose session.
            also: what ends with it, in the same transaction.
        """
        with self._store.write() as change:
            change.session.exec(
                update(UserSession)
                .where(col(UserSession.id) == actor.session_id, col(UserSession.ended_at).is_(None))
                .values(ended_at=utc_now())
            )
            change.audit(actor.person_id, Action.SESSION_END, AuditSubject("session", actor.session_id))
            if also is not None:
                also(change)

    def remembered(self, token: str) -> Actor | None:
        """Return the actor of a token without asking the database, if the last answer must still hold.

        Where this process is the only writer, an answer holds until a commit writes a table that it was made of, or
        until one of its rights ends.
        """
        cached = self._cache.get(token_hash(token))
        if (
            cached
            and self._store.single_process
            and cached[0] == self._store.epoch(_READ)
            and utc_now() < cached[1]
        ):
            return cached[2]
        return None

    def actor(self, token: str) -> Actor | None:
        """Return who the token stands for with the rights of now, or nobody."""
        hashed = token_hash(token)
        now = utc_now()
        epoch = self._store.epoch(_READ)
        with self._store.read() as session:
            found = self._load(session, hashed, now)
        if found is None:
            self._cache.pop(hashed, None)
            return None
        actor, good_until = found
        if len(self._cache) >= _CACHE_LARGEST:
            self._cache.clear()
        self._cache[hashed] = (epoch, good_until, actor)
        return actor

    @staticmethod
    def _load(session: Session, hashed: str, now: datetime) -> tuple[Actor, datetime] | None:
        row = session.exec(
            select(UserSession, Person)
            .join(Person, col(Person.id) == UserSession.person_id)
            .where(
                UserSession.token_hash == hashed,
                col(UserSession.ended_at).is_(None),
                UserSession.expires_at > now,
                col(Person.disabled_at).is_(None),
            )
        ).first()
        if row is None:
            return None
        user_session, person = row
        actor = actor_of(session, person, now, session_id=user_session.id)
        ends = [
            until
            for until in session.exec(
                select(Membership.until).where(Membership.person_id == person.id, col(Membership.until) > now)
            )
            if until is not None
        ]
        return actor, min([user_session.expires_at, *ends])

    def csrf_token(self, actor: Actor) -> str:
        """Return the token that forms of this session carry."""
        return hmac.new(self._secret, f"csrf {actor.session_id}".encode(), hashlib.sha256).hexdigest()

    def csrf_fits(self, actor: Actor, token: str | None) -> bool:
        """Compare a form's token in constant time."""
        return token is not None and hmac.compare_digest(self.csrf_token(actor).encode(), token.encode())

    def seal(self, text: str) -> str:
        """Return an authenticator for a short text that a browser keeps for us."""
        return hmac.new(self._secret, f"seal {text}".encode(), hashlib.sha256).hexdigest()


def actor_of(session: Session, person: Person, now: datetime, *, session_id: str | None = None) -> Actor:
    """Build the actor of a person from present roles and memberships."""
    roles = session.exec(select(PersonRole.role).where(PersonRole.person_id == person.id))
    memberships = session.exec(
        select(Membership.project_id, Membership.role).where(
            Membership.person_id == person.id,
            or_(col(Membership.until).is_(None), col(Membership.until) > now),
        )
    )
    return Actor(
        person_id=person.id,
        handle=person.handle,
        display_name=person.display_name,
        roles=frozenset(PlatformRole(role) for role in roles),
        memberships={project: ProjectRole(role) for project, role in memberships},
        session_id=session_id,
    )
