"""When a workspace is idle, and what follows. Pure, standard library only: the hub decides by it, and Lab warns by it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

SILENT = timedelta(minutes=5)
"""A server that has not reported for so long is judged by what is seen from outside too. Several reports are lost then."""
_RESTING = timedelta(minutes=1)
"""A pause that nobody calls idle yet."""


class Source(Enum):
    """Who says that a workspace was active."""

    INSIDE = "inside"
    """The server in it. Not trusted: it can keep a workspace up to its deadline, which it could by working too."""
    TRANSFER = "transfer"
    """A long request that the proxy carries: it counts always."""
    OUTSIDE = "outside"
    """Any request that the proxy carries. An open page asks by itself, so it counts for a silent server only."""


@dataclass(frozen=True)
class Sample:
    """Something learnt about a workspace."""

    source: Source
    at: datetime
    """When it was learnt."""
    active_at: datetime
    """The last activity that it tells of."""


@dataclass(frozen=True)
class Policy:
    """How long a workspace may be idle."""

    idle: timedelta
    """It is stopped after this; zero: never."""
    warn: timedelta
    """It is warned so long before."""

    @classmethod
    def of_seconds(cls, idle: float, warn: float) -> Policy:
        """Return the policy of a plan, which speaks in seconds."""
        return cls(timedelta(seconds=idle), timedelta(seconds=min(warn, idle)))


@dataclass(frozen=True)
class Active:
    """Something goes on in it, or nothing is known of it."""


@dataclass(frozen=True)
class Idle:
    """Nothing goes on since a moment; nobody is told yet."""

    since: datetime


@dataclass(frozen=True)
class Warn:
    """It is stopped soon, unless something goes on."""

    since: datetime
    stop_at: datetime


@dataclass(frozen=True)
class Stop:
    """It was idle for too long."""

    since: datetime


State = Active | Idle | Warn | Stop


def last_activity(samples: Iterable[Sample], now: datetime) -> datetime | None:
    """Return the last moment of real activity; None: nothing is known. What lies in the future counts as now."""
    known = list(samples)
    heard = max((one.at for one in known if one.source is Source.INSIDE), default=None)
    silent = heard is None or now - heard > SILENT
    counted = [one.active_at for one in known if one.source is not Source.OUTSIDE or silent]
    return min(max(counted), now) if counted else None


def idle_state(samples: Iterable[Sample], policy: Policy, now: datetime) -> State:
    """Tell what a workspace is to its policy at a moment."""
    since = last_activity(samples, now)
    if since is None or not policy.idle:
        return Active()
    rest = now - since
    if rest >= policy.idle:
        return Stop(since)
    if rest >= policy.idle - policy.warn:
        return Warn(since, since + policy.idle)
    return Idle(since) if rest >= _RESTING else Active()
