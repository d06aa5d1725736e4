"""Pieces on their way through the scanner: several answers are awaited at once, and all become findings."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from broch_airlock.checks.antivirus import Pending, ScanResult
from broch_airlock.checks.model import FINDINGS_MOST, Finding, Verdict

CHECK = "malware"
_WAITING = 3
"""Pieces of one queue whose answers are awaited while the next is sent: clamd scans them side by side."""


class Findings:
    """Findings of one file, added to by several threads; a flood is counted, the worst is never lost."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: list[Finding] = []
        self._worst = Verdict.CLEAN

    def add(self, finding: Finding) -> None:
        """Add one."""
        with self._lock:
            if len(self._kept) < FINDINGS_MOST or finding.verdict > self._worst:
                self._kept.append(finding)
            self._worst = max(self._worst, finding.verdict, key=lambda verdict: verdict.badness)

    def all(self) -> tuple[Finding, ...]:
        """Return what is there."""
        with self._lock:
            return tuple(self._kept)


class FindingOf:
    """Turns the answer on one piece into a finding of its file, when it is not `clean`.

    Args:
        findings: of the file.
        where: the piece's place in it; empty for the original.
    """

    def __init__(self, findings: Findings, where: str) -> None:
        self._findings = findings
        self._where = where

    def __call__(self, answer: ScanResult) -> None:
        """Take the answer."""
        if answer.verdict is not Verdict.CLEAN:
            self._findings.add(Finding(CHECK, answer.rule, answer.verdict, self._where, answer.message))


class AnswerQueue:
    """Scans that were sent wholly and have no answer yet; used by one thread."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Pending, Callable[[ScanResult], None]]] = deque()

    def put(self, scan: Pending, on_answer: Callable[[ScanResult], None]) -> None:
        """Wait for this scan's answer, but not now."""
        scan.finish()
        self._waiting.append((scan, on_answer))
        while len(self._waiting) > _WAITING:
            self._one()

    def _one(self) -> None:
        scan, on_answer = self._waiting.popleft()
        on_answer(scan.result())

    def drain(self) -> None:
        """Wait for all answers."""
        while self._waiting:
            self._one()
