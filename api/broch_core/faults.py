"""Named points where tests cut the power, fill the disk, or break it. In a running Broch nothing is armed.

A point is one line in the code where a crash would hurt most: between bytes and their row, between a commit and what
follows from it. Only a process that calls `arm` itself, as the workers of `tests/integration/proof_faults` do, is
ever cut off there; no setting and no environment variable does it. Disarmed, a point costs one comparison.
"""

from __future__ import annotations

from collections.abc import Callable

_armed: Callable[[str], None] | None = None


def point(name: str) -> None:
    """Mark a place by its name (`area.moment`); whoever armed the points may raise or never return."""
    if _armed is not None:
        _armed(name)


def arm(strike: Callable[[str], None] | None) -> None:
    """Call `strike` with the name of every point that is passed from now on; None disarms."""
    global _armed  # noqa: PLW0603 - one switch for the whole process is what it is
    _armed = strike
