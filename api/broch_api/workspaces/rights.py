"""May this workspace run, and until when? Pure: facts and a moment in, an answer out (design, rule 8)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from broch_core.lifecycles import ProjectStatus
from broch_core.revocations import RevocationCause
from broch_core.rules import Decision, allow, deny

SIGNED_OUT = (
    "The session that you entered it with has ended. Files in your home and the project folder are kept."
)

SHARED_NOT_ALLOWED = "The project's policy allows no shared workspace. A platform admin can allow it."


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
    allowed: bool = True
    """The project's policy lets there be such a workspace."""


@dataclass(frozen=True)
class StayFacts:
    """Everything that one session's stay in a shared workspace hangs on.

    Its data are the project's, and so each member's: a member has a right to all that is mounted, or the workspace ends.
    """

    member: bool
    session_ended: bool
    runs: bool
    """The start of the workspace that was entered goes on."""
    came: bool
    """The browser brought the code of its sign-in to the hub, or may still do so."""


def stay_end(facts: StayFacts) -> str | None:
    """Return why a stay is over, the first reason of all; nothing while it may go on."""
    ends = (
        (not facts.member, "no longer a member"),
        (facts.session_ended, "the session has ended"),
        (not facts.runs, "the workspace has ended"),
        (not facts.came, "nobody came"),
    )
    return next((reason for over, reason in ends if over), None)


@dataclass(frozen=True)
class End:
    """Why a workspace may not go on."""

    reason: str
    """For the researcher."""
    cause: RevocationCause | None = None
    """The right that ended; unset where none did: a session is over, or the time of one start."""


_ENDED: Mapping[ProjectStatus, RevocationCause] = {
    ProjectStatus.FROZEN: RevocationCause.PROJECT_FROZEN,
    ProjectStatus.ENDED: RevocationCause.PROJECT_ENDED,
}


def first_end(facts: RunFacts, now: datetime) -> End | None:
    """Return why a workspace may not go on, the first reason of all; nothing while it may."""
    today = now.date()
    status = facts.project_status
    cause = RevocationCause
    ends = (
        (status is not ProjectStatus.ACTIVE, End(f"The project is {status.value}.", _ENDED.get(status))),
        (today < facts.starts_on, End("The project has not begun yet.")),
        (today > facts.ends_on, End("The project is over.", cause.PROJECT_EXPIRED)),
        (not facts.member, End("You are no longer a member of this project.", cause.MEMBER_EXPIRED)),
        (not facts.allowed, End(SHARED_NOT_ALLOWED)),
        (facts.signed_out, End(SIGNED_OUT)),
        (
            not facts.mounted <= facts.live,
            End(
                "The right to use data that was mounted has ended. Open the workspace again without it.",
                cause.GRANT_EXPIRED,
            ),
        ),
        (
            facts.deadline_at is not None and now >= facts.deadline_at,
            End("Its time is over. Files in your home and the project folder are kept."),
        ),
    )
    return next((end for over, end in ends if over), None)


def should_run(facts: RunFacts, now: datetime) -> Decision:
    """Decide whether a workspace may go on. The reason is for the researcher."""
    end = first_end(facts, now)
    return allow() if end is None else deny(end.reason)


def longest_run(lifetime: timedelta, hours: float | None) -> timedelta:
    """Return how long one start may run: the platform's time, or a profile's where that is shorter."""
    return lifetime if hours is None else min(lifetime, timedelta(hours=hours))


def idle_seconds(usual: timedelta, warning: timedelta, project_minutes: int | None) -> tuple[int, int]:
    """Return how long a start may be idle, and how long before that it is warned, in seconds; zeros: for ever.

    Args:
        usual: the platform's time.
        warning: how long before the stop, at most half of the time.
        project_minutes: the project's own time, minutes; None: the usual one.
    """
    idle = usual if project_minutes is None else timedelta(minutes=project_minutes)
    whole = int(idle.total_seconds())
    return whole, min(int(warning.total_seconds()), whole // 2)


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
