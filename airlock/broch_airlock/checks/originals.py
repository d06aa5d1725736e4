"""The original bytes on their way to clamd, hashed beside: what is scanned is what was taken in.

A scanner on this machine is handed the open file under a read lease, so that what it reads and what is hashed cannot
differ. Any other, or where there is no lease, is sent the very bytes that are hashed.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

from broch_airlock.checks.antivirus import (
    NOT_BY_DESCRIPTOR,
    Antivirus,
    LocalAntivirus,
    Pending,
    ScanResult,
)
from broch_airlock.checks.leases import Lease
from broch_airlock.checks.model import CheckResult, FileUnderCheck, Finding, Verdict
from broch_airlock.checks.pieces import CHECK, AnswerQueue, FindingOf, Findings
from broch_airlock.checks.policy import Policy

_CHUNK = 8 << 20
"""Bytes read at a time. Large: whoever hashes must ask for the interpreter after each piece, while others are busy."""


@dataclass
class Case:
    """One file on its way; `descriptor` is open while it is admitted."""

    file: FileUnderCheck
    answers: list[CheckResult] = field(default_factory=list)
    malware: Findings = field(default_factory=Findings)
    descriptor: int | None = None
    scan: Pending | None = None
    lost: threading.Event = field(default_factory=threading.Event)
    """Set when the sandbox says `unscannable`."""
    scanned: bool = False
    """Whether clamd answered on the original: silence is never `clean`."""

    def answered(self, answer: ScanResult) -> None:
        """Take clamd's answer on the original."""
        self.scanned = True
        if self.lost.is_set() and answer.verdict is Verdict.ERROR:
            answer = ScanResult(
                Verdict.UNSCANNABLE, "not-waited-for", "It cannot be looked at wholly (archive_limits)."
            )
        FindingOf(self.malware, "")(answer)

    def lose(self) -> None:
        """Stop waiting for clamd: bombs keep it busy for minutes, and the verdict cannot get better any more."""
        self.lost.set()
        if self.scan is not None:
            self.scan.hurry()

    def failed(self, rule: str, message: str) -> None:
        """Note that the original could not be scanned as it should."""
        self.malware.add(Finding(CHECK, rule, Verdict.ERROR, "", message))


class KnownClean(Protocol):
    """Says that this scanner found nothing in bytes of a file's SHA-256; None while it looks, unless waited for."""

    def __call__(self, case: Case, *, wait: bool) -> bool | None:
        """Say it."""
        ...


def scan_originals(
    cases: Sequence[Case],
    policy: Policy,
    antivirus: Antivirus,
    deadline: float,
    known_clean: KnownClean | None = None,
) -> None:
    """Have every original scanned; what goes wrong becomes a finding.

    Args:
        cases: with open descriptors.
        policy: limits.
        antivirus: the scanner.
        deadline: monotonic seconds after which no scan begins.
        known_clean: spares what is known already a second scan: it is only hashed.
    """
    unknown = cases if known_clean is None else _unknown(cases, known_clean)
    if isinstance(antivirus, LocalAntivirus):
        streamed = _HandedOver(policy, antivirus, deadline).run(unknown)
    else:
        streamed = list(unknown)
    queue = AnswerQueue()
    with ThreadPoolExecutor(1, thread_name_prefix="checks-hash") as hasher:
        for case in streamed:
            if _in_time(case, deadline):
                _stream(case, policy, antivirus, queue, hasher)
        queue.drain()


class _HandedOver:
    """Files scanned by descriptor."""

    def __init__(self, policy: Policy, antivirus: LocalAntivirus, deadline: float) -> None:
        self._policy = policy
        self._antivirus = antivirus
        self._deadline = deadline
        self._left: list[Case] = []

    def run(self, cases: Iterable[Case]) -> list[Case]:
        """Scan what can be scanned so; return the others, whose bytes must be sent."""
        queue = AnswerQueue()
        for case in cases:
            # A clamd that refused one descriptor refuses them all.
            lease = None if self._left else Lease.take(_descriptor(case))
            if lease is None:
                self._left.append(case)
            elif _in_time(case, self._deadline):
                self._one(case, lease, queue)
        queue.drain()
        return self._left

    def _one(self, case: Case, lease: Lease, queue: AnswerQueue) -> None:
        scan = self._antivirus.scan_file(_descriptor(case), seconds=self._policy.scan_seconds)
        _follow(case, scan)
        digest = hashlib.sha256()
        if not _read(case, digest.update):
            scan.abort()
            lease.release()
            return
        _compare(case, digest.hexdigest())

        def answered(answer: ScanResult) -> None:
            kept = lease.kept()
            lease.release()
            if answer.rule == NOT_BY_DESCRIPTOR and not case.lost.is_set():
                self._left.append(case)
                return
            if not kept:
                case.failed("changed", "Somebody opened the file for writing while it was scanned.")
            case.answered(answer)

        queue.put(scan, answered)


def _stream(
    case: Case, policy: Policy, antivirus: Antivirus, queue: AnswerQueue, hasher: ThreadPoolExecutor
) -> None:
    """Send the bytes; each piece is hashed while it is sent."""
    scan = antivirus.scan(most_bytes=policy.max_file_bytes, seconds=policy.scan_seconds)
    _follow(case, scan)
    digest = hashlib.sha256()

    def take(piece: memoryview) -> None:
        hashing = hasher.submit(digest.update, piece)
        scan.send(piece)
        hashing.result()

    if not _read(case, take):
        scan.abort()
        return
    _compare(case, digest.hexdigest())
    queue.put(scan, case.answered)


def _unknown(cases: Iterable[Case], known_clean: KnownClean) -> Iterator[Case]:
    """Give the files that are still to be scanned; those that somebody scans just now come last, if at all."""
    running = []
    for case in cases:
        answer = known_clean(case, wait=False)
        if answer is None:
            running.append(case)
        elif answer:
            _vouch(case)
        else:
            yield case
    for case in running:
        if known_clean(case, wait=True):
            _vouch(case)
        else:
            yield case


def _vouch(case: Case) -> None:
    """Take over that nothing was found in these bytes, if they are these bytes; otherwise that is the finding."""
    digest = hashlib.sha256()
    if _read(case, digest.update):
        _compare(case, digest.hexdigest())
        case.scanned = True


def _in_time(case: Case, deadline: float) -> bool:
    if time.monotonic() > deadline:
        case.failed("deadline", "There was no time left to scan it.")
        return False
    return True


def _follow(case: Case, scan: Pending) -> None:
    """Let the sandbox's verdict end this scan, even if it came before the scan began."""
    case.scan = scan
    if case.lost.is_set():
        scan.hurry()


def _read(case: Case, take: Callable[[memoryview], None]) -> bool:
    """Give all bytes to `take`; False, with a finding, when they cannot be had."""
    buffer = bytearray(min(_CHUNK, case.file.size + 1))
    offset = 0
    try:
        while size := os.preadv(_descriptor(case), [buffer], offset):
            take(memoryview(buffer)[:size])
            offset += size
    except OSError as error:
        case.failed("unreadable", f"The file cannot be read: {error.strerror}.")
        return False
    if offset != case.file.size:
        case.failed("changed", "The file is longer or shorter than what was taken in.")
    return True


def _compare(case: Case, sha256: str) -> None:
    if sha256 != case.file.sha256:
        case.failed("changed", "The bytes are not those that were taken in (SHA-256).")


def _descriptor(case: Case) -> int:
    if case.descriptor is None:
        raise OSError(0, "not admitted")
    return case.descriptor
