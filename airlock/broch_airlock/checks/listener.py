"""Listens to one sandbox: passes members on to clamd, counts for itself, keeps the reports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO

from broch_airlock.checks.antivirus import Antivirus, Scan
from broch_airlock.checks.inside.records import BEGIN, DATA, DONE, END, GIVEN_UP, REPORT
from broch_airlock.checks.model import CheckResult, Finding, Verdict, worst
from broch_airlock.checks.pieces import CHECK, AnswerQueue, FindingOf, Findings
from broch_airlock.checks.policy import Policy
from broch_airlock.checks.records import Nonsense, Record, read_record, read_report

ENGINE = "broch sandbox 1"
_OPEN_MOST = 16
"""Members open at once: one for each level of nesting."""


@dataclass
class _Member:
    place: str
    scan: Scan | None
    size: int = 0


class SandboxListener:
    """Reads the records of one sandbox until it is done or lies.

    Args:
        stream: the sandbox's output.
        policy: limits; the sandbox was told them too, and is not believed.
        antivirus: where members go; None when it is not usable (every file is lost already then).
        malware: where findings on members go, one for each file.
    """

    def __init__(
        self, stream: IO[bytes], policy: Policy, antivirus: Antivirus | None, malware: Sequence[Findings]
    ) -> None:
        self._stream = stream
        self._policy = policy
        self._antivirus = antivirus
        self._malware = malware
        self._queue = AnswerQueue()
        self._open: dict[int, _Member] = {}
        self._members = 0
        self._bytes = 0
        self._file = 0
        self.answers: list[list[CheckResult] | None] = [None for _ in malware]
        """Reports by file, None where there is none."""
        self.on_unscannable: Callable[[int], None] = lambda _file: None
        """Told the number of a file of which the sandbox says `unscannable`: waiting for clamd is of no use then."""
        self.failure = ""
        """Why the sandbox is not listened to any more; empty while it behaves."""

    def run(self) -> None:
        """Listen to the end."""
        try:
            while self._take(read_record(self._stream, len(self._malware))):
                pass
        except Nonsense as error:
            self.fail(str(error))
        finally:
            for member in self._open.values():
                if member.scan is not None:
                    member.scan.abort()
            self._open.clear()
            self._queue.drain()

    def fail(self, reason: str) -> None:
        """Take back every report: a sandbox that lies once is not believed about any file."""
        self.failure = reason
        self.answers = [None for _ in self.answers]

    def _take(self, record: Record) -> bool:
        if record.kind == DONE:
            if self._open or self._file != len(self.answers):
                raise Nonsense("The sandbox ended before it had reported on every file.")
            return False
        if record.file != self._file:
            raise Nonsense("The sandbox spoke of another file than the one in hand.")
        if record.kind == BEGIN:
            self._begin(record)
        elif record.kind == DATA:
            self._data(record)
        elif record.kind in {END, GIVEN_UP}:
            self._end(record)
        elif record.kind == REPORT:
            self._report(record)
        return True

    def _begin(self, record: Record) -> None:
        self._members += 1
        if record.member in self._open or len(self._open) >= _OPEN_MOST:
            raise Nonsense("The sandbox opened a member twice, or too many.")
        if self._members > self._policy.max_members:
            raise Nonsense("The sandbox sent more members than it may.")
        scan = None
        if self._antivirus is not None:
            scan = self._antivirus.scan(
                most_bytes=self._policy.max_file_bytes, seconds=self._policy.scan_seconds
            )
        self._open[record.member] = _Member(record.payload.decode("utf-8", "backslashreplace"), scan)

    def _data(self, record: Record) -> None:
        member = self._open.get(record.member)
        if member is None:
            raise Nonsense("The sandbox sent bytes of no member.")
        member.size += len(record.payload)
        self._bytes += len(record.payload)
        if self._bytes > self._policy.max_expanded_bytes:
            raise Nonsense("The sandbox sent more bytes than it may.")
        if member.scan is not None:
            member.scan.send(record.payload)

    def _end(self, record: Record) -> None:
        member = self._open.pop(record.member, None)
        if member is None:
            raise Nonsense("The sandbox ended a member that was not open.")
        if record.kind == GIVEN_UP:
            if member.scan is not None:
                member.scan.abort()
            message = "This part could not be read to its end."
            self._malware[self._file].add(
                Finding(CHECK, "incomplete", Verdict.UNSCANNABLE, member.place, message)
            )
        elif member.scan is not None:
            self._queue.put(member.scan, FindingOf(self._malware[self._file], member.place))

    def _report(self, record: Record) -> None:
        if self._open:
            raise Nonsense("The sandbox reported on a file before it was through.")
        answers = read_report(record.payload, ENGINE)
        self.answers[self._file] = answers
        if worst(answer.verdict for answer in answers) >= Verdict.UNSCANNABLE:
            self.on_unscannable(self._file)
        self._file += 1
        self._members = self._bytes = 0
