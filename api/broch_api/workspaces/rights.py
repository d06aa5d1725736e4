"""May this workspace run, and until when? Pure: facts and a moment in, an answer out (design, rule 8)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from broch_core.lifecycles import ProjectStatus
from broch_core.rules import Decision, allow, deny


def end_of_day(day: date) -> datetime:
    """Return the moment in UTC when `day` is over."""
    return datetime.combine(day + timedelta(days=1), time(), UTC)


@dataclass(frozen=True)
class RunFacts:
    """Everything that a workspace's right to run hangs on."""

    project_status: ProjectStatus
    starts_on: date
    ends_on: date
    """Last day of the project, included, in UTC."""
    member: bool
    """The person has a membership that holds at the moment of the question, and is not disabled."""
    deadline_at: datetime | None = None
    mounted: frozenset[str] = frozenset()
    """Grants whose data the present start has mounted."""
    live: frozenset[str] = frozenset()
    """Grants of the project that hold at the moment of the question."""


def should_run(facts: RunFacts, now: datetime) -> Decision:
    """Decide whether a workspace may go on. The reason is for the researcher."""
    today = now.date()
    ends = (
        (facts.project_status is not ProjectStatus.ACTIVE, f"The project is {facts.project_status.value}."),
        (today < facts.starts_on, "The project has not begun yet."),
        (today > facts.ends_on, "The project is over."),
        (not facts.member, "You are no longer a member of this project."),
        (
            not facts.mounted <= facts.live,
            "The right to use data that was mounted has ended. Open the workspace again without it.",
        ),
        (
            facts.deadline_at is not None and now >= facts.deadline_at,
            "Its time is over. Files in your home and the project folder are kept.",
        ),
    )
    return next((deny(reason) for over, reason in ends if over), allow())


def deadline(
    now: datetime,
    lifetime: timedelta,
    *,
    project_ends_on: date,
    member_until: datetime | None,
    grants_until: Iterable[date],
) -> datetime:
    """Return when a workspace that opens now must stop: the first end of any right that it stands on.

    Args:
        now: moment of opening.
        lifetime: longest run.
        project_ends_on: last day of the project, included.
        member_until: end of the membership, if it has one.
        grants_until: last days, included, of the grants that are mounted.
    """
    ends = [now + lifetime, end_of_day(project_ends_on), *(end_of_day(day) for day in grants_until)]
    return min([*ends, member_until] if member_until is not None else ends)
