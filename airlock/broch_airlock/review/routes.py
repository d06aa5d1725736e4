"""API of the review."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from broch_airlock.release.schemas import TicketView
from broch_airlock.review.schemas import DecisionNew, QueuePage, ViewTicketNew
from broch_airlock.review.service import ReviewDesk
from broch_airlock.review.views import ReviewView
from broch_airlock.viewer.service import ViewDesk
from broch_core.actions import Action
from broch_core.ids import Id
from broch_core.web.guard import Who
from broch_core.web.paging import PAGE, Limit
from broch_core.web.routing import Router, provided

router = Router("/api/v1/airlock", tag="airlock review")
Desk = Annotated[ReviewDesk, provided(ReviewDesk)]
Viewer = Annotated[ViewDesk, provided(ViewDesk)]
After = Annotated[Id | None, Query(description="Show what comes after this id (from `next`).")]


@router.get("/queue", action=Action.AIRLOCK_QUEUE)
def read_queue(actor: Who, desk: Desk, after: After = None, limit: Limit = PAGE) -> QueuePage:
    """List what waits for your review, oldest first, with your own progress."""
    return desk.queue(actor, after=after, limit=limit)


@router.get("/requests/{request_id}/review", action=Action.AIRLOCK_FILE_VIEW)
def read_review(request_id: Id, actor: Who, desk: Desk) -> ReviewView:
    """Read a request as its reviewer: files, findings, your decisions, and others' once they are revealed."""
    return desk.read(actor, request_id)


@router.post(
    "/requests/{request_id}/files/{file_id}/decisions", action=Action.AIRLOCK_FILE_DECIDE, status_code=201
)
def decide_file(request_id: Id, file_id: Id, body: DecisionNew, actor: Who, desk: Desk) -> ReviewView:
    """Record your decision on one file, or revise it."""
    return desk.decide(actor, request_id, file_id, body)


@router.post("/requests/{request_id}/files/{file_id}/views", action=Action.AIRLOCK_FILE_VIEW, status_code=201)
def make_view_ticket(
    request_id: Id, file_id: Id, body: ViewTicketNew, actor: Who, desk: Viewer
) -> TicketView:
    """Make a ticket for one look at a file; post it to its target as the form field `ticket`."""
    return desk.ticket(actor, request_id, file_id, body)
