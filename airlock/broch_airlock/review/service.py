"""The desk of reviewers: their queue, a request as they see it, and their decisions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, TypeVar

from sqlmodel import Session, col, select, update

from broch_airlock.checks.model import Verdict
from broch_airlock.facts import audit_move, reach_request, subject_of
from broch_airlock.requests.views import file_views, names_of
from broch_airlock.review.schemas import DecisionNew, QueueEntry, QueuePage
from broch_airlock.review.standing import Outcome, Standing
from broch_airlock.review.views import ReviewView, review_view
from broch_airlock.review.visibility import decisions_of, standing_of, stands
from broch_airlock.tables import AirlockFile, AirlockRequest, FileDecision, Opinion
from broch_core.actions import Action
from broch_core.actors import Actor, PlatformRole
from broch_core.clock import utc_now
from broch_core.errors import Conflict, NotFound
from broch_core.ids import existing_id
from broch_core.lifecycles import AIRLOCK, AirlockEvent, AirlockStatus
from broch_core.rules import require
from broch_core.scope import ever_members
from broch_core.store.unit import Change, Store
from broch_core.tables.projects import Membership, Project

T = TypeVar("T", AirlockFile, FileDecision)

REVIEWED = "airlock:review"
"""The record of what reviewers decided; written when it is revealed, never before."""
TAKEN = "Two other reviewers have this request in review already."
_EVENTS = {
    Outcome.APPROVE: AirlockEvent.APPROVE,
    Outcome.RETURN: AirlockEvent.RETURN,
    Outcome.REJECT: AirlockEvent.REJECT,
}
_MESSAGES = {
    Outcome.APPROVE: None,
    Outcome.RETURN: "The reviewers ask for changes. Read their comments, change the files and submit again.",
    Outcome.REJECT: "The reviewers rejected this request. Read their comments.",
}
_APPROVABLE = frozenset({Verdict.CLEAN.value, Verdict.FLAGGED.value})


class ReviewDesk:
    """What airlock reviewers do."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def queue(self, actor: Actor, *, after: str | None, limit: int) -> QueuePage:
        """Return what waits for review and this person may review, oldest first."""
        require(actor, Action.AIRLOCK_QUEUE)
        with self._store.read() as session:
            rows = _waiting(session, actor, after=after, limit=limit + 1)
            shown = rows[:limit]
            entries = _entries(session, actor, shown)
        return QueuePage(items=entries, next=shown[-1].id if len(rows) > limit else None)

    def waiting(self, actor: Actor) -> int:
        """Count the requests on which this reviewer can still decide something."""
        if not actor.has(PlatformRole.REVIEWER):
            return 0
        with self._store.read() as session:
            entries = _entries(session, actor, _waiting(session, actor, after=None, limit=None))
        return sum(entry.open and entry.decided < entry.files for entry in entries)

    def read(self, actor: Actor, request_id: str, action: Action = Action.AIRLOCK_FILE_VIEW) -> ReviewView:
        """Return a request as this reviewer may see it, if they may do `action`.

        Raises:
            NotFound: there is no such request, or it has not been submitted.
            Denied: the actor is not independent of it.
        """
        with self._store.read() as session:
            request = reach_request(session, actor, action, request_id)
            return review_view(session, actor, request, standing_of(session, request), taken=TAKEN)

    def decide(self, actor: Actor, request_id: str, file_id: str, body: DecisionNew) -> ReviewView:
        """Record a decision on one file, and move the request on if that settles it.

        Raises:
            NotFound: there is no such request or file.
            Denied: the actor is not independent of it.
            Conflict: the request is not in review, other reviewers have it, its files have changed, or the checks do
                not let this file be approved.
        """
        with self._store.write() as change:
            session = change.session
            request = reach_request(session, actor, Action.AIRLOCK_FILE_DECIDE, request_id, lock=True)
            file = session.get(AirlockFile, existing_id(file_id))
            if file is None or file.request_id != request.id:
                raise NotFound
            _require_decidable(session, request, file, body)
            if not standing_of(session, request).may_join(actor.person_id):
                raise Conflict(TAKEN, remedy="Take the next request of the queue.")
            decision = _record(change, actor, file, body)
            change.audit(
                actor.person_id,
                Action.AIRLOCK_FILE_DECIDE,
                subject_of(request),
                # What was decided stays out of the log until it is revealed: administrators read the log.
                facts={
                    "file": file.id,
                    "sha256": file.sha256,
                    "decision": decision.id,
                    "turn_of_bytes": file.turn,
                },
            )
            now = standing_of(session, request)
            if now.revealed:
                _settle(change, actor, request, now)
            return review_view(session, actor, request, now, taken=TAKEN)


def _require_decidable(
    session: Session, request: AirlockRequest, file: AirlockFile, body: DecisionNew
) -> None:
    if request.status is not AirlockStatus.IN_REVIEW:
        raise Conflict(
            f"The request is {request.status.value.replace('_', ' ')}, not in review.",
            remedy="Load it again and look at its present state.",
        )
    if body.turn != request.turn or body.sha256 != file.sha256:
        raise Conflict(
            "The file has changed since you looked at it.",
            remedy="Load the request again, look at the file, and decide then.",
        )
    if body.opinion is not Opinion.APPROVE:
        return
    verdict = next(view.verdict for view in file_views(session, request) if view.id == file.id)
    if verdict not in _APPROVABLE:
        raise Conflict(
            f"The checks say '{verdict or 'nothing yet'}' of this file, so it cannot be approved.",
            remedy="Ask for changes or reject it.",
        )


def _record(change: Change, actor: Actor, file: AirlockFile, body: DecisionNew) -> FileDecision:
    now = utc_now()
    change.session.exec(
        update(FileDecision)
        .where(
            col(FileDecision.file_id) == file.id,
            col(FileDecision.sha256) == file.sha256,
            col(FileDecision.reviewer_id) == actor.person_id,
            col(FileDecision.superseded_at).is_(None),
        )
        .values(superseded_at=now)
        .execution_options(synchronize_session=False)
    )
    decision = FileDecision(
        file_id=file.id,
        sha256=file.sha256,
        turn=file.turn,
        reviewer_id=actor.person_id,
        opinion=body.opinion,
        comment=body.comment,
        at=now,
    )
    change.session.add(decision)
    change.session.flush()
    return decision


def _settle(change: Change, actor: Actor, request: AirlockRequest, now: Standing) -> None:
    """Record what is revealed, and move the request on unless the reviewers do not agree."""
    facts: dict[str, Any] = {
        "outcome": now.outcome.value,
        "decisions": [
            {
                "decision": row.id,
                "reviewer": row.reviewer_id,
                "file": row.file_id,
                "opinion": row.opinion.value,
            }
            for row in decisions_of(change.session, request.id)
        ],
    }
    event = _EVENTS.get(now.outcome)
    if event is None:
        change.audit(actor.person_id, REVIEWED, subject_of(request), facts=facts)
        return
    change.advance(AIRLOCK, request, event, message=_MESSAGES[now.outcome])
    audit_move(change, actor.person_id, REVIEWED, request, facts=facts)
    if event is AirlockEvent.APPROVE:
        change.later(
            "airlock.release", f"airlock.release:{request.id}:{request.turn}", {"request_id": request.id}
        )
    elif event is AirlockEvent.REJECT:
        change.later("airlock.discard", f"airlock.discard:{request.id}", {"request_id": request.id})


def _waiting(
    session: Session, actor: Actor, *, after: str | None, limit: int | None
) -> Sequence[AirlockRequest]:
    """Return requests in review of which the actor is independent, oldest first."""
    query = select(AirlockRequest).where(
        AirlockRequest.status == AirlockStatus.IN_REVIEW,
        AirlockRequest.author_id != actor.person_id,
        col(AirlockRequest.project_id).not_in(
            select(Membership.project_id).where(Membership.person_id == actor.person_id)
        ),
    )
    if after is not None:
        query = query.where(AirlockRequest.id > after)
    return session.exec(query.order_by(AirlockRequest.id).limit(limit)).all()


def _entries(session: Session, actor: Actor, requests: Sequence[AirlockRequest]) -> list[QueueEntry]:
    ids = [request.id for request in requests]
    files = session.exec(select(AirlockFile).where(col(AirlockFile.request_id).in_(ids))).all()
    request_of = {file.id: file.request_id for file in files}
    decisions = session.exec(
        select(FileDecision)
        .where(col(FileDecision.file_id).in_(request_of), col(FileDecision.superseded_at).is_(None))
        .order_by(col(FileDecision.at), col(FileDecision.id))
    ).all()
    files_by = _grouped(files, {file.id: file.request_id for file in files}, lambda file: file.id)
    decisions_by = _grouped(decisions, request_of, lambda row: row.file_id)
    names = dict(
        session.exec(
            select(Project.id, Project.name).where(col(Project.id).in_({r.project_id for r in requests}))
        ).all()
    )
    people = names_of(session, (request.author_id for request in requests))
    entries = []
    for request in requests:
        members = ever_members(session, request.project_id)
        now = stands(request, files_by[request.id], decisions_by[request.id], members)
        entries.append(
            QueueEntry(
                id=request.id,
                project=names[request.project_id],
                author=people[request.author_id],
                direction=request.direction,
                purpose=request.purpose,
                submitted_at=request.submitted_at or request.created_at,
                turn=request.turn,
                files=len(files_by[request.id]),
                decided=now.covered.get(actor.person_id, 0),
                open=now.may_join(actor.person_id),
            )
        )
    return entries


def _grouped(rows: Sequence[T], request_of: dict[str, str], file_id: Any) -> defaultdict[str, list[T]]:
    groups: defaultdict[str, list[T]] = defaultdict(list)
    for row in rows:
        groups[request_of[file_id(row)]].append(row)
    return groups
