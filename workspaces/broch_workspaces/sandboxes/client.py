"""Web's side: a sandbox somewhere else that looks like a process here."""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import ssl
import stat
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog

from broch_core.doorway import keep_alive
from broch_core.tls import Renewed, client_context
from broch_workspaces.sandbox.errors import Cause, SandboxUnavailable
from broch_workspaces.sandboxes.frames import (
    ACCEPTED,
    ASK,
    CHUNK,
    END,
    JOB,
    ORDER,
    OUTPUT,
    REFUSED,
    TOKEN,
    BrokenFrame,
    end_status,
    frame,
    receive_frame,
)
from broch_workspaces.sandboxes.order import Order

_log = structlog.get_logger(__name__)
_CONNECT_SECONDS = 5.0
_ANSWER_SECONDS = 240.0
"""Longest wait for a sandbox: a turn and a start, both bounded by the broker, and a margin."""
_HEALTH_SECONDS = 4.0
_CUT = -9
"""Status of a sandbox whose end nobody told, as of a process that was killed."""
_LOOK = "Look at the broker: kubectl logs deploy/<release>-sandboxes"


class BrokerSandbox:
    """Sandboxes in pods, by the broker; each is used once.

    Args:
        address: `HOST:PORT` of the broker; the host is in its certificate.
        tls: folder of this component's certificate.
        token: file of the token that the broker knows us by.
    """

    def __init__(self, address: str, tls: Path, token: Path) -> None:
        host, _, port = address.rpartition(":")
        self._host, self._port = host, int(port)
        self._context = Renewed(tls, client_context)
        self._token = token

    def start(
        self, module: str, inputs: Sequence[Path], job: Mapping[str, Any], cpu_seconds: int
    ) -> BrokerProcess:
        """Have `module` run in a fresh pod; returns once there is one. The inputs go there as the output is read.

        Raises:
            SandboxUnavailable: there is none, and why.
            OSError: an input is gone.
            ValueError: an input is no file, or the order is out of bounds.
        """
        order = Order(module, max(cpu_seconds, 1), tuple(_size(path) for path in inputs))
        asked = frame(ORDER, order.encode()) + frame(JOB, json.dumps(job).encode())
        with contextlib.ExitStack() as undo:
            connection = undo.enter_context(self._asked(asked, _ANSWER_SECONDS))
            _accepted(connection)
            connection.settimeout(None)
            undo.pop_all()
        return BrokerProcess(connection, list(zip(inputs, order.sizes, strict=True)))

    def check(self) -> str:
        """Ask the broker how it is; returns a word for people.

        Raises:
            SandboxUnavailable: it does not answer, or could not make its last sandbox.
        """
        with self._asked(frame(ASK), _HEALTH_SECONDS) as connection:
            state = json.loads(_accepted(connection))
        return f"pods, {int(state['warm'])} waiting"

    def _asked(self, question: bytes, seconds: float) -> ssl.SSLSocket:
        """Return a connection on which the question was asked.

        Raises:
            SandboxUnavailable: the broker cannot be reached.
        """
        try:
            token = self._token.read_bytes().strip()
            plain = socket.create_connection((self._host, self._port), timeout=_CONNECT_SECONDS)
            try:
                keep_alive(plain)
                connection = self._context().wrap_socket(plain, server_hostname=self._host)
            except BaseException:
                plain.close()
                raise
            try:
                connection.settimeout(seconds)
                connection.sendall(frame(TOKEN, token) + question)
            except BaseException:
                connection.close()
                raise
        except OSError as error:
            raise _unreachable(error) from None
        return connection


def _accepted(connection: ssl.SSLSocket) -> bytes:
    try:
        kind, payload = receive_frame(connection.recv, ACCEPTED, REFUSED)
    except (OSError, BrokenFrame) as error:
        raise _unreachable(error) from None
    if kind == REFUSED:
        told = json.loads(payload)
        raise SandboxUnavailable(Cause.BROKER, str(told["what"]), str(told["remedy"]))
    return payload


def _unreachable(error: Exception) -> SandboxUnavailable:
    what = f"The broker of sandboxes does not answer ({type(error).__name__})."
    return SandboxUnavailable(Cause.BROKER, what, _LOOK)


def _size(path: Path) -> int:
    status = path.stat(follow_symlinks=False)
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("an input is a file")
    return status.st_size


class BrokerProcess:
    """One module in a pod: `stdout` is what it prints; a cut is the end of the output, as of a killed process.

    The inputs are sent by the thread that reads, before it reads: a module starts when it has them all, and TLS takes
    one thread at a time.
    """

    def __init__(self, connection: ssl.SSLSocket, inputs: Sequence[tuple[Path, int]]) -> None:
        self._connection = connection
        self._over = threading.Event()
        self._status: int | None = None
        self._lock = threading.Lock()
        self.stdout: io.BufferedReader = io.BufferedReader(_Output(self, connection, inputs), CHUNK)

    def kill(self) -> None:
        """End it: the broker notices the connection, and deletes the pod."""
        # Not SSLSocket.shutdown: that forgets TLS, and a thread that is reading would be given ciphertext.
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._connection, socket.SHUT_RDWR)
        self.ended(_CUT)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; returns the status of the module, -9 when nobody told it.

        Raises:
            TimeoutError: it did not end in time.
        """
        if not self._over.wait(timeout):
            raise TimeoutError("the sandbox has not ended")
        return _CUT if self._status is None else self._status

    def ended(self, status: int) -> None:
        """Note how it ended; what was noted first stands."""
        with self._lock:
            if self._status is None:
                self._status = status
        self._over.set()


class _Output(io.RawIOBase):
    """The output of a module, out of its frames."""

    def __init__(
        self, process: BrokerProcess, connection: ssl.SSLSocket, inputs: Sequence[tuple[Path, int]]
    ) -> None:
        self._process = process
        self._connection = connection
        self._inputs: Sequence[tuple[Path, int]] | None = inputs
        self._have = memoryview(b"")
        self._done = False

    def readable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read some; 0 at the end, told or cut."""
        view = memoryview(buffer).cast("B")
        if not self._have and not self._done:
            self._have = memoryview(self._next())
        size = min(len(view), len(self._have))
        view[:size] = self._have[:size]
        self._have = self._have[size:]
        return size

    def close(self) -> None:
        """Close the connection."""
        if not self.closed:
            self._process.kill()
            self._connection.close()
        super().close()

    def _next(self) -> bytes:
        try:
            if self._inputs is not None:
                inputs, self._inputs = self._inputs, None
                for part in _bytes_of(inputs):
                    self._connection.sendall(part)
            payload = b""
            while not payload:
                kind, payload = receive_frame(self._connection.recv, OUTPUT, END)
                if kind == END:
                    self._process.ended(end_status(payload))
                    break
            else:
                return payload
        except (OSError, BrokenFrame) as error:
            _log.info("sandboxes.cut", error=f"{type(error).__name__}: {error}"[:200])
            # The broker must learn of it too, when it was ours: it would wait for the rest.
            self._process.kill()
        self._done = True
        return b""


def _bytes_of(inputs: Sequence[tuple[Path, int]]) -> Iterator[bytes]:
    """Give the bytes of all inputs, as many as were announced.

    Raises:
        BrokenFrame: a file has another size by now.
    """
    for path, size in inputs:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            left = size
            while left:
                part = file.read(min(left, CHUNK))
                if not part:
                    raise BrokenFrame("an input became shorter")
                left -= len(part)
                yield part
            if file.read(1):
                raise BrokenFrame("an input became longer")
