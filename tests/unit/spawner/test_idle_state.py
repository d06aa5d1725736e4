"""When a workspace is idle: a table, and what holds for any history."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broch_spawner.idle_watch import LONG_TRANSFER, Signs
from broch_spawner.inside.idle import (
    SILENT,
    Active,
    Idle,
    Policy,
    Sample,
    Source,
    Stop,
    Warn,
    idle_state,
    last_activity,
)
from support.counts import count

NOON = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
HOUR = Policy.of_seconds(3600, 600)
INSIDE, TRANSFER, OUTSIDE = Source.INSIDE, Source.TRANSFER, Source.OUTSIDE


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def said(source: Source, heard: float, active: float) -> Sample:
    return Sample(source, at(heard), at(active))


@pytest.mark.parametrize(
    ("samples", "policy", "now", "state"),
    [
        ((), HOUR, 500, Active()),
        ((said(INSIDE, 10, 9.5),), HOUR, 10, Active()),
        ((said(INSIDE, 30, 0),), HOUR, 30, Idle(at(0))),
        ((said(INSIDE, 49, 0),), HOUR, 49.9, Idle(at(0))),
        ((said(INSIDE, 49, 0),), HOUR, 50, Warn(at(0), at(60))),
        ((said(INSIDE, 59, 0),), HOUR, 59.9, Warn(at(0), at(60))),
        ((said(INSIDE, 60, 0),), HOUR, 60, Stop(at(0))),
        # It trains: the server says so, whether a browser is there or not.
        ((said(INSIDE, 300, 300), said(OUTSIDE, 0, 0)), HOUR, 300, Active()),
        # An open page asks by itself: that is no activity while the server says that there is none.
        ((said(INSIDE, 60, 0), said(OUTSIDE, 60, 60)), HOUR, 60, Stop(at(0))),
        # A server that is silent is judged by what is seen from outside, and never sooner than the policy says.
        ((said(INSIDE, 30, 30), said(OUTSIDE, 60, 60)), HOUR, 60, Active()),
        ((said(INSIDE, 30, 30), said(OUTSIDE, 0, 0)), HOUR, 89.9, Warn(at(30), at(90))),
        ((said(INSIDE, 30, 30), said(OUTSIDE, 0, 0)), HOUR, 90, Stop(at(30))),
        ((said(OUTSIDE, 0, 0),), HOUR, 59, Warn(at(0), at(60))),
        # A download of the person counts always.
        ((said(INSIDE, 60, 0), said(TRANSFER, 59, 59)), HOUR, 60, Idle(at(59))),
        # A clock that is ahead inside does not reach into the future.
        ((said(INSIDE, 0, 500),), HOUR, 10, Active()),
        # Never.
        ((said(INSIDE, 0, 0),), Policy.of_seconds(0, 0), 9999, Active()),
        # No warning.
        ((said(INSIDE, 59, 0),), Policy.of_seconds(3600, 0), 59, Idle(at(0))),
    ],
)
def test_a_workspace_is_what_its_samples_say(
    samples: tuple[Sample, ...], policy: Policy, now: float, state: object
) -> None:
    assert idle_state(samples, policy, at(now)) == state


_minutes = st.floats(0, 500)
_samples = st.lists(st.builds(said, st.sampled_from(Source), _minutes, _minutes), max_size=8)
_policies = st.builds(Policy.of_seconds, st.floats(1, 20000), st.floats(0, 20000))


@settings(max_examples=count("idle state, any samples", ci=300, nightly=10000), deadline=None)
@given(samples=_samples, policy=_policies, now=_minutes)
def test_nothing_is_stopped_sooner_than_its_policy_says(
    samples: list[Sample], policy: Policy, now: float
) -> None:
    state, moment = idle_state(samples, policy, at(now)), at(now)
    since = last_activity(samples, moment)
    counted = [one.active_at for one in samples if one.source is not Source.OUTSIDE]
    if isinstance(state, Stop):
        assert since is not None
        assert all(moment - one >= policy.idle for one in counted)
        assert idle_state(samples, policy, state.since + policy.idle - timedelta(seconds=1)) != state
    if isinstance(state, Warn):
        assert state.stop_at - state.since == policy.idle
        assert timedelta(0) < state.stop_at - moment <= policy.warn


@settings(max_examples=count("idle state, one sample more", ci=300, nightly=10000), deadline=None)
@given(samples=_samples, policy=_policies, now=_minutes, source=st.sampled_from([INSIDE, TRANSFER]))
def test_whoever_just_was_active_is_kept(
    samples: list[Sample], policy: Policy, now: float, source: Source
) -> None:
    fresh = Sample(source, at(now), at(now))
    state = idle_state([*samples, fresh], policy, at(now))
    assert isinstance(state, Active) or (isinstance(state, Warn) and policy.warn >= policy.idle)


@settings(max_examples=count("idle state, silence", ci=200, nightly=5000), deadline=None)
@given(samples=_samples, policy=_policies, now=_minutes)
def test_what_is_seen_from_outside_never_makes_a_silent_server_end_sooner(
    samples: list[Sample], policy: Policy, now: float
) -> None:
    reports = [one for one in samples if one.source is INSIDE and at(now) - one.at > SILENT]
    if reports and isinstance(idle_state([*reports, said(OUTSIDE, now, 0)], policy, at(now)), Stop):
        assert isinstance(idle_state(reports, policy, at(now)), Stop)


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.at = NOON

    def __call__(self) -> datetime:
        return self.at


def test_a_fresh_process_waits_for_a_report_before_it_believes_an_old_one() -> None:
    """What the hub's database has may be hours old: it trained while the hub was away."""
    clock = Clock()
    signs = Signs(clock)
    samples = signs.samples("w", watched_since=at(0), reported=at(-500))
    assert idle_state(samples, HOUR, at(1)) == Idle(at(0))
    clock.at = at(2)
    signs.heard("w")
    samples = signs.samples("w", watched_since=at(0), reported=at(2))
    assert idle_state(samples, HOUR, at(2)) == Active()
    # It was idle in truth, and says so: the time that had run counts.
    samples = signs.samples("w", watched_since=at(0), reported=at(-55))
    assert idle_state(samples, HOUR, at(2)) == Warn(at(-55), at(5))


@pytest.mark.parametrize(("seconds", "counts"), [(5, False), (29, False), (31, True)])
def test_a_long_answer_is_activity_and_a_page_that_asks_is_none(seconds: int, counts: bool) -> None:
    clock = Clock()
    signs = Signs(clock)
    began, clock.at = clock.at, clock.at + timedelta(seconds=seconds)
    signs.carried("w", since=began)
    found = {one.source for one in signs.samples("w", watched_since=NOON, reported=None)}
    assert (TRANSFER in found) is counts


@pytest.mark.parametrize(("pause", "counts"), [(2, True), (11, False)])
def test_an_upload_in_many_requests_is_one_and_saving_now_and_then_is_none(pause: int, counts: bool) -> None:
    clock = Clock()
    signs = Signs(clock)
    for _ in range(int(2 * LONG_TRANSFER.total_seconds()) // pause):
        signs.uploads("w")
        clock.at += timedelta(seconds=pause)
    found = {one.source for one in signs.samples("w", watched_since=NOON, reported=None)}
    assert (TRANSFER in found) is counts
    signs.forget("w")
    assert len(signs.samples("w", watched_since=NOON, reported=None)) == 1
