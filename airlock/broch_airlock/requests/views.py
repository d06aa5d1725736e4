"""What a reader may know of a request, as schemas. Decisions come from one function of the review alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import func
from sqlmodel import Session, col, select

from broch_airlock.checks.model import Verdict, worst
from broch_airlock.facts import KIND, files_of, request_resource
from broch_airlock.requests.schemas import (
    CheckView,
    CommentView,
    EventView,
    FileView,
    FindingView,
    RequestSummary,
    RequestView,
)
from broch_airlock.retention.service import retention_view
from broch_airlock.review.visibility import revealed, visible_decisions
from broch_airlock.tables import AirlockBytes, AirlockFile, AirlockRequest, CheckOutcome, RequestComment
from broch_airlock.uploads.intake import OPEN_STATES
from broch_core.actions import Action
from broch_core.actors import Actor
from broch_core.audit.tables import AuditRecord
from broch_core.lifecycles import AIRLOCK, AirlockEvent, AirlockStatus
from broch_core.rules import decide
from broch_core.scope import ever_members
from broch_core.settings import Settings
from broch_core.tables.people import Person
from broch_core.tables.projects import Project

PENDING = "pending"
_BEING_CHECKED = frozenset({AirlockStatus.SUBMITTED, AirlockStatus.CHECKING})


def summaries(session: Session, actor: Actor, requests: Sequence[AirlockRequest]) -> list[RequestSummary]:
    """Return requests as a list shows them."""
    ids = [request.id for request in requests]
    totals = {
        request_id: (int(count), int(size or 0))
        for request_id, count, size in session.exec(
            select(AirlockFile.request_id, func.count(), func.sum(AirlockFile.size))
            .where(col(AirlockFile.request_id).in_(ids))
            .group_by(AirlockFile.request_id)
        )
    }
    projects = dict(
        session.exec(
            select(Project.id, Project.name).where(
                col(Project.id).in_({request.project_id for request in requests})
            )
        ).all()
    )
    people = names_of(session, (request.author_id for request in requests))
    return [
        RequestSummary(
            id=request.id,
            project_id=request.project_id,
            project_name=projects[request.project_id],
            direction=request.direction,
            status=request.status,
            turn=request.turn,
            author=people[request.author_id],
            own=request.author_id == actor.person_id,
            purpose=request.purpose,
            files=totals.get(request.id, (0, 0))[0],
            size=totals.get(request.id, (0, 0))[1],
            created_at=request.created_at,
            submitted_at=request.submitted_at,
        )
        for request in requests
    ]


def request_view(session: Session, actor: Actor, request: AirlockRequest, settings: Settings) -> RequestView:
    """Return a request with everything that this reader may know. The caller has asked the rule."""
    resource = request_resource(session, actor, request)
    may_submit = decide(actor, Action.AIRLOCK_SUBMIT, resource)
    may_withdraw = decide(actor, Action.AIRLOCK_WITHDRAW, resource)
    may_upload = decide(actor, Action.AIRLOCK_UPLOAD, resource)
    events = AIRLOCK.events(request.status)
    return RequestView(
        **summaries(session, actor, [request])[0].model_dump(),
        description=request.description,
        message=request.message,
        check_deadline=request.check_deadline,
        file_list=file_views(session, request),
        comments=_comments(session, actor, request),
        timeline=timeline(session, request),
        decisions=visible_decisions(session, actor, request),
        may_submit=may_submit.allowed and AirlockEvent.SUBMIT in events,
        why_not_submit=may_submit.reason or None,
        may_withdraw=may_withdraw.allowed and AirlockEvent.WITHDRAW in events,
        editable=may_upload.allowed and request.status in OPEN_STATES,
        retention=retention_view(session, request, settings),
    )


def file_views(session: Session, request: AirlockRequest) -> list[FileView]:
    """Return the files of a request with what the checks said of their present bytes."""
    files = files_of(session, request.id)
    outcomes: dict[str, list[CheckOutcome]] = defaultdict(list)
    for outcome in session.exec(
        select(CheckOutcome)
        .where(col(CheckOutcome.file_id).in_([file.id for file in files]))
        .order_by(CheckOutcome.check)
    ):
        outcomes[outcome.file_id].append(outcome)
    views = []
    for file in files:
        present = [outcome for outcome in outcomes[file.id] if outcome.sha256 == file.sha256]
        verdict = worst(Verdict(outcome.verdict) for outcome in present).value if present else None
        if verdict is None and request.status in _BEING_CHECKED:
            verdict = PENDING
        views.append(
            FileView(
                id=file.id,
                name=file.name,
                size=file.size,
                sha256=file.sha256,
                turn=file.turn,
                verdict=verdict,
                checks=[_check(outcome) for outcome in present],
                removable=removable(session, request, file),
            )
        )
    return views


def removable(session: Session, request: AirlockRequest, file: AirlockFile) -> bool:
    """Tell whether a file has never been submitted, so that it can go without a trace."""
    if request.status is AirlockStatus.DRAFT:
        return True
    if request.status is not AirlockStatus.RETURNED:
        return False
    earlier = session.exec(
        select(AirlockBytes.turn)
        .where(AirlockBytes.file_id == file.id, AirlockBytes.turn <= request.turn)
        .limit(1)
    ).first()
    return earlier is None


def timeline(session: Session, request: AirlockRequest) -> list[EventView]:
    """Return the moves of a request. Records without a status (single decisions among them) are never part of it."""
    records = session.exec(
        select(AuditRecord)
        .where(
            AuditRecord.subject_kind == KIND,
            AuditRecord.subject_id == request.id,
            AuditRecord.outcome == "allowed",
        )
        .order_by(col(AuditRecord.at), col(AuditRecord.id))
    ).all()
    moves = [record for record in records if "status" in record.facts]
    members = ever_members(session, request.project_id)
    people = names_of(session, (move.actor_id for move in moves if move.actor_id in members))
    return [
        EventView(
            status=AirlockStatus(move.facts["status"]),
            turn=move.facts["turn"],
            by=people.get(move.actor_id),
            at=move.at,
        )
        for move in moves
    ]


def names_of(session: Session, person_ids: Iterable[str]) -> Mapping[str, str]:
    """Return display names by id."""
    rows = session.exec(select(Person.id, Person.display_name).where(col(Person.id).in_(set(person_ids))))
    return dict(rows.all())


def _comments(session: Session, actor: Actor, request: AirlockRequest) -> list[CommentView]:
    comments = session.exec(
        select(RequestComment)
        .where(RequestComment.request_id == request.id)
        .order_by(col(RequestComment.at), col(RequestComment.id))
    ).all()
    members = ever_members(session, request.project_id)
    people = names_of(session, (comment.person_id for comment in comments if comment.person_id in members))
    shown = not comments or revealed(session, request)
    return [
        CommentView(
            by=people.get(comment.person_id, "A reviewer"),
            own=comment.person_id == actor.person_id,
            text=comment.text,
            turn=comment.turn,
            at=comment.at,
        )
        for comment in comments
        # That a reviewer said something tells that they looked: it waits until both have decided.
        if shown
        or comment.person_id in members
        or comment.person_id == actor.person_id
        or comment.turn < request.turn
    ]


def _check(outcome: CheckOutcome) -> CheckView:
    return CheckView(
        check=outcome.check,
        engine=outcome.engine,
        verdict=outcome.verdict,
        findings=[FindingView.model_validate(finding) for finding in outcome.findings],
        at=outcome.at,
    )
