"""Originals are scanned as soon as they are taken in, so that a submitted request need not wait for it again.

What is kept is a fact about bytes: "clamd, with these signatures, found nothing in what has this SHA-256". It counts
only for the same project, the same signatures and a while; the checks hash the file once more before they use it, and
any other answer is thrown away and asked for anew. So a scan ahead can save time and nothing else.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import structlog

from broch_airlock.checks.antivirus import Antivirus, AntivirusHealth
from broch_airlock.checks.model import FileUnderCheck
from broch_airlock.checks.originals import Case, scan_originals
from broch_airlock.checks.policy import Policy

WAITING_MOST = 1000
"""Files that wait; more are scanned by the checks."""
KNOWN_MOST = 10_000
KEPT_SECONDS = 3600.0
"""How long an answer counts. An hour: from the last upload to the submission."""
SCAN_SECONDS = 30
"""Longest scan ahead: a bomb must not keep clamd busy before anybody has asked."""
_WAIT_STEP = 0.05

_log = structlog.get_logger(__name__)

Key = tuple[str, str]
"""Project and SHA-256: no answer crosses from one project to another."""


@dataclass(frozen=True)
class _Signatures:
    """What clamd scanned with."""

    engine: str
    made: datetime | None

    @classmethod
    def of(cls, health: AntivirusHealth) -> _Signatures:
        return cls(health.engine, health.signatures_at)


@dataclass
class _Running:
    key: Key
    case: Case
    done: threading.Event = field(default_factory=threading.Event)


class ScanAhead:
    """Scans one file at a time in a thread of its own, begun with the first offer.

    Args:
        policy: limits.
        antivirus: the scanner.
    """

    def __init__(self, policy: Policy, antivirus: Antivirus) -> None:
        self._policy = policy
        self._antivirus = antivirus
        self._changed = threading.Condition()
        self._waiting: OrderedDict[Key, FileUnderCheck] = OrderedDict()
        self._running: _Running | None = None
        self._clean: OrderedDict[Key, tuple[_Signatures, float]] = OrderedDict()
        self._thread: threading.Thread | None = None

    def offer(self, file: FileUnderCheck) -> None:
        """Have a file scanned soon; costs the caller nothing."""
        key = (file.project_id, file.sha256)
        with self._changed:
            if len(self._waiting) >= WAITING_MOST or (self._running is not None and self._running.key == key):
                return
            self._waiting[key] = file
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="scan-ahead", daemon=True)
                self._thread.start()
            self._changed.notify()

    def clean(self, case: Case, *, wait: bool, health: AntivirusHealth, deadline: float) -> bool | None:
        """Say whether clamd found nothing in these bytes with the signatures that it has now.

        A file that still waits for its scan is taken off the list: the caller scans it.

        Args:
            case: the file; its bytes must still be compared with their SHA-256.
            wait: wait for a scan that is going on, until the file is lost or the deadline comes; else that is None.
            health: of the scanner, now.
            deadline: monotonic seconds.
        """
        key = (case.file.project_id, case.file.sha256)
        with self._changed:
            self._waiting.pop(key, None)
            running = self._running if self._running is not None and self._running.key == key else None
        if running is not None:
            if not wait:
                return None
            while not running.done.wait(_WAIT_STEP) and time.monotonic() < deadline:
                if case.lost.is_set():
                    running.case.lose()
        with self._changed:
            signatures, at = self._clean.get(key, (None, 0.0))
        return signatures == _Signatures.of(health) and time.monotonic() - at < KEPT_SECONDS

    def idle(self) -> bool:
        """Say whether nothing waits and nothing is being scanned."""
        with self._changed:
            return not self._waiting and self._running is None

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    self._changed.wait()
                key, file = self._waiting.popitem(last=False)
                running = self._running = _Running(key, Case(file))
            try:
                self._scan(running)
            except Exception:  # noqa: BLE001 - the checks scan it then, and say what is wrong
                _log.exception("scan_ahead.failed")
            finally:
                with self._changed:
                    self._running = None
                running.done.set()

    def _scan(self, running: _Running) -> None:
        case = running.case
        descriptor = _open(case.file.path, case.file.size)
        if descriptor is None or case.file.size > self._policy.max_file_bytes:
            return
        try:
            # Asked before the scan: if the signatures change meanwhile, the answer counts for the old ones.
            health = self._antivirus.health(self._policy.max_signature_age)
            if not health.ok:
                return
            case.descriptor = descriptor
            seconds = min(SCAN_SECONDS, self._policy.scan_seconds)
            policy = self._policy.model_copy(update={"scan_seconds": seconds})
            scan_originals([case], policy, self._antivirus, time.monotonic() + seconds)
        finally:
            os.close(descriptor)
        if case.scanned and not case.malware.all():
            with self._changed:
                self._clean[running.key] = (_Signatures.of(health), time.monotonic())
                self._clean.move_to_end(running.key)
                while len(self._clean) > KNOWN_MOST:
                    self._clean.popitem(last=False)


def _open(path: Path, size: int) -> int | None:
    """Open a blob; None when it is gone again, or not what was taken in."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_size == size:
        return descriptor
    os.close(descriptor)
    return None
