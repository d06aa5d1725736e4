"""Imports: one pod each, reported once it is known how it ended, tried again otherwise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broch_workspaces.cluster.controller.deliveries import (
    FULL,
    HOPELESS,
    NAME_TAKEN,
    NO_ROOM,
    NOT_YET,
    SLOW,
    TOLD_AFTER,
    Ledger,
    Work,
    plan,
)
from broch_workspaces.cluster.controller.objects import Seen
from broch_workspaces.cluster.spec import Delivery
from support.zone_objects import delivery, looked


def name_of(one: Delivery, attempt: int) -> str:
    return f"import-{one.id.lower()}-{attempt}"


def look(
    deliveries: list[Delivery], pods: dict[str, str], ledger: Ledger, now: float = 100.0, at_once: int = 2
) -> Work:
    seen = {name: looked(state=state) for name, state in pods.items()}
    return plan(tuple(deliveries), seen, name_of, ledger, now, at_once=at_once)


def test_a_delivery_gets_one_pod() -> None:
    one, ledger = delivery(), Ledger()
    assert look([one], {}, ledger).create == ((one, 0),)
    assert look([one], {name_of(one, 0): "Running"}, ledger) == Work()


def test_a_pod_that_succeeded_is_reported_before_it_is_deleted() -> None:
    one, ledger = delivery(), Ledger()
    pods = {name_of(one, 0): "Succeeded"}
    assert look([one], pods, ledger) == Work(delivered=(one.id,))
    ledger.done.add(one.id)
    assert look([one], pods, ledger) == Work(delete=(name_of(one, 0),))
    assert look([one], {}, ledger) == Work()


def test_a_name_that_is_taken_is_told_and_not_tried_again() -> None:
    one, ledger = delivery(), Ledger()
    assert look([one], {name_of(one, 0): "Failed:3"}, ledger).undelivered == {one.id: NAME_TAKEN}
    assert look([one], {name_of(one, 0): "Failed:1"}, ledger).undelivered == {}


def test_another_failure_is_tried_again_later_with_a_fresh_pod() -> None:
    one, ledger = delivery(), Ledger()
    failed = look([one], {name_of(one, 0): "Failed:1"}, ledger)
    assert failed.delete == (name_of(one, 0),)
    assert failed.create == ()
    assert failed.again == pytest.approx(2.0)
    assert look([one], {}, ledger, now=101.0).create == ()
    assert look([one], {}, ledger, now=103.0).create == ((one, 1),)


def test_two_files_of_one_name_never_arrive_together_and_in_order() -> None:
    first, second = delivery(1, name="same"), delivery(2, name="same", op="remove")
    ledger = Ledger()
    assert look([first, second], {}, ledger).create == ((first, 0),)
    assert look([first, second], {name_of(first, 0): "Running"}, ledger).create == ()
    assert look([first, second], {name_of(first, 0): "Succeeded"}, ledger).create == ((second, 0),)


def test_an_importer_that_nobody_expects_is_ended_before_another_begins() -> None:
    one = delivery()
    work = look([one], {"import-of-an-earlier-leader-7": "Running"}, Ledger(), at_once=1)
    assert work.delete == ("import-of-an-earlier-leader-7",)
    assert work.create == ()
    assert look([one], {}, Ledger(), at_once=1).create == ((one, 0),)


def test_an_import_that_does_not_begin_is_told() -> None:
    one, ledger = delivery(), Ledger()
    look([one], {}, ledger, now=0.0)
    pods = {name_of(one, 0): "Pending"}
    assert look([one], pods, ledger, now=SLOW - 1).message == ""
    assert look([one], pods, ledger, now=SLOW - 1).again == pytest.approx(1.0)
    assert "cannot start" in look([one], pods, ledger, now=SLOW).message


@pytest.mark.parametrize("state", sorted(HOPELESS))
def test_what_no_fresh_pod_can_do_is_told_and_not_tried_again(state: str) -> None:
    one, ledger = delivery(), Ledger()
    work = look([one], {name_of(one, 0): state}, ledger)
    assert work.undelivered == {one.id: HOPELESS[state]}
    assert (work.create, work.delete) == ((), ())


def tried(one: Delivery, ledger: Ledger, state: str, times: int) -> list[str]:
    """Let a delivery fail so often; return what was told after each."""
    told, now = [], 0.0
    for attempt in range(times):
        assert look([one], {}, ledger, now=now).create == ((one, attempt),)
        told.append(look([one], {name_of(one, attempt): state}, ledger, now=now).message)
        now += 1000
    return told


def test_an_import_that_fails_again_and_again_is_told_and_what_went_well_is_not() -> None:
    one, ledger = delivery(), Ledger()
    told = tried(one, ledger, "Failed:1", TOLD_AFTER + 2)
    assert told == ["", *[""] * (TOLD_AFTER - 2), *[NOT_YET] * 3]
    running = {name_of(one, TOLD_AFTER + 2): "Running"}
    assert look([one], running, ledger).message == NOT_YET, "also while the next one tries"
    done = {name_of(one, TOLD_AFTER + 2): "Succeeded"}
    assert look([one], done, ledger) == Work(delivered=(one.id,))


def test_a_full_folder_is_told_at_once_and_tried_again() -> None:
    one, ledger = delivery(), Ledger()
    assert tried(one, ledger, FULL, 2) == [NO_ROOM] * 2


@pytest.mark.parametrize("state", ["Pending", "Running"])
def test_nothing_is_taken_out_while_an_importer_that_nobody_expects_may_still_put_it_in(state: str) -> None:
    out, other = delivery(1, op="remove"), delivery(2)
    stray = {"import-given-up-0": state}
    assert look([out, other], stray, Ledger()).create == ((other, 0),)
    assert look([out], {"import-given-up-0": "Failed:1"}, Ledger()).create == ((out, 0),)
    assert look([out], {}, Ledger()).create == ((out, 0),)


@given(
    st.lists(st.sampled_from(["", "Pending", "Running", "Succeeded", "Failed:1", "Failed:3"]), max_size=8),
    st.sets(st.integers(0, 7)),
    st.integers(1, 3),
)
def test_never_more_pods_than_allowed_and_each_delivery_has_one_fate(
    states: list[str], done: set[int], at_once: int
) -> None:
    deliveries = [delivery(number) for number in range(len(states))]
    ledger = Ledger(done={one.id for number, one in enumerate(deliveries) if number in done})
    pods: dict[str, Seen] = {
        name_of(one, 0): looked(state=state) for one, state in zip(deliveries, states, strict=True) if state
    }
    work = plan(tuple(deliveries), pods, name_of, ledger, 0.0, at_once=at_once)
    finished = len(work.delivered) + len(work.undelivered)
    assert not work.create or len(pods) - finished + len(work.create) <= at_once
    told = {*work.delivered, *work.undelivered}
    assert told.isdisjoint(one.id for one, _ in work.create)
    assert told.isdisjoint(ledger.done)
    kept = set(pods) - set(work.delete)
    assert kept.isdisjoint(name_of(one, 0) for number, one in enumerate(deliveries) if number in done)
