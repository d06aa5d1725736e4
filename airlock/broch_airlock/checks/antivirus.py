"""clamd through the package `clamd`, with its traps closed (docs/checks.md, *Traps*).

One connection for each piece; nothing is shared between threads.
"""

from __future__ import annotations

import contextlib
import re
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol, runtime_checkable

import clamd

from broch_airlock.checks.model import Verdict, display

_VERSION = re.compile(r"ClamAV (?P<engine>[^/\s]+)(/(?P<signatures>\d+)/(?P<date>.+))?")
_DATE_FORMAT = "%a %b %d %H:%M:%S %Y"
_CLOCK_SKEW = timedelta(days=1)
_NOT_LOOKED_AT = ("Heuristics.Limits.", "Heuristics.Encrypted.")
_CONNECT_SECONDS = 5.0
_COMMAND_SECONDS = 4.0
"""PING takes no time; a clamd that hangs must not keep /readyz waiting."""
_LONGEST_REPLY = 4096
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


class _Connection(clamd.ClamdUnixSocket):  # type: ignore[misc]  # the package has no types
    """The package's connection, with time-outs that begin before connecting and replies read by one rule."""

    def _init_socket(self) -> None:
        self.clamd_socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # The package connects before it sets a time-out: with a full backlog it waits for ever.
            self.clamd_socket.settimeout(_CONNECT_SECONDS)
            self.clamd_socket.connect(self.unix_socket)
            self.clamd_socket.settimeout(self.timeout)
        except OSError as error:
            self.clamd_socket.close()
            raise clamd.ConnectionError(f"clamd does not answer: {error}") from None

    def begin(self, command: str) -> socket.socket:
        """Open a connection and begin a command on it."""
        self._init_socket()
        stream: socket.socket = self.clamd_socket
        stream.sendall(f"z{command}\0".encode())
        return stream

    def ask(self, command: str) -> str:
        """Return the answer to a one-line command."""
        try:
            return str(self._basic_command(command))
        except (OSError, clamd.ClamdError, UnicodeDecodeError) as error:
            raise clamd.ConnectionError(f"clamd does not answer {command}: {error}") from None


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
        path: socket of clamd.
        command: of clamd(8).
        seconds: longest wait for a step, and for the answer.
    """

    def __init__(self, path: Path, command: str, seconds: float) -> None:
        self._seconds = seconds
        self._failed: ScanResult | None = None
        self._stream: socket.socket | None = None
        try:
            self._stream = _Connection(path=str(path), timeout=seconds).begin(command)
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
            with contextlib.suppress(OSError):
                stream.shutdown(socket.SHUT_RDWR)

    def abort(self) -> None:
        """Close the connection."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None


class ClamdScan(_Command):
    """One INSTREAM.

    Args:
        path: socket of clamd.
        most_bytes: own limit; one byte more is `unscannable` without asking clamd.
        seconds: longest wait for a step, and for the answer.
    """

    def __init__(self, path: Path, most_bytes: int, seconds: float) -> None:
        super().__init__(path, "INSTREAM", seconds)
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
            total = sum(len(part) for part in parts)
            sent = self._stream.sendmsg(parts)
            if sent < total:
                self._stream.sendall(memoryview(b"".join(parts))[sent:])
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


class ClamdFileScan(_Command):
    """One FILDES: clamd reads an open file itself, which saves sending and storing every byte once more.

    Args:
        path: socket of clamd.
        descriptor: of a regular file, open for reading; the caller's to close.
        seconds: longest wait for the answer.
    """

    def __init__(self, path: Path, descriptor: int, seconds: float) -> None:
        super().__init__(path, "FILDES", seconds)
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


class ClamdAntivirus:
    """clamd on a Unix socket.

    Args:
        path: its socket.
        signatures_at: tells when signatures without a date of their own were made (plain .ndb files: VERSION has no
            date then); asked only when clamd does not say.
        label: what the signatures are, when it is not the official set (`demo (EICAR only)`).
    """

    def __init__(
        self, path: Path, *, signatures_at: Callable[[], datetime | None] | None = None, label: str = ""
    ) -> None:
        self.path = path
        self._signatures_at = signatures_at
        self._label = label

    def scan(self, *, most_bytes: int, seconds: float) -> ClamdScan:
        """Begin to scan one piece."""
        return ClamdScan(self.path, most_bytes, seconds)

    def scan_file(self, descriptor: int, *, seconds: float) -> ClamdFileScan:
        """Begin to scan an open file."""
        return ClamdFileScan(self.path, descriptor, seconds)

    def health(self, longest_age: timedelta, now: datetime | None = None) -> AntivirusHealth:
        """Ask PING and VERSION; old, future or undated signatures are not ok."""
        now = now or datetime.now(UTC)
        connection = _Connection(path=str(self.path), timeout=_COMMAND_SECONDS)
        try:
            pong = connection.ask("PING")
            version = connection.ask("VERSION")
        except clamd.ClamdError as error:
            reason = f"{display(str(error))}. Start clamd (`broch up` does) and look at its log."
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
