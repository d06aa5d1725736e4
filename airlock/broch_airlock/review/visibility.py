"""Who may see which decision. The only way from decision rows to anything that leaves this process."""

from __future__ import annotations

from collections.abc import Sequence

from sqlmodel import Session, col, select

from broch_airlock.facts import files_of
from broch_airlock.review.schemas import DecisionView
from broch_airlock.review.standing import Decided, FileState, Standing, counts, standing
from broch_airlock.tables import AirlockFile, AirlockRequest, FileDecision
from broch_core.actors import Actor
from broch_core.lifecycles import AirlockStatus
from broch_core.scope import ever_members

_OVER = frozenset(
    {
        AirlockStatus.APPROVED,
        AirlockStatus.RELEASING,
        AirlockStatus.RELEASED,
        AirlockStatus.RETURNED,
        AirlockStatus.REJECTED,
        AirlockStatus.FAILED,
        AirlockStatus.RECALLED,
    }
)
"""States that a review only leads to when both reviewers were complete."""


def decisions_of(session: Session, request_id: str) -> Sequence[FileDecision]:
    """Return the decisions on the files of a request that were not revised, oldest first."""
    return session.exec(
        select(FileDecision)
        .join(AirlockFile, col(AirlockFile.id) == FileDecision.file_id)
        .where(AirlockFile.request_id == request_id, col(FileDecision.superseded_at).is_(None))
        .order_by(col(FileDecision.at), col(FileDecision.id))
    ).all()


def decided(row: FileDecision) -> Decided:
    """Return the row as the pure part knows it."""
    return Decided(row.file_id, row.sha256, row.reviewer_id, row.opinion, row.at)


def standing_of(session: Session, request: AirlockRequest) -> Standing:
    """Return where the review of a request stands."""
    return stands(
        request,
        files_of(session, request.id),
        decisions_of(session, request.id),
        ever_members(session, request.project_id),
    )


def stands(
    request: AirlockRequest,
    files: Sequence[AirlockFile],
    rows: Sequence[FileDecision],
    members: frozenset[str],
) -> Standing:
    """Return where a review stands; whoever became a member since they decided is not independent any more."""
    return standing(
        [FileState(file.id, file.sha256) for file in files],
        [decided(row) for row in rows if row.reviewer_id not in members],
        request.submitted_at,
    )


def revealed(session: Session, request: AirlockRequest) -> bool:
    """Tell whether what reviewers said in the present turn may be shown to everybody who may see the request."""
    return request.status in _OVER or standing_of(session, request).revealed


def visible_decisions(session: Session, actor: Actor, request: AirlockRequest) -> list[DecisionView]:
    """Return the decisions on a request that the actor may see, oldest first.

    One's own always; those of earlier turns, which ended by being revealed; those of the present turn once two
    reviewers have decided on every file. The same for author, members and every other reviewer. Labels are given in
    the order of first revealed decisions, so that they say nothing about what is not revealed.

    The caller has asked the rule whether the actor may know of the request.
    """
    files = files_of(session, request.id)
    present = {file.id: file.sha256 for file in files}
    rows = decisions_of(session, request.id)
    where = stands(request, files, rows, ever_members(session, request.project_id))
    over = request.status in _OVER or where.revealed
    since = request.submitted_at

    def revealed(row: FileDecision) -> bool:
        return over or (since is not None and row.at < since)

    labels: dict[str, str] = {}
    for row in rows:
        if revealed(row) and row.reviewer_id not in labels:
            labels[row.reviewer_id] = f"Reviewer {_letters(len(labels))}"
    return [
        DecisionView(
            id=row.id,
            file_id=row.file_id,
            sha256=row.sha256,
            reviewer="You" if row.reviewer_id == actor.person_id else labels[row.reviewer_id],
            own=row.reviewer_id == actor.person_id,
            opinion=row.opinion,
            comment=row.comment,
            at=row.at,
            current=counts(decided(row), present, since),
        )
        for row in rows
        if row.reviewer_id == actor.person_id or revealed(row)
    ]


def _letters(index: int) -> str:
    """Return A to Z, then AA and on."""
    text = ""
    while index >= 0:
        text = chr(ord("A") + index % 26) + text
        index = index // 26 - 1
    return text
