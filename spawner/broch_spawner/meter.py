"""Bytes that went to browsers, per workspace."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

EVERY = 16 << 20
"""Bytes between two reports of one workspace: 16 MiB, a few notebook pages with plots."""


class Meter:
    """Counts what each workspace showed, and reports each time another `every` bytes are full.

    Args:
        report: called with the workspace's host name and its total so far, bytes.
        every: bytes between two reports.
    """

    def __init__(self, report: Callable[[str, int], None], every: int = EVERY) -> None:
        self._report = report
        self._every = every
        self._totals: defaultdict[str, int] = defaultdict(int)

    def add(self, host: str, size: int) -> None:
        """Count `size` bytes sent to a browser from `host`."""
        before = self._totals[host]
        self._totals[host] = before + size
        if (before + size) // self._every > before // self._every:
            self._report(host, before + size)

    def close(self, host: str) -> None:
        """Report what is left when a workspace ends, and forget it."""
        total = self._totals.pop(host, 0)
        if total:
            self._report(host, total)

    def total(self, host: str) -> int:
        """Return the bytes of `host` since it started."""
        return self._totals.get(host, 0)
