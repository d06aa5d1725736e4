"""API of airlock requests."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from broch_airlock.requests.schemas import (
    NewComment,
    NewRequest,
    RequestSummary,
    RequestView,
    Submission,
)
from broch_airlock.requests.service import RequestDesk, RequestFilter
from broch_airlock.tables import Direction
from broch_core.actions import Action
from broch_core.ids import Id
from broch_core.lifecycles import AirlockStatus
from broch_core.web.guard import Who
from broch_core.web.paging import PAGE, Before, Limit, Page
from broch_core.web.routing import Router, provided

router = Router("/api/v1/airlock", tag="airlock requests")
Desk = Annotated[RequestDesk, provided(RequestDesk)]


@router.get("/requests", action=Action.AIRLOCK_LIST)
def list_requests(
    actor: Who,
    desk: Desk,
    project_id: Annotated[Id | None, Query(description="Of this project only.")] = None,
    direction: Direction | None = None,
    status: AirlockStatus | None = None,
    before: Before = None,
    limit: Limit = PAGE,
) -> Page[RequestSummary]:
    """List the airlock requests of your projects, newest first."""
    return desk.list(actor, RequestFilter(project_id, direction, status, before, limit))


@router.post("/requests", action=Action.AIRLOCK_CREATE, status_code=201)
def create_request(body: NewRequest, actor: Who, desk: Desk) -> RequestView:
    """Begin a draft for files that come in; files leave by the door or from the project's folder."""
    return desk.create(actor, body)


@router.get("/requests/{request_id}", action=Action.AIRLOCK_READ)
def read_request(request_id: Id, actor: Who, desk: Desk) -> RequestView:
    """Read a request: files, checks, comments, and the decisions that you may see."""
    return desk.read(actor, request_id)


@router.post("/requests/{request_id}/submit", action=Action.AIRLOCK_SUBMIT)
def submit_request(request_id: Id, body: Submission, actor: Who, desk: Desk) -> RequestView:
    """Confirm purpose, description and the digests you saw; the checks begin."""
    return desk.submit(actor, request_id, body)


@router.post("/requests/{request_id}/withdraw", action=Action.AIRLOCK_WITHDRAW)
def withdraw_request(request_id: Id, actor: Who, desk: Desk) -> RequestView:
    """Take a request back before it is released."""
    return desk.withdraw(actor, request_id)


@router.post("/requests/{request_id}/comments", action=Action.AIRLOCK_COMMENT, status_code=201)
def add_comment(request_id: Id, body: NewComment, actor: Who, desk: Desk) -> RequestView:
    """Say something about a request."""
    return desk.comment(actor, request_id, body)


@router.delete("/requests/{request_id}/files/{file_id}", action=Action.AIRLOCK_UPLOAD)
def remove_file(request_id: Id, file_id: Id, actor: Who, desk: Desk) -> RequestView:
    """Take a file that was never submitted out of a draft."""
    return desk.remove_file(actor, request_id, file_id)
