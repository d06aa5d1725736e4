"""Reviewers know of a request once it has reached them: what the checks hold or quarantined is none of theirs."""

from __future__ import annotations

import pytest

from broch_airlock.requests.schemas import NewComment
from broch_airlock.requests.service import RequestDesk
from broch_airlock.tables import AirlockRequest, Direction
from broch_core.clock import utc_now
from broch_core.errors import NotFound
from broch_core.lifecycles import AirlockStatus
from support.reviews import ReviewWorld

BEFORE = [AirlockStatus.SUBMITTED, AirlockStatus.CHECKING, AirlockStatus.QUARANTINED]


def submitted(place: ReviewWorld, status: AirlockStatus, turn: int = 1) -> AirlockRequest:
    author = place.world.people["ruth"].id
    request = AirlockRequest(
        project_id=place.world.project.id, direction=Direction.EGRESS, author_id=author, turn=turn
    )
    place.world.add(request)
    place.give(request, "table.csv", b"a,b\n1,2\n")
    place.move(request, status, submitted_at=utc_now())
    return request


@pytest.mark.parametrize("status", BEFORE)
def test_what_the_checks_hold_is_hidden_from_reviewers(place: ReviewWorld, status: AirlockStatus) -> None:
    desk = RequestDesk(place.store, place.shelves, place.world.settings)
    ruth, rita = place.world.actor("ruth"), place.world.actor("rita")
    request = submitted(place, status)
    desk.comment(ruth, request.id, NewComment(text="These are the rows of two patients."))
    with pytest.raises(NotFound):
        desk.read(rita, request.id)
    with pytest.raises(NotFound):
        desk.comment(rita, request.id, NewComment(text="Which ones?"))
    with pytest.raises(NotFound):
        place.desk.read(rita, request.id)
    assert desk.read(ruth, request.id).comments


def test_what_has_reached_them_is_theirs(place: ReviewWorld) -> None:
    desk = RequestDesk(place.store, place.shelves, place.world.settings)
    request = submitted(place, AirlockStatus.IN_REVIEW)
    desk.comment(place.world.actor("ruth"), request.id, NewComment(text="Two tables."))
    assert desk.read(place.world.actor("rita"), request.id).comments


@pytest.mark.parametrize("status", BEFORE)
def test_what_came_back_from_review_once_stays_theirs(place: ReviewWorld, status: AirlockStatus) -> None:
    desk = RequestDesk(place.store, place.shelves, place.world.settings)
    request = submitted(place, status, turn=2)
    assert desk.read(place.world.actor("rita"), request.id).id == request.id
