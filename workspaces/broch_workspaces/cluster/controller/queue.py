"""Which project's turn it is: each key at most once, never twice at the same time, later after failures."""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Callable


class Schedule:
    """Keys and when they are due. Pure: the time is told.

    Args:
        first: seconds before the first retry of a key; each further one doubles.
        longest: seconds that a retry waits at most.
    """

    def __init__(self, *, first: float = 0.2, longest: float = 60.0) -> None:
        self._first = first
        self._longest = longest
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._behind: dict[str, None] = {}
        self._busy: set[str] = set()
        self._failures: dict[str, int] = {}

    def add(self, key: str, at: float) -> None:
        """Make a key due at a time; one that is due sooner stays so."""
        if key in self._due and self._due[key] <= at:
            return
        self._due[key] = at
        heapq.heappush(self._heap, (at, key))

    def add_behind(self, key: str) -> None:
        """Let a key come once nothing is due: what thousands begin with must not keep news waiting."""
        self._behind[key] = None

    def take(self, now: float) -> str | None:
        """Return the key that has been due longest and nobody works on, else the first one behind; it is then worked on."""
        passed: list[tuple[float, str]] = []
        found = None
        while self._heap and self._heap[0][0] <= now:
            at, key = heapq.heappop(self._heap)
            if self._due.get(key) != at:
                continue
            if key in self._busy:
                passed.append((at, key))
                continue
            del self._due[key]
            self._busy.add(key)
            found = key
            break
        for entry in passed:
            heapq.heappush(self._heap, entry)
        if found is None:
            found = next((key for key in self._behind if key not in self._busy), None)
            if found is None:
                return None
            self._busy.add(found)
        self._behind.pop(found, None)
        return found

    def done(self, key: str) -> None:
        """Say that the work on a key is over."""
        self._busy.discard(key)

    def failed(self, key: str, now: float, *, at_least: float = 0.0) -> float:
        """Make a key due again after a failure, and return in how many seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = max(at_least, min(self._longest, self._first * float(2 ** min(failures, 30))))
        self.add(key, now + delay)
        return delay

    def worked(self, key: str) -> None:
        """Forget a key's failures."""
        self._failures.pop(key, None)

    def failures(self, key: str) -> int:
        """Return how often in a row a key failed."""
        return self._failures.get(key, 0)

    def wait(self, now: float) -> float | None:
        """Return the seconds until a free key is due; None: nothing is."""
        if any(key not in self._busy for key in self._behind):
            return 0.0
        ready = [at for key, at in self._due.items() if key not in self._busy]
        return max(0.0, min(ready) - now) if ready else None

    def __len__(self) -> int:
        return len(self._due.keys() | self._behind.keys())


class KeyedQueue:
    """A schedule that workers wait on."""

    def __init__(self, now: Callable[[], float], schedule: Schedule | None = None) -> None:
        self._now = now
        self._schedule = schedule or Schedule()
        self._changed = asyncio.Event()

    def add(self, key: str, *, after: float = 0.0) -> None:
        """Make a key due."""
        self._schedule.add(key, self._now() + after)
        self._changed.set()

    def add_behind(self, key: str) -> None:
        """Let a key come once nothing is due."""
        self._schedule.add_behind(key)
        self._changed.set()

    async def get(self) -> str:
        """Wait for a key that is due."""
        while True:
            key = self._schedule.take(self._now())
            if key is not None:
                return key
            self._changed.clear()
            wait = self._schedule.wait(self._now())
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def done(self, key: str) -> None:
        """Say that the work on a key is over and went well."""
        self._schedule.worked(key)
        self._over(key)

    def failed(self, key: str, *, at_least: float = 0.0) -> float:
        """Say that it went wrong; the key comes again. A tenth of jitter, so that not all come at once."""
        delay = self._schedule.failed(
            key,
            self._now(),
            at_least=at_least * random.uniform(1.0, 1.1),  # noqa: S311 - spreads load, guards nothing
        )
        self._over(key)
        return delay

    def failures(self, key: str) -> int:
        """Return how often in a row a key failed."""
        return self._schedule.failures(key)

    def _over(self, key: str) -> None:
        self._schedule.done(key)
        self._changed.set()

    def __len__(self) -> int:
        return len(self._schedule)
