"""Where a review stands, as a table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broch_airlock.review.standing import Decided, FileState, Outcome, file_outcome, standing
from broch_airlock.tables import Opinion
from support.counts import count

SINCE = datetime(2026, 11, 22, 12, tzinfo=UTC)
A, C, R = Opinion.APPROVE, Opinion.CHANGES_REQUESTED, Opinion.REJECT
TABLE = [
    ([], Outcome.PENDING),
    ([A], Outcome.PENDING),
    ([A, A], Outcome.APPROVE),
    ([A, A, A], Outcome.APPROVE),
    ([C], Outcome.RETURN),
    ([A, C], Outcome.RETURN),
    ([C, C], Outcome.RETURN),
    ([A, A, C], Outcome.RETURN),
    ([A, R], Outcome.CONFLICT),
    ([C, R], Outcome.CONFLICT),
    ([A, A, R], Outcome.CONFLICT),
    ([A, C, R], Outcome.RETURN),
    ([C, C, R], Outcome.RETURN),
    ([R, R], Outcome.REJECT),
    ([A, R, R], Outcome.REJECT),
    ([C, R, R], Outcome.REJECT),
    ([R, R, R], Outcome.REJECT),
]


def decision(reviewer: str, opinion: Opinion, file: str = "f", sha: str = "1", minutes: int = 1) -> Decided:
    return Decided(file, sha, reviewer, opinion, SINCE + timedelta(minutes=minutes))


F, G = FileState("f", "1"), FileState("g", "2")


@pytest.mark.parametrize(("opinions", "outcome"), TABLE, ids=lambda value: "".join(str(o)[:2] for o in value))
def test_a_file_has_the_outcome_of_the_table_in_any_order(opinions: list[Opinion], outcome: Outcome):
    assert all(file_outcome(order) is outcome for order in permutations(opinions))


@pytest.mark.parametrize("first", list(Opinion))
def test_nothing_is_revealed_by_one_reviewer(first: Opinion):
    now = standing([F], [decision("x", first)], SINCE)
    assert (now.revealed, now.outcome) == (False, Outcome.PENDING)


def test_nothing_is_revealed_until_both_have_decided_on_every_file():
    almost = [decision("x", A), decision("x", R, "g", "2"), decision("y", A)]
    assert not standing([F, G], almost, SINCE).revealed
    now = standing([F, G], [*almost, decision("y", A, "g", "2")], SINCE)
    assert now.revealed
    assert now.outcome is Outcome.CONFLICT


@pytest.mark.parametrize(
    ("on_f", "on_g", "outcome"),
    [
        ((A, A), (A, A), Outcome.APPROVE),
        ((A, A), (A, C), Outcome.RETURN),
        ((A, C), (A, R), Outcome.CONFLICT),
        ((A, R), (R, R), Outcome.REJECT),
        ((A, A), (R, R), Outcome.REJECT),
    ],
)
def test_the_request_has_the_most_serious_outcome_of_its_files(on_f, on_g, outcome):
    decisions = [decision(r, o) for r, o in zip("xy", on_f, strict=True)]
    decisions += [decision(r, o, "g", "2") for r, o in zip("xy", on_g, strict=True)]
    assert standing([F, G], decisions, SINCE).outcome is outcome


def test_decisions_on_other_bytes_do_not_count():
    decisions = [decision("x", A, sha="0"), decision("y", A)]
    now = standing([F], decisions, SINCE)
    assert now.complete == {"y"}
    assert not now.revealed


def test_approvals_of_unchanged_bytes_carry_over_and_objections_do_not():
    before = [decision("x", A, minutes=-5), decision("y", A, minutes=-5)]
    after = [decision("x", A, "g", "2"), decision("y", A, "g", "2")]
    assert standing([F, G], before + after, SINCE).outcome is Outcome.APPROVE
    objection = [decision("x", A, minutes=-5), decision("y", C, minutes=-5)]
    now = standing([F, G], objection + after, SINCE)
    assert not now.revealed
    assert now.complete == {"x"}


def test_somebody_who_only_decided_in_an_earlier_turn_takes_no_place():
    before = [decision("x", A, minutes=-5), decision("y", A, minutes=-5)]
    now = standing([F, G], before, SINCE)
    assert now.seated == frozenset()
    assert now.may_join("z")


def test_two_take_part_and_a_third_only_in_a_conflict():
    assert standing([F, G], [decision("x", A)], SINCE).may_join("z")
    begun = standing([F, G], [decision("x", A), decision("y", A)], SINCE)
    assert not begun.may_join("z")
    assert begun.may_join("x")
    assert standing([F], [decision("x", A), decision("y", R)], SINCE).may_join("z")


def test_a_request_without_files_is_never_approved():
    assert standing([], [], SINCE).outcome is Outcome.PENDING


@settings(max_examples=count("standing of random reviews", ci=200, nightly=5000), deadline=None)
@given(
    st.dictionaries(st.tuples(st.sampled_from("xyz"), st.sampled_from("fg")), st.sampled_from(list(Opinion)))
)
def test_an_approval_always_rests_on_two_approvals_of_every_file(given_: dict[tuple[str, str], Opinion]):
    shas = {"f": "1", "g": "2"}
    decisions = [decision(r, o, f, shas[f]) for (r, f), o in given_.items()]
    now = standing([F, G], decisions, SINCE)
    if now.outcome is Outcome.APPROVE:
        for file in "fg":
            opinions = [o for (_, f), o in given_.items() if f == file]
            assert len(opinions) >= 2
            assert set(opinions) == {A}
    if now.outcome is not Outcome.PENDING:
        assert now.revealed
