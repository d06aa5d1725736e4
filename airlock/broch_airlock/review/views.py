"""A request as a reviewer may see it."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field
from sqlmodel import Session

from broch_airlock.requests.schemas import FileView
from broch_airlock.requests.views import file_views, names_of
from broch_airlock.review.schemas import DecisionView
from broch_airlock.review.standing import Outcome, Standing
from broch_airlock.review.visibility import visible_decisions
from broch_airlock.tables import AirlockRequest, Direction, Opinion
from broch_core.actors import Actor
from broch_core.ids import Id
from broch_core.lifecycles import AirlockStatus
from broch_core.tables.projects import Project


class ReviewFile(FileView):
    """One file under review."""

    decision: Opinion | None = Field(default=None, description="Your own, if it counts in this turn.")
    comment: str = Field(default="", description="Your own.")
    decisions: list[DecisionView] = Field(description="All that you may see of what was decided on it.")


class ReviewView(BaseModel):
    """One request as a reviewer sees it."""

    id: Id
    project: str = Field(examples=["Tumour texture"])
    author: str = Field(examples=["Ruth Researcher"])
    direction: Direction
    status: AirlockStatus
    purpose: str
    description: str
    submitted_at: datetime | None
    turn: int
    files: list[ReviewFile]
    open: bool = Field(description="You may decide now.")
    why_not: str | None = Field(default=None, description="Why you may not.")
    revealed: bool = Field(description="Both reviewers have decided on every file.")
    conflict: bool = Field(description="They do not agree: either may revise, or a third reviewer decides.")


def review_view(
    session: Session, actor: Actor, request: AirlockRequest, now: Standing, *, taken: str
) -> ReviewView:
    """Return a request as this reviewer may see it. The caller has asked the rule.

    Args:
        session: where to look.
        actor: the reviewer.
        request: which.
        now: where its review stands.
        taken: what to say to a reviewer for whom there is no place.
    """
    project = session.get_one(Project, request.project_id)
    decisions = visible_decisions(session, actor, request)
    why_not = None
    if request.status is not AirlockStatus.IN_REVIEW:
        why_not = f"The request is {request.status.value.replace('_', ' ')}."
    elif not now.may_join(actor.person_id):
        why_not = taken
    in_review = request.status is AirlockStatus.IN_REVIEW
    return ReviewView(
        id=request.id,
        project=project.name,
        author=names_of(session, [request.author_id])[request.author_id],
        direction=request.direction,
        status=request.status,
        purpose=request.purpose,
        description=request.description,
        submitted_at=request.submitted_at,
        turn=request.turn,
        files=[
            _file(view.model_dump(), [d for d in decisions if d.file_id == view.id])
            for view in file_views(session, request)
        ],
        open=why_not is None,
        why_not=why_not,
        revealed=now.revealed,
        conflict=in_review and now.revealed and now.outcome is Outcome.CONFLICT,
    )


def _file(fields: dict[str, object], decisions: list[DecisionView]) -> ReviewFile:
    own = next((d for d in decisions if d.own and d.current), None)
    return ReviewFile.model_validate(
        {
            **fields,
            "decision": own.opinion if own else None,
            "comment": own.comment if own else "",
            "decisions": [d for d in decisions if not (d.own and d.current)],
        }
    )
