"""May this workspace run, and until when? Pure: facts and a moment in, an answer out (design, rule 8)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from broch_core.lifecycles import ProjectStatus
from broch_core.rules import Decision, allow, deny

SIGNED_OUT = (
    "The session that you entered it with has ended. Files in your home and the project folder are kept."
)


@dataclass(frozen=True)
class Entry:
    """A session that entered a workspace since its start."""

    expires_at: datetime
    ended_at: datetime | None


def is_signed_out(entries: Collection[Entry], now: datetime) -> bool:
    """Tell whether a workspace ends with the sessions that entered it; one that nobody entered does not.

    An end that somebody asked for counts at once. A session that only grew old does not, while another one goes on.
    """
    return any(entry.ended_at is not None for entry in entries) or (
        bool(entries) and all(entry.expires_at <= now for entry in entries)
    )


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
    signed_out: bool = False
    """A session that entered this start was ended, or all that entered it have expired."""


def should_run(facts: RunFacts, now: datetime) -> Decision:
    """Decide whether a workspace may go on. The reason is for the researcher."""
    today = now.date()
    ends = (
        (facts.project_status is not ProjectStatus.ACTIVE, f"The project is {facts.project_status.value}."),
        (today < facts.starts_on, "The project has not begun yet."),
        (today > facts.ends_on, "The project is over."),
        (not facts.member, "You are no longer a member of this project."),
        (facts.signed_out, SIGNED_OUT),
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
