"""Tickets: random, kept hashed, for one file's bytes, one session, one use, one minute."""

from __future__ import annotations

import secrets
from datetime import timedelta

from sqlmodel import Session, col, select, update

from broch_airlock.tables import AirlockFile, Ticket, TicketKind
from broch_core.actors import Actor
from broch_core.clock import utc_now
from broch_core.errors import Denied, Gone
from broch_core.store.unit import Change
from broch_core.tables.people import Person, UserSession
from broch_core.web.sessions import actor_of, token_hash

LONGEST = 100
"""Longest text that can be a ticket."""


def issue(
    change: Change, actor: Actor, file: AirlockFile, kind: TicketKind, lifetime: timedelta
) -> tuple[str, Ticket]:
    """Make a ticket; the caller has asked the rule and records it.

    Raises:
        Denied: the actor has no session to bind it to.
    """
    if actor.session_id is None:
        raise Denied("A ticket needs a session.")
    token = secrets.token_urlsafe(32)
    ticket = Ticket(
        token_hash=token_hash(token),
        kind=kind,
        session_id=actor.session_id,
        person_id=actor.person_id,
        file_id=file.id,
        sha256=file.sha256,
        turn=file.turn,
        expires_at=utc_now() + lifetime,
    )
    change.session.add(ticket)
    change.session.flush()
    return token, ticket


def redeem(change: Change, token: str, kind: TicketKind) -> Ticket:
    """Use a ticket up, by one UPDATE that only one caller wins.

    Raises:
        Gone: it is unknown, expired, used, or of another kind: a caller learns no more.
    """
    now = utc_now()
    hashed = token_hash(token[:LONGEST])
    done = change.session.exec(
        update(Ticket)
        .where(
            col(Ticket.token_hash) == hashed,
            col(Ticket.kind) == kind,
            col(Ticket.used_at).is_(None),
            col(Ticket.expires_at) > now,
        )
        .values(used_at=now)
        .execution_options(synchronize_session=False)
    )
    if done.rowcount != 1:
        raise Gone(
            "This ticket has expired or was used already.", remedy="Go back and press the button again."
        )
    return change.session.exec(select(Ticket).where(Ticket.token_hash == hashed)).one()


def holder(session: Session, ticket: Ticket) -> Actor:
    """Return the person of a ticket with the rights of now.

    Raises:
        Gone: the session has ended.
    """
    row = session.exec(
        select(Person)
        .join(UserSession, col(UserSession.person_id) == Person.id)
        .where(
            UserSession.id == ticket.session_id,
            Person.id == ticket.person_id,
            col(UserSession.ended_at).is_(None),
            UserSession.expires_at > utc_now(),
            col(Person.disabled_at).is_(None),
        )
    ).first()
    if row is None:
        raise Gone("The session of this ticket has ended.", remedy="Sign in again.")
    return actor_of(session, row, utc_now(), session_id=ticket.session_id)
