"""The life cycle as the few steps that a person follows. Pure; every state has its place."""

from __future__ import annotations

from dataclasses import dataclass

from broch_core.lifecycles import AirlockStatus as Status

LABELS = ("Draft", "Checks", "Review", "Release", "Released")
MOVING = frozenset({Status.SUBMITTED, Status.CHECKING, Status.APPROVED, Status.RELEASING})
"""States that pass by themselves: the page asks again."""


@dataclass(frozen=True)
class Step:
    """Where a request is."""

    index: int
    """Into `LABELS`; their number when all is done."""
    failed: bool = False
    note: str | None = None
    """A word below the present step."""


STEPS: dict[Status, Step] = {
    Status.DRAFT: Step(0),
    Status.RETURNED: Step(0, note="changes requested"),
    Status.WITHDRAWN: Step(0, failed=True, note="withdrawn"),
    Status.SUBMITTED: Step(1, note="waiting"),
    Status.CHECKING: Step(1, note="running"),
    Status.QUARANTINED: Step(1, failed=True, note="quarantined"),
    Status.IN_REVIEW: Step(2),
    Status.REJECTED: Step(2, failed=True, note="rejected"),
    Status.APPROVED: Step(3, note="approved"),
    Status.RELEASING: Step(3, note="on its way"),
    Status.FAILED: Step(3, failed=True, note="failed"),
    Status.RELEASED: Step(5),
    Status.RECALLED: Step(4, failed=True, note="recalled"),
}


def steps(status: Status) -> list[str | dict[str, str]]:
    """Return the labels for the stepper, with the note of the present one."""
    at = STEPS[status]
    return [
        {"label": label, "note": at.note} if number == at.index and at.note else label
        for number, label in enumerate(LABELS)
    ]
