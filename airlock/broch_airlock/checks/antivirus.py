"""clamd through the package `clamd`, with its traps closed (docs/checks.md, *Traps*).

One connection for each piece; nothing is shared between threads.
"""

from __future__ import annotations

import re
import socket
import ssl
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol, runtime_checkable

import clamd

from broch_airlock.checks.clamd_connection import (
    Address,
    Connection,
    RelayAddress,
    UnixAddress,
    break_off,
)
from broch_airlock.checks.model import Verdict, display

_VERSION = re.compile(r"ClamAV (?P<engine>[^/\s]+)(/(?P<signatures>\d+)/(?P<date>.+))?")
_DATE_FORMAT = "%a %b %d %H:%M:%S %Y"
_CLOCK_SKEW = timedelta(days=1)
_NOT_LOOKED_AT = ("Heuristics.Limits.", "Heuristics.Encrypted.")
_LONGEST_REPLY = 4096
TEST_SIGNATURES = "of our own, for tests"
NOT_BY_DESCRIPTOR = "clamd-descriptor"
"""Rule of the answer when clamd could not read an open file that it was handed; its bytes can be sent instead."""
_REPLY = re.compile(r"(?:stream|fd\[\d+\]): (?P<answer>.*)", re.DOTALL)


@dataclass(frozen=True)
class ScanResult:
    """What clamd says of one piece."""

    verdict: Verdict
    rule: str = ""
    message: str = ""


@dataclass(frozen=True)
class AntivirusHealth:
    """Whether files can be scanned now; for `/readyz` and `broch doctor`."""

    ok: bool
    engine: str
    """Name, version and signatures, for people and release records."""
    signatures_at: datetime | None
    """UTC. When the signatures were made; None when that is not known."""
    reason: str
    """Why not, and what to do; empty when `ok`."""
    verdict: Verdict = Verdict.CLEAN
    """What every file is while this is not `ok`: `unscannable` with old signatures, `error` without an answer."""


class Pending(Protocol):
    """A scan whose answer is awaited."""

    def finish(self) -> None:
        """Say that the piece is whole."""

    def result(self) -> ScanResult:
        """Wait for the answer."""

    def hurry(self) -> None:
        """Stop waiting for the answer; may be called from another thread."""

    def abort(self) -> None:
        """Give the piece up."""


class Scan(Pending, Protocol):
    """One piece on its way through the scanner."""

    def send(self, piece: bytes | memoryview) -> None:
        """Send more bytes; never raises, what goes wrong shows in `result`."""


class Antivirus(Protocol):
    """A virus scanner."""

    def health(self, longest_age: timedelta) -> AntivirusHealth:
        """Say whether it answers with signatures that are young enough."""

    def scan(self, *, most_bytes: int, seconds: float) -> Scan:
        """Begin to scan one piece of at most that many bytes."""


@runtime_checkable
class LocalAntivirus(Antivirus, Protocol):
    """A scanner on this machine, to which open files can be handed instead of their bytes."""

    def scan_file(self, descriptor: int, *, seconds: float) -> Pending:
        """Begin to scan the whole of an open file, which must not change; `NOT_BY_DESCRIPTOR` when it cannot."""


def interpret(reply: bytes) -> ScanResult:
    """Return what a reply to INSTREAM or FILDES means (clamd(8)); anything not understood is `error`."""
    text = reply.rstrip(b"\0\n").decode("utf-8", "backslashreplace")
    scanned = _REPLY.fullmatch(text)
    answer = scanned["answer"] if scanned is not None else ""
    if answer == "OK":
        return ScanResult(Verdict.CLEAN)
    if text.startswith("INSTREAM size limit exceeded"):
        return ScanResult(
            Verdict.UNSCANNABLE, "clamd-stream-limit", "It is larger than clamd accepts (StreamMaxLength)."
        )
    if answer.endswith(" FOUND"):
        name = answer.removesuffix(" FOUND")
        if name.startswith(_NOT_LOOKED_AT):
            return ScanResult(Verdict.UNSCANNABLE, name, "clamd could not look at all of it.")
        return ScanResult(Verdict.BLOCKED, name, f"clamd knows it as {display(name, 80)}.")
    if not text:
        return ScanResult(Verdict.ERROR, "clamd-no-answer", "clamd ended the connection without an answer.")
    return ScanResult(Verdict.ERROR, "clamd-error", f"clamd says: {display(text, 200)}")


class _Command:
    """One command whose answer is awaited. All problems become the result; nothing is raised after the start.

    Args:
        address: of clamd.
        command: of clamd(8).
        seconds: longest wait for a step, and for the answer.
    """

    def __init__(self, address: Address, command: str, seconds: float) -> None:
        self._seconds = seconds
        self._failed: ScanResult | None = None
        self._stream: socket.socket | None = None
        try:
            self._stream = Connection(address, seconds).begin(command)
        except (OSError, clamd.ClamdError) as error:
            self._failed = ScanResult(Verdict.ERROR, "clamd-unreachable", display(str(error)))

    def result(self) -> ScanResult:
        """Wait for the answer and close."""
        if self._failed is None:
            self._failed = self._reply()
        self.abort()
        return self._failed

    def _reply(self) -> ScanResult:
        if self._stream is None:
            return ScanResult(Verdict.ERROR, "clamd-no-answer", "The scan was given up.")
        reply = b""
        deadline = datetime.now(UTC) + timedelta(seconds=self._seconds)
        try:
            while not reply.endswith(b"\0") and len(reply) < _LONGEST_REPLY:
                left = (deadline - datetime.now(UTC)).total_seconds()
                self._stream.settimeout(max(left, 0.001))
                part = self._stream.recv(_LONGEST_REPLY)
                if not part:
                    break
                reply += part
        except TimeoutError:
            return ScanResult(Verdict.ERROR, "clamd-timeout", f"clamd gave no answer in {self._seconds:g} s.")
        except OSError:
            pass  # reset by clamd: what came before counts, and an incomplete reply does not
        if not reply.endswith(b"\0"):
            return ScanResult(
                Verdict.ERROR, "clamd-no-answer", "clamd ended the connection without an answer."
            )
        return interpret(reply)

    def hurry(self) -> None:
        """Stop waiting, from another thread: the answer is `error` unless it is there already."""
        stream = self._stream
        if stream is not None:
            break_off(stream)

    def abort(self) -> None:
        """Close the connection."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None


class ClamdScan(_Command):
    """One INSTREAM.

    Args:
        address: of clamd.
        most_bytes: own limit; one byte more is `unscannable` without asking clamd.
        seconds: longest wait for a step, and for the answer.
    """

    def __init__(self, address: Address, most_bytes: int, seconds: float) -> None:
        super().__init__(address, "INSTREAM", seconds)
        self._left = most_bytes
        self._closed_early = False

    def send(self, piece: bytes | memoryview) -> None:
        """Send more bytes as chunks of INSTREAM (length, big-endian, and bytes)."""
        if self._failed is not None or self._closed_early or self._stream is None or not piece:
            return
        self._left -= len(piece)
        if self._left < 0:
            self._failed = ScanResult(Verdict.UNSCANNABLE, "size", "It is larger than may be scanned.")
            self.abort()
            return
        # sendmsg saves a copy of the piece; the package's own `send` may send a part and not notice.
        self._sent([struct.pack("!L", len(piece)), piece])

    def _sent(self, parts: list[bytes | memoryview]) -> None:
        if self._stream is None:
            return
        try:
            _send_all(self._stream, parts)
        except TimeoutError:
            self._failed = ScanResult(Verdict.ERROR, "clamd-timeout", "clamd took no more bytes in time.")
            self.abort()
        except OSError:
            # clamd closes the stream while we still send: the verdict is waiting in the receive buffer.
            self._closed_early = True

    def finish(self) -> None:
        """Send the chunk of length zero that ends the stream."""
        if self._failed is None and not self._closed_early:
            self._sent([struct.pack("!L", 0)])

    def _reply(self) -> ScanResult:
        answer = super()._reply()
        if self._closed_early and answer.verdict is Verdict.CLEAN:
            return ScanResult(Verdict.ERROR, "clamd-error", "clamd answered OK before it had all bytes.")
        return answer


def _send_all(stream: socket.socket, parts: list[bytes | memoryview]) -> None:
    if isinstance(stream, ssl.SSLSocket):
        for part in parts:
            stream.sendall(part)
        return
    sent = stream.sendmsg(parts)
    if sent < sum(len(part) for part in parts):
        stream.sendall(memoryview(b"".join(parts))[sent:])


class ClamdFileScan(_Command):
    """One FILDES: clamd reads an open file itself, which saves sending and storing every byte once more.

    Args:
        address: of clamd, on this machine.
        descriptor: of a regular file, open for reading; the caller's to close.
        seconds: longest wait for the answer.
    """

    def __init__(self, address: UnixAddress, descriptor: int, seconds: float) -> None:
        super().__init__(address, "FILDES", seconds)
        if self._stream is None:
            return
        try:
            socket.send_fds(self._stream, [b"\0"], [descriptor])
        except TimeoutError:
            self._failed = ScanResult(Verdict.ERROR, "clamd-timeout", "clamd took no descriptor in time.")
        except OSError as error:
            self._failed = ScanResult(Verdict.ERROR, NOT_BY_DESCRIPTOR, display(str(error)))

    def finish(self) -> None:
        """Do nothing: clamd has had the whole file from the start."""

    def _reply(self) -> ScanResult:
        answer = super()._reply()
        if answer.rule in {"clamd-error", "clamd-no-answer"}:
            # Without descriptors in its build, or forbidden to read them (AppArmor), it says so or hangs up.
            return replace(answer, rule=NOT_BY_DESCRIPTOR)
        return answer


class _Clamd:
    """clamd, wherever it is.

    Args:
        address: of clamd.
        signatures_at: tells when signatures without a date of their own were made (plain .ndb files: VERSION has no
            date then); asked only when clamd does not say.
        label: what the signatures are, when it is not the official set (`demo (EICAR only)`).
    """

    def __init__(
        self, address: Address, signatures_at: Callable[[], datetime | None] | None, label: str
    ) -> None:
        self._address = address
        self._signatures_at = signatures_at
        self._label = label

    def scan(self, *, most_bytes: int, seconds: float) -> ClamdScan:
        """Begin to scan one piece."""
        return ClamdScan(self._address, most_bytes, seconds)

    def health(self, longest_age: timedelta, now: datetime | None = None) -> AntivirusHealth:
        """Ask PING and VERSION; old, future or undated signatures are not ok."""
        now = now or datetime.now(UTC)
        connection = Connection(self._address)
        try:
            pong = connection.ask("PING")
            version = connection.ask("VERSION")
        except clamd.ClamdError as error:
            reason = f"{display(str(error))}. {self._address.remedy}"
            return AntivirusHealth(
                ok=False, engine="clamd", signatures_at=None, reason=reason, verdict=Verdict.ERROR
            )
        found = _VERSION.fullmatch(version)
        if pong != "PONG" or found is None:
            reason = f"clamd answers something unexpected: {display(version, 100)}"
            return AntivirusHealth(
                ok=False, engine="clamd", signatures_at=None, reason=reason, verdict=Verdict.ERROR
            )
        engine = f"ClamAV {found['engine']}" + (f"/{found['signatures']}" if found["signatures"] else "")
        engine += f", signatures: {self._label}" if self._label else ""
        made = self._made(found["date"])
        reason = _too_old(made, longest_age, now)
        verdict = Verdict.UNSCANNABLE if reason else Verdict.CLEAN
        return AntivirusHealth(
            ok=not reason, engine=engine, signatures_at=made, reason=reason, verdict=verdict
        )

    def _made(self, date: str | None) -> datetime | None:
        if date is None:
            return self._signatures_at() if self._signatures_at is not None else None
        try:
            # clamd writes its own local time; ours runs in UTC (clamd_process), and a day more or less is no matter.
            return datetime.strptime(" ".join(date.split()), _DATE_FORMAT).replace(tzinfo=UTC)
        except ValueError:
            return None


class ClamdAntivirus(_Clamd):
    """clamd on a Unix socket of this machine, to which open files can be handed.

    Args:
        path: its socket.
        signatures_at: see `_Clamd`.
        label: see `_Clamd`.
    """

    def __init__(
        self, path: Path, *, signatures_at: Callable[[], datetime | None] | None = None, label: str = ""
    ) -> None:
        self._here = UnixAddress(path)
        super().__init__(self._here, signatures_at, label)

    def scan_file(self, descriptor: int, *, seconds: float) -> ClamdFileScan:
        """Begin to scan an open file."""
        return ClamdFileScan(self._here, descriptor, seconds)


class RelayedClamd(_Clamd):
    """clamd in a pod of its own, which is sent every byte.

    Args:
        address: of its relay.
        test_signatures: it has signatures of our own, whose age the relay tells. Otherwise signatures without a date
            are too old, as everywhere.
    """

    def __init__(self, address: RelayAddress, *, test_signatures: bool = False) -> None:
        told = address.signatures_at if test_signatures else None
        super().__init__(address, told, TEST_SIGNATURES if test_signatures else "")


def _too_old(made: datetime | None, longest_age: timedelta, now: datetime) -> str:
    """Return why signatures of this date cannot be used; empty when they can."""
    if made is None:
        return "The age of the virus signatures is not known. Run: freshclam"
    if made > now + _CLOCK_SKEW:
        return f"The virus signatures are from the future ({made:%Y-%m-%d}): set the clock of this machine."
    if now - made > longest_age:
        days = (now - made).days
        return f"The virus signatures are {days} days old; at most {longest_age.days} are allowed. Run: freshclam"
    return ""
