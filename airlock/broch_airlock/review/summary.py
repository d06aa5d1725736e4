"""How many requests stand where: for the bar above workspaces and the cards of the start page."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func
from sqlmodel import Session, col, select

from broch_airlock.tables import AirlockRequest
from broch_core.actions import Action
from broch_core.actors import Actor
from broch_core.errors import NotFound
from broch_core.lifecycles import AirlockStatus
from broch_core.rules import require
from broch_core.store.unit import Store

_MOVING = frozenset(
    {
        AirlockStatus.SUBMITTED,
        AirlockStatus.CHECKING,
        AirlockStatus.IN_REVIEW,
        AirlockStatus.APPROVED,
        AirlockStatus.RELEASING,
    }
)


@dataclass(frozen=True)
class Counts:
    """Requests by what somebody has to do about them."""

    drafts: int
    """Wait for the person to confirm them."""
    moving: int
    """Are checked, reviewed or released."""
    returned: int
    """Wait for changes."""
    released: int


class RequestCounter:
    """Counts the requests of projects."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def of_project(self, actor: Actor, project_id: str) -> Counts:
        """Count the requests of one project.

        Raises:
            NotFound: the actor is no member of it.
        """
        require(actor, Action.AIRLOCK_LIST)
        if not actor.is_member(project_id):
            raise NotFound
        with self._store.read() as session:
            return _counts(session, [project_id])

    def of_actor(self, actor: Actor) -> Counts:
        """Count the requests of all the actor's projects."""
        with self._store.read() as session:
            return _counts(session, list(actor.memberships))


def _counts(session: Session, project_ids: list[str]) -> Counts:
    counted = session.exec(
        select(AirlockRequest.status, func.count())
        .where(col(AirlockRequest.project_id).in_(project_ids))
        .group_by(AirlockRequest.status)
    )
    rows = {AirlockStatus(status): int(count) for status, count in counted}
    return Counts(
        drafts=rows.get(AirlockStatus.DRAFT, 0),
        moving=sum(rows.get(status, 0) for status in _MOVING),
        returned=rows.get(AirlockStatus.RETURNED, 0),
        released=rows.get(AirlockStatus.RELEASED, 0),
    )
