"""What the hub learns of workspaces from outside: that their servers report, and what the proxy carries for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from broch_spawner.inside.idle import Sample, Source

LONG_TRANSFER = timedelta(seconds=30)
"""An answer that flows for so long is a download; no page asks by itself for so long. And so with uploads."""
_SAME_UPLOAD = timedelta(seconds=10)
"""Lab sends a large file in many requests; those with no longer pause between them are one upload."""
LARGE_BODY = 512 << 10
"""Bytes of a request that may be part of one. Whatever Lab sends by itself is smaller, or ends at once."""


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class _Signs:
    heard_at: datetime | None = None
    carried_at: datetime | None = None
    transfer_at: datetime | None = None
    upload_since: datetime | None = None
    upload_at: datetime | None = None


class Signs:
    """Signs of life by principal, of this process: the hub's gates and its proxy note them, its spawners ask.

    Nothing is kept over a restart: what was noted before only lets a workspace live longer, and so does its loss.
    """

    def __init__(self, clock: Callable[[], datetime] = _now) -> None:
        self._clock = clock
        self._of: dict[str, _Signs] = {}

    def heard(self, principal: str) -> None:
        """The hub took a report of activity of the workspace's server."""
        self._mine(principal).heard_at = self._clock()

    def now(self) -> datetime:
        """Return the time by the clock of all signs."""
        return self._clock()

    def carried(self, principal: str, *, since: datetime | None = None) -> None:
        """The proxy carries a request or a message to the workspace, or bytes of an answer that flows since `since`."""
        now, mine = self._clock(), self._mine(principal)
        mine.carried_at = now
        if since is not None and now - since >= LONG_TRANSFER:
            mine.transfer_at = now

    def uploads(self, principal: str) -> None:
        """The proxy carries bytes of a large body to the workspace."""
        now, mine = self._clock(), self._mine(principal)
        if mine.upload_at is None or mine.upload_since is None or now - mine.upload_at > _SAME_UPLOAD:
            mine.upload_since = now
        mine.upload_at = now
        if now - mine.upload_since >= LONG_TRANSFER:
            mine.transfer_at = now

    def forget(self, principal: str) -> None:
        """The workspace ended."""
        self._of.pop(principal, None)

    def samples(
        self, principal: str, *, watched_since: datetime, reported: datetime | None
    ) -> tuple[Sample, ...]:
        """Return what is known.

        Args:
            principal: whose workspace.
            watched_since: when this process began to watch it. What was before is not known, so it counts as activity
                of a server that does not report.
            reported: the last activity that the server ever reported.
        """
        mine = self._of.get(principal, _Signs())
        found = [Sample(Source.OUTSIDE, watched_since, max(mine.carried_at or watched_since, watched_since))]
        if mine.heard_at is not None and reported is not None:
            found.append(Sample(Source.INSIDE, mine.heard_at, reported))
        if mine.transfer_at is not None:
            found.append(Sample(Source.TRANSFER, mine.transfer_at, mine.transfer_at))
        return tuple(found)

    def _mine(self, principal: str) -> _Signs:
        return self._of.setdefault(principal, _Signs())


SIGNS = Signs()
"""Those of the hub's process, which has one proxy and one gate or many."""
