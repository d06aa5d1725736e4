"""What follows from the verdicts. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from broch_airlock.checks.model import Verdict, worst
from broch_airlock.tables import Direction
from broch_core.lifecycles import AirlockEvent

MESSAGES = {
    Verdict.BLOCKED: "A check found something that may not cross the boundary. See the findings.",
    Verdict.UNSCANNABLE: "A file cannot be looked into, so nobody can say that it is harmless. See the findings.",
    Verdict.ERROR: "The checks could not be completed in time. Ask your administrator whether the scanner runs.",
}
"""What the author reads about a quarantined request."""


def after_checks(
    direction: Direction, verdicts: Iterable[Verdict], *, ingress_without_review: bool
) -> AirlockEvent:
    """Return the event that the verdicts on all files lead to; no verdict at all counts as `error`.

    Args:
        direction: which way the files cross.
        verdicts: the worst verdict of each file.
        ingress_without_review: the policy lets imports pass that every check calls clean.
    """
    verdict = worst(verdicts)
    if verdict > Verdict.FLAGGED:
        return AirlockEvent.QUARANTINE
    if verdict is Verdict.CLEAN and direction is Direction.INGRESS and ingress_without_review:
        return AirlockEvent.PASS
    return AirlockEvent.HOLD
