"""What checks say: verdicts, findings, results. Standard library only: the sandbox imports this too."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

TEXT_LONGEST = 300
"""Characters of any text shown from a file: a name, a place, a message."""
FINDINGS_MOST = 50
"""Findings kept for one check of one file; the rest is counted in the last one."""


class Verdict(StrEnum):
    """What a check says of a file, from best to worst. Comparison is by badness, not by spelling."""

    CLEAN = "clean"
    FLAGGED = "flagged"
    BLOCKED = "blocked"
    UNSCANNABLE = "unscannable"
    ERROR = "error"

    @property
    def badness(self) -> int:
        """0 for clean, and up."""
        return list(Verdict).index(self)

    def __lt__(self, other: str, /) -> bool:
        return self.badness < Verdict(other).badness

    def __le__(self, other: str, /) -> bool:
        return self.badness <= Verdict(other).badness

    def __gt__(self, other: str, /) -> bool:
        return self.badness > Verdict(other).badness

    def __ge__(self, other: str, /) -> bool:
        return self.badness >= Verdict(other).badness


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the worst of the verdicts; `error` for none at all, because nobody looked."""
    return max(verdicts, key=lambda verdict: verdict.badness, default=Verdict.ERROR)


class Direction(StrEnum):
    """Which way files cross the boundary."""

    INGRESS = "ingress"
    EGRESS = "egress"


_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"}


def display(text: str, longest: int = TEXT_LONGEST) -> str:
    r"""Return text of unknown origin as one safe line: control, bidi and invisible characters as `\u{hex}`.

    Args:
        text: anything, lone surrogates included.
        longest: characters of the answer at most; a cut is shown by an ellipsis.
    """
    shown: list[str] = []
    length = 0
    for char in text:
        piece = (
            char if char == " " or unicodedata.category(char) not in _INVISIBLE else f"\\u{{{ord(char):X}}}"
        )
        if length + len(piece) > longest - 1:
            shown.append("…")
            break
        shown.append(piece)
        length += len(piece)
    return "".join(shown)


@dataclass(frozen=True)
class Finding:
    """One thing a check found, and where. All text is safe to show."""

    check: str
    rule: str
    verdict: Verdict
    where: str
    """Member path, line or byte offset; empty for the file as a whole."""
    message: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "rule", display(self.rule, 100))
        object.__setattr__(self, "where", display(self.where))
        object.__setattr__(self, "message", display(self.message))


@dataclass(frozen=True)
class CheckResult:
    """The answer of one check about one file."""

    check: str
    engine: str
    """What looked: name and version, for clamd also its signatures."""
    verdict: Verdict
    findings: tuple[Finding, ...] = ()


def result(check: str, engine: str, findings: Iterable[Finding] = ()) -> CheckResult:
    """Return the result that the findings amount to: the worst of them, `clean` without any."""
    found = tuple(findings)
    verdict = worst([Verdict.CLEAN, *(finding.verdict for finding in found)])
    if len(found) > FINDINGS_MOST:
        # The worst are kept: a flood of small findings must not hide the one that matters.
        kept = sorted(found, key=lambda finding: -finding.verdict.badness)[: FINDINGS_MOST - 1]
        more = Finding(
            check, "more", kept[-1].verdict, "", f"{len(found) - len(kept)} more findings are not listed."
        )
        found = (*kept, more)
    return CheckResult(check, engine, verdict, found)


@dataclass(frozen=True)
class FileUnderCheck:
    """One file of a request, as intake recorded it."""

    name: str
    size: int
    """Bytes."""
    sha256: str
    """Lower-case hex. What is scanned must have it."""
    path: Path
    """Where the bytes lie: a regular file that only Broch writes."""
    direction: Direction = Direction.INGRESS
    project_id: str = ""
    """Whose file it is; what is known of the same bytes elsewhere does not count."""


@dataclass(frozen=True)
class Limits:
    """How much of a file the sandbox may unfold; see `Policy` for the reasons."""

    max_file_bytes: int
    max_archive_depth: int
    max_members: int
    max_expanded_bytes: int
    max_ratio: int
    max_held_bytes: int
    max_document_bytes: int

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Limits:
        """Return limits from the fields of the same name."""
        return cls(**{name: int(values[name]) for name in cls.__dataclass_fields__})
