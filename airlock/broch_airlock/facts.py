"""What intake and review both ask about a request: the row, its files, and the facts that rules judge by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlmodel import Session, col, select

from broch_airlock.tables import AirlockFile, AirlockRequest, Direction
from broch_core.actions import Action
from broch_core.actors import Actor
from broch_core.audit.record import AuditSubject
from broch_core.errors import NotFound
from broch_core.ids import existing_id
from broch_core.lifecycles import AirlockStatus
from broch_core.rules import Resource, require
from broch_core.scope import EVERYTHING, ProjectScope, ever_members, may_export
from broch_core.store.unit import Change
from broch_core.tables.projects import Project

KIND = "airlock request"
"""What audit records and rules call it."""
_BEFORE_REVIEW = frozenset({AirlockStatus.SUBMITTED, AirlockStatus.CHECKING, AirlockStatus.QUARANTINED})
"""States after the submission in which a request has not reached reviewers in this turn."""


def find_request(
    session: Session, scope: ProjectScope, request_id: str, *, lock: bool = False
) -> AirlockRequest:
    """Return a request inside the scope.

    Args:
        session: where to look.
        scope: what the caller may see; reviewers are no members, so they look in `EVERYTHING` and ask their rule.
        request_id: which.
        lock: lock the rows of project and request, in this order, until the transaction ends: decisions, uploads,
            submissions and changes of membership then happen one after the other.

    Raises:
        NotFound: it does not exist or lies outside the scope.
    """
    id_ = existing_id(request_id)
    if lock:
        session.exec(
            select(Project.id)
            .join(AirlockRequest, col(AirlockRequest.project_id) == Project.id)
            .where(AirlockRequest.id == id_)
            .with_for_update(of=Project)
        ).first()
    request = session.get(AirlockRequest, id_, with_for_update=lock or None, populate_existing=lock)
    if request is None or request.project_id not in scope:
        raise NotFound
    return request


def request_resource(session: Session, actor: Actor, request: AirlockRequest) -> Resource:
    """Return what rules may know of a request when `actor` wants something of it."""
    export = request.direction is Direction.INGRESS or may_export(
        session, request.project_id, actor.person_id
    )
    return Resource(
        kind=KIND,
        id=request.id,
        project_id=request.project_id,
        author_id=request.author_id,
        ever_members=ever_members(session, request.project_id),
        may_export=export,
        in_review=_reached_reviewers(request),
    )


def _reached_reviewers(request: AirlockRequest) -> bool:
    """Tell whether reviewers may know of a request.

    What the checks hold, or have quarantined, is none of theirs yet, and maybe never: they would read what the author
    wrote about files that nobody may look at. One that came back to its author in an earlier turn stays theirs.
    """
    return request.submitted_at is not None and (request.turn > 1 or request.status not in _BEFORE_REVIEW)


def reach_request(
    session: Session, actor: Actor, action: Action, request_id: str, *, lock: bool = False
) -> AirlockRequest:
    """Return a request on which `actor` may do `action`: look it up, then ask the rule.

    Raises:
        NotFound: it does not exist, or the actor may not know that it does.
        Denied: the rule says no.
    """
    request = find_request(session, EVERYTHING, request_id, lock=lock)
    require(actor, action, request_resource(session, actor, request))
    return request


def files_of(session: Session, request_id: str) -> Sequence[AirlockFile]:
    """Return the files of a request by name."""
    return session.exec(
        select(AirlockFile).where(AirlockFile.request_id == request_id).order_by(col(AirlockFile.name))
    ).all()


def subject_of(request: AirlockRequest) -> AuditSubject:
    """Return the subject of audit records about a request."""
    return AuditSubject(KIND, request.id, request.project_id)


def audit_move(
    change: Change,
    actor_id: str,
    action: Action | str,
    request: AirlockRequest,
    *,
    facts: Mapping[str, object] | None = None,
    personal: Mapping[str, str] | None = None,
) -> str:
    """Record a move along the life cycle, after `change.advance`; return the record's id.

    Its facts carry the new `status` and the `turn`. The timeline that people see is made of these records alone:
    what one reviewer decided while the other has not must never be recorded with a status.
    """
    moved = {"status": request.status.value, "turn": request.turn}
    return change.audit(
        actor_id, action, subject_of(request), facts={**moved, **(facts or {})}, personal=personal
    )
