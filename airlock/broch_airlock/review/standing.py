"""Where a review stands: a pure function of files and decisions (design, *Review*).

A decision counts when it is about the present bytes of its file, was not revised, and either approves or was made in
the present turn: approvals of unchanged bytes carry over, objections are asked for again. A reviewer takes part in a
turn by deciding in it, and is complete when a decision of theirs counts for every file. Until two are complete nobody
learns anything. Then each file has an outcome by the opinions that count for it:

| rejections | changes requested | approvals | the file is |
|---|---|---|---|
| 2 or more | any | any | rejected |
| 1 | 1 or more, three opinions or more | any | returned: a third found a way between |
| 1 | otherwise | | in conflict |
| 0 | 1 or more | any | returned |
| 0 | 0 | 2 or more | approved |
| 0 | 0 | fewer | pending |

The request is rejected if any file is; else in conflict if any file is; else returned if any file is; else approved if
all files are. A rejection alone thus holds everything until its reviewer revises it or a second reviewer joins it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from broch_airlock.tables import Opinion

REVIEWERS = 2
"""Independent reviewers that a request needs."""
ENOUGH_FOR_A_WAY_BETWEEN = 3


class Outcome(StrEnum):
    """What the opinions amount to."""

    PENDING = "pending"
    CONFLICT = "conflict"
    APPROVE = "approve"
    RETURN = "return"
    REJECT = "reject"


@dataclass(frozen=True)
class FileState:
    """A file and its present bytes."""

    id: str
    sha256: str


@dataclass(frozen=True)
class Decided:
    """A decision that was not revised."""

    file_id: str
    sha256: str
    reviewer_id: str
    opinion: Opinion
    at: datetime


@dataclass(frozen=True)
class Standing:
    """Where the review of one turn stands."""

    seated: frozenset[str]
    """Reviewers who have decided something in this turn."""
    complete: frozenset[str]
    """Those of them whose decisions cover every file."""
    revealed: bool
    """Two are complete: decisions may be shown."""
    covered: Mapping[str, int]
    """On how many files each reviewer has a decision that counts."""
    outcome: Outcome
    """`pending` as long as nothing is revealed."""

    def may_join(self, reviewer_id: str) -> bool:
        """Tell whether a reviewer may decide: two take part, and a third only where those two do not agree."""
        if reviewer_id in self.seated or len(self.seated) < REVIEWERS:
            return True
        return self.revealed and self.outcome is Outcome.CONFLICT


def counts(decision: Decided, files: dict[str, str], since: datetime | None) -> bool:
    """Tell whether a decision counts.

    Args:
        decision: one that was not revised.
        files: file id to present SHA-256.
        since: when the present turn was submitted.
    """
    if files.get(decision.file_id) != decision.sha256:
        return False
    return decision.opinion is Opinion.APPROVE or since is None or decision.at >= since


def file_outcome(opinions: Iterable[Opinion]) -> Outcome:
    """Return what the opinions of different reviewers on one file amount to."""
    given = list(opinions)
    rejections = given.count(Opinion.REJECT)
    changes = given.count(Opinion.CHANGES_REQUESTED)
    if rejections >= REVIEWERS:
        return Outcome.REJECT
    if rejections:
        between = changes and len(given) >= ENOUGH_FOR_A_WAY_BETWEEN
        return Outcome.RETURN if between else Outcome.CONFLICT
    if changes:
        return Outcome.RETURN
    return Outcome.APPROVE if len(given) >= REVIEWERS else Outcome.PENDING


def standing(files: Sequence[FileState], decisions: Iterable[Decided], since: datetime | None) -> Standing:
    """Return where a review stands.

    Args:
        files: the files of the request.
        decisions: every decision on them that was not revised.
        since: when the present turn was submitted.
    """
    present = {file.id: file.sha256 for file in files}
    counted = [d for d in decisions if counts(d, present, since)]
    covered: dict[str, set[str]] = defaultdict(set)
    opinions: dict[str, dict[str, Opinion]] = {file.id: {} for file in files}
    for decision in counted:
        covered[decision.reviewer_id].add(decision.file_id)
        opinions[decision.file_id][decision.reviewer_id] = decision.opinion
    seated = frozenset(d.reviewer_id for d in counted if since is None or d.at >= since)
    complete = frozenset(r for r in seated if covered[r] == set(present))
    progress = {reviewer: len(ids) for reviewer, ids in covered.items()}
    if len(complete) < REVIEWERS or not files:
        return Standing(seated, complete, revealed=False, covered=progress, outcome=Outcome.PENDING)
    outcomes = {file_outcome(by_reviewer.values()) for by_reviewer in opinions.values()}
    worst = next(
        o
        for o in (Outcome.REJECT, Outcome.CONFLICT, Outcome.RETURN, Outcome.PENDING, Outcome.APPROVE)
        if o in outcomes
    )
    return Standing(seated, complete, revealed=True, covered=progress, outcome=worst)
