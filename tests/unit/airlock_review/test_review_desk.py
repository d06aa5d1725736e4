"""Deciding: who, when, on what, and what follows."""

from __future__ import annotations

import pytest
from sqlmodel import select

from broch_airlock.review.schemas import DecisionNew
from broch_airlock.review.visibility import visible_decisions
from broch_airlock.tables import AirlockRequest, Opinion
from broch_core.actors import PlatformRole, ProjectRole
from broch_core.audit.tables import AuditRecord
from broch_core.errors import Conflict, Denied, NotFound
from broch_core.lifecycles import AirlockStatus
from broch_core.outbox.tables import OutboxEntry
from broch_core.tables.people import PersonRole
from broch_core.tables.projects import Membership
from support.reviews import ReviewWorld

TWO = {"a.csv": b"1\n", "b.csv": b"2\n"}


def status(place: ReviewWorld, request: AirlockRequest) -> AirlockStatus:
    return place.request(request.id).status


def seen(place: ReviewWorld, handle: str, request: AirlockRequest):
    with place.store.read() as session:
        row = session.get_one(AirlockRequest, request.id)
        return visible_decisions(session, place.world.actor(handle), row)


def test_two_approvals_of_every_file_approve_and_ask_for_the_release_once(place: ReviewWorld):
    request = place.in_review(TWO)
    place.decide("rita", request, "approve")
    place.decide("ravi", request, "approve", "a.csv")
    assert status(place, request) is AirlockStatus.IN_REVIEW
    place.decide("ravi", request, "approve", "b.csv")
    assert status(place, request) is AirlockStatus.APPROVED
    with place.store.read() as session:
        assert [e.kind for e in session.exec(select(OutboxEntry))] == ["airlock.release"]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("approve", "changes_requested", AirlockStatus.RETURNED),
        ("changes_requested", "changes_requested", AirlockStatus.RETURNED),
        ("reject", "reject", AirlockStatus.REJECTED),
        ("approve", "reject", AirlockStatus.IN_REVIEW),
        ("reject", "changes_requested", AirlockStatus.IN_REVIEW),
    ],
)
def test_the_request_follows_the_opinions(place: ReviewWorld, first, second, expected):
    request = place.in_review()
    place.decide("rita", request, first)
    place.decide("ravi", request, second)
    assert status(place, request) is expected


@pytest.mark.parametrize("handle", ["ruth", "sam", "ada"])
def test_nobody_but_independent_reviewers_decides(place: ReviewWorld, handle: str):
    request = place.in_review()
    with pytest.raises((Denied, NotFound)):
        place.decide(handle, request, "approve")
    assert place.decisions() == []


def test_a_former_member_and_an_author_with_the_role_cannot_review(place: ReviewWorld):
    world = place.world
    request = place.in_review()
    world.add(
        Membership(
            project_id=world.project.id,
            person_id=world.people["rosa"].id,
            role=ProjectRole.RESEARCHER,
            until=world.people["rosa"].created_at,
        ),
        PersonRole(person_id=world.people["ruth"].id, role=PlatformRole.REVIEWER),
    )
    for handle in ("rosa", "ruth"):
        with pytest.raises(Denied):
            place.decide(handle, request, "approve")
    assert place.desk.queue(world.actor("rosa"), after=None, limit=10).items == []
    place.decide("rita", request, "approve")  # the positive twin


def test_whoever_becomes_a_member_takes_their_decisions_out_of_the_count(place: ReviewWorld):
    world = place.world
    request = place.in_review()
    place.decide("rita", request, "approve")
    world.add(
        Membership(
            project_id=world.project.id, person_id=world.people["rita"].id, role=ProjectRole.RESEARCHER
        )
    )
    place.decide("ravi", request, "approve")
    assert status(place, request) is AirlockStatus.IN_REVIEW
    place.decide("rosa", request, "approve")
    assert status(place, request) is AirlockStatus.APPROVED


@pytest.mark.parametrize("wrong", [{"sha256": "0" * 64}, {"turn": 2}])
def test_a_decision_on_what_is_not_there_is_refused(place: ReviewWorld, wrong):
    request = place.in_review()
    file = place.files(request)[0]
    body = DecisionNew(**{"opinion": "approve", "sha256": file.sha256, "turn": 1} | wrong)
    with pytest.raises(Conflict, match="changed"):
        place.desk.decide(place.world.actor("rita"), request.id, file.id, body)


def test_a_file_of_another_request_is_not_found(place: ReviewWorld):
    request, other = place.in_review(), place.in_review({"x.csv": b"x"})
    file = place.files(other)[0]
    body = DecisionNew(opinion=Opinion.APPROVE, sha256=file.sha256, turn=1)
    with pytest.raises(NotFound):
        place.desk.decide(place.world.actor("rita"), request.id, file.id, body)


@pytest.mark.parametrize("opinion", ["changes_requested", "reject"])
def test_a_reason_is_needed_unless_one_approves(opinion: str):
    with pytest.raises(ValueError, match="Say why"):
        DecisionNew(opinion=Opinion(opinion), sha256="0" * 64, turn=1, comment="  ")


@pytest.mark.parametrize("verdict", ["blocked", "unscannable", "error"])
def test_what_the_checks_refuse_cannot_be_approved_but_rejected(place: ReviewWorld, verdict: str):
    request = place.in_review(verdict=verdict)
    with pytest.raises(Conflict, match="cannot be approved"):
        place.decide("rita", request, "approve")
    place.decide("rita", request, "reject")


def test_a_third_reviewer_is_turned_away_without_names_and_wanted_in_a_conflict(place: ReviewWorld):
    request = place.in_review()
    place.decide("rita", request, "approve")
    other = place.in_review(TWO)
    place.decide("rita", other, "approve", "a.csv")
    place.decide("ravi", other, "approve", "a.csv")
    with pytest.raises(Conflict, match="Two other reviewers"):
        place.decide("rosa", other, "approve", "a.csv")
    entry = {e.id: e for e in place.desk.queue(place.world.actor("rosa"), after=None, limit=10).items}
    assert (entry[request.id].open, entry[other.id].open) == (True, False)
    place.decide("ravi", request, "reject")
    assert place.desk.read(place.world.actor("rosa"), request.id).conflict
    place.decide("rosa", request, "reject")
    assert status(place, request) is AirlockStatus.REJECTED


def test_in_a_conflict_both_see_each_other_and_may_revise(place: ReviewWorld):
    request = place.in_review()
    place.decide("rita", request, "approve")
    place.decide("ravi", request, "reject", comment="Row 4.")
    assert [(d.reviewer, d.comment) for d in seen(place, "rita", request)] == [
        ("You", ""),
        ("Reviewer B", "Row 4."),
    ]
    assert [d.reviewer for d in seen(place, "ruth", request)] == ["Reviewer A", "Reviewer B"]
    place.decide("ravi", request, "approve")
    assert status(place, request) is AirlockStatus.APPROVED
    assert len(place.decisions()) == 3
    assert sum(d.superseded_at is not None for d in place.decisions()) == 1


def test_only_changed_files_lose_their_decisions(place: ReviewWorld):
    request = place.in_review(TWO)
    place.decide("rita", request, "approve")
    place.decide("ravi", request, "approve", "a.csv")
    place.decide("ravi", request, "changes_requested", "b.csv")
    assert status(place, request) is AirlockStatus.RETURNED
    request = place.resubmit(request, {"b.csv": b"3\n"})
    assert [e.decided for e in place.desk.queue(place.world.actor("rita"), after=None, limit=5).items] == [1]
    assert {d.current for d in seen(place, "ruth", request) if d.opinion is Opinion.CHANGES_REQUESTED} == {
        False
    }
    place.decide("rita", request, "approve", "b.csv")
    assert status(place, request) is AirlockStatus.IN_REVIEW
    place.decide("ravi", request, "approve", "b.csv")
    assert status(place, request) is AirlockStatus.APPROVED


def test_decisions_of_a_new_turn_are_blind_again(place: ReviewWorld):
    request = place.in_review()
    place.decide("rita", request, "approve")
    place.decide("ravi", request, "changes_requested")
    request = place.resubmit(request, {"table.csv": b"new\n"})
    before = seen(place, "ruth", request)
    place.decide("rita", request, "reject")
    assert seen(place, "ruth", request) == before
    assert len(before) == 2


def test_decisions_of_a_withdrawn_review_stay_hidden(place: ReviewWorld):
    request = place.in_review()
    place.decide("rita", request, "reject")
    place.move(request, AirlockStatus.WITHDRAWN)
    assert seen(place, "ruth", request) == []
    assert len(seen(place, "rita", request)) == 1
    with pytest.raises(Conflict, match="not in review"):
        place.decide("ravi", request, "approve")


def test_the_log_says_what_was_decided_only_when_it_is_revealed(place: ReviewWorld):
    request = place.in_review()
    place.decide("rita", request, "reject", comment="secret reason")

    def facts() -> str:
        with place.store.read() as session:
            return str([record.facts for record in session.exec(select(AuditRecord))])

    assert "reject" not in facts()
    place.decide("ravi", request, "reject")
    assert facts().count("'reject'") >= 2
    assert "secret reason" not in facts()


def test_the_queue_is_oldest_first_in_pages(place: ReviewWorld):
    requests = [place.in_review({f"{n}.csv": b"x"}).id for n in range(3)]
    rita = place.world.actor("rita")
    first = place.desk.queue(rita, after=None, limit=2)
    rest = place.desk.queue(rita, after=first.next, limit=2)
    assert [e.id for e in (*first.items, *rest.items)] == sorted(requests)
    assert rest.next is None
    assert place.desk.waiting(rita) == 3
