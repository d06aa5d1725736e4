"""The clock of one workspace that stops it when it is idle; its warnings are told to the control plane."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import structlog

from broch_spawner.idle_watch import Signs
from broch_spawner.inside.idle import Policy, Sample, Stop, Warn, idle_state

log = structlog.get_logger()

_LONGEST_PAUSE = 10.0
_SLEPT_THROUGH = timedelta(seconds=30)
"""A pause so much longer than meant: the machine slept, or its clock was set. Nothing was seen meanwhile."""
_TELL_AGAIN = timedelta(seconds=60)
_SAME = timedelta(seconds=5)


class IdleClock:
    """Runs out when a workspace was idle for as long as its policy says, and never sooner.

    What happened while this process did not look (it was not there, or slept) is not known: then the clock begins anew,
    until the server inside says when it was last active. That it reports after a restart of the hub, within a minute,
    gives back the time that had run.

    Args:
        policy: of the start; its `idle` is not zero.
        principal: whose workspace.
        signs: what this process sees of it.
        reported: returns the last activity that its server reported.
        tell: tells when it will be stopped, or None: not any more; returns whether that was taken.
        fresh: nothing was told yet, which is not known of a workspace that a restarted hub found again.
    """

    def __init__(
        self,
        policy: Policy,
        principal: str,
        signs: Signs,
        reported: Callable[[], datetime | None],
        tell: Callable[[datetime | None], Awaitable[bool]],
        *,
        fresh: bool = True,
    ) -> None:
        self.policy = policy
        self._principal = principal
        self._signs = signs
        self._reported = reported
        self._tell = tell
        self._since = signs.now()
        self._told: datetime | None = None
        self._known = fresh
        self._told_at = self._since

    @property
    def text(self) -> str:
        """Say why it was stopped, to the person."""
        seconds = int(self.policy.idle.total_seconds())
        number, unit = (seconds, "second") if seconds % 60 else (seconds // 60, "minute")
        span = f"{number} {unit}" + ("" if number == 1 else "s")
        return f"It was idle for {span}. Your files are kept."

    async def run_out(self) -> None:
        """Return when the workspace is to be stopped."""
        pause = min(max(self.policy.warn.total_seconds() / 10, 0.5), _LONGEST_PAUSE)
        while True:
            before = self._signs.now()
            await asyncio.sleep(pause)
            try:
                over = await self._look(before, timedelta(seconds=pause))
            except Exception:
                # Whatever it was must not let a workspace run idle to its deadline, nor stop it.
                log.exception("workspace.idle_unjudged", principal=self._principal)
            else:
                if over:
                    return

    async def _look(self, before: datetime, pause: timedelta) -> bool:
        """Judge once, and tell; return whether the time is over."""
        now = self._signs.now()
        if not timedelta(0) <= now - before <= pause + _SLEPT_THROUGH:
            log.warning("workspace.clock_jumped", principal=self._principal)
            self._signs.forget(self._principal)
            self._since = now
        state = idle_state(self._samples(), self.policy, now)
        if not isinstance(state, Stop):
            await self._say(state.stop_at if isinstance(state, Warn) else None, now)
        return isinstance(state, Stop)

    def _samples(self) -> tuple[Sample, ...]:
        return self._signs.samples(self._principal, watched_since=self._since, reported=self._reported())

    async def _say(self, stop_at: datetime | None, now: datetime) -> None:
        if stop_at is None or self._told is None:
            changed = stop_at is not self._told
        else:
            changed = abs(stop_at - self._told) > _SAME or now - self._told_at >= _TELL_AGAIN
        if (changed or not self._known) and await self._tell(stop_at):
            self._told, self._told_at, self._known = stop_at, now, True
