"""The right to run, as a table."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from broch_api.workspaces.rights import Entry, RunFacts, deadline, end_of_day, is_signed_out, should_run
from broch_core.lifecycles import ProjectStatus

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
FACTS = RunFacts(
    project_status=ProjectStatus.ACTIVE,
    starts_on=date(2026, 11, 22),
    ends_on=date(2026, 11, 22),
    member=True,
    deadline_at=NOW + timedelta(seconds=1),
    mounted=frozenset({"a"}),
    live=frozenset({"a", "b"}),
)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, None),
        ({"mounted": frozenset()}, None),
        ({"deadline_at": None}, None),
        ({"project_status": ProjectStatus.PLANNED}, "planned"),
        ({"project_status": ProjectStatus.FROZEN}, "frozen"),
        ({"project_status": ProjectStatus.ENDED}, "ended"),
        ({"starts_on": date(2026, 11, 23)}, "not begun"),
        ({"ends_on": date(2026, 11, 21)}, "over"),
        ({"member": False}, "no longer a member"),
        ({"signed_out": True}, "session"),
        ({"live": frozenset({"b"})}, "data that was mounted"),
        ({"deadline_at": NOW}, "time is over"),
        ({"deadline_at": NOW - timedelta(days=1)}, "time is over"),
    ],
)
def test_every_right_that_ends_ends_the_run(change: dict[str, object], why: str | None):
    decision = should_run(replace(FACTS, **change), NOW)  # type: ignore[arg-type]
    assert decision.allowed is (why is None)
    assert (why or "") in decision.reason


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, NOW + timedelta(hours=8)),
        (
            {"project_ends_on": date(2026, 11, 22), "now": NOW.replace(hour=20)},
            datetime(2026, 11, 23, tzinfo=UTC),
        ),
        ({"member_until": NOW + timedelta(hours=1)}, NOW + timedelta(hours=1)),
        (
            {"grants_until": [date(2027, 1, 1), date(2026, 11, 22)], "now": NOW.replace(hour=20)},
            datetime(2026, 11, 23, tzinfo=UTC),
        ),
    ],
)
def test_the_deadline_is_the_first_end_of_any_right(more: dict[str, object], expected: datetime):
    facts = {
        "now": NOW,
        "lifetime": timedelta(hours=8),
        "project_ends_on": date(2027, 1, 1),
        "member_until": None,
        "grants_until": [],
    } | more
    assert deadline(**facts) == expected  # type: ignore[arg-type]


def test_the_last_day_is_included():
    assert end_of_day(date(2026, 12, 31)) == datetime(2027, 1, 1, tzinfo=UTC)


LIVE = Entry(NOW + timedelta(hours=1), None)
OLD = Entry(NOW, None)
ENDED = Entry(NOW + timedelta(hours=1), NOW)


@pytest.mark.parametrize(
    ("entries", "signed_out"),
    [
        ([], False),
        ([LIVE], False),
        ([LIVE, OLD], False),
        ([OLD], True),
        ([OLD, OLD], True),
        ([ENDED], True),
        ([LIVE, ENDED], True),
    ],
)
def test_a_workspace_ends_with_a_session_that_was_ended_or_with_the_last_that_grew_old(
    entries: list[Entry], signed_out: bool
):
    assert is_signed_out(entries, NOW) is signed_out
