"""Where clamd is, and one connection to it: a Unix socket here, or the relay of its pod on a cluster."""

from __future__ import annotations

import contextlib
import socket
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import clamd

from broch_core.tls import Renewed, client_context

SIGNATURES = "broch-signatures"
"""Protocol (ALPN) by which the relay tells when signatures of our own were made, instead of passing a stream on."""
_CONNECT_SECONDS = 5.0
_COMMAND_SECONDS = 4.0
"""PING takes no time; a clamd that hangs must not keep /readyz waiting."""
_LONGEST_DATE = 64


class Address(Protocol):
    """A place where clamd is reached."""

    @property
    def remedy(self) -> str:
        """What to do when nobody answers there."""

    def connect(self, seconds: float) -> socket.socket:
        """Open a connection whose steps may take that long.

        Raises:
            OSError: nobody answers.
        """


class UnixAddress:
    """A socket of this machine."""

    remedy = "Start clamd (`broch up` does) and look at its log."

    def __init__(self, path: Path) -> None:
        self.path = path

    def connect(self, seconds: float) -> socket.socket:
        """Connect; the package does so before it sets a time-out, and waits for ever with a full backlog."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(_CONNECT_SECONDS)
            connection.connect(str(self.path))
            connection.settimeout(seconds)
        except BaseException:
            connection.close()
            raise
        return connection


class RelayAddress:
    """The relay in clamd's pod (`clamd_relay`), by TLS with certificates on both sides.

    Args:
        address: `HOST:PORT`; the host is in the relay's certificate.
        tls: folder of this component's certificate.
    """

    remedy = "Look at clamd's pods: kubectl logs deploy/<release>-clamd --all-containers"

    def __init__(self, address: str, tls: Path) -> None:
        host, _, port = address.rpartition(":")
        self._host, self._port = host, int(port)
        self._context = Renewed(tls, client_context)
        self._asking = Renewed(tls, _asking_context)

    def connect(self, seconds: float) -> socket.socket:
        """Connect, by TLS."""
        return self._connect(self._context(), seconds)

    def signatures_at(self) -> datetime | None:
        """Return when the signatures were made (UTC), as the relay sees it; None when it does not say."""
        try:
            with self._connect(self._asking(), _COMMAND_SECONDS) as connection:
                if connection.selected_alpn_protocol() != SIGNATURES:
                    return None
                told = b""
                while len(told) < _LONGEST_DATE and (part := connection.recv(_LONGEST_DATE)):
                    told += part
            return datetime.fromtimestamp(int(told), UTC)
        except (OSError, OverflowError, ValueError):
            return None

    def _connect(self, context: ssl.SSLContext, seconds: float) -> ssl.SSLSocket:
        plain = socket.create_connection((self._host, self._port), timeout=_CONNECT_SECONDS)
        try:
            connection = context.wrap_socket(plain, server_hostname=self._host)
            connection.settimeout(seconds)
        except BaseException:
            plain.close()
            raise
        return connection


def _asking_context(folder: Path) -> ssl.SSLContext:
    context = client_context(folder)
    context.set_alpn_protocols([SIGNATURES])
    return context


class Connection(clamd.ClamdUnixSocket):  # type: ignore[misc]  # the package has no types
    """The package's connection, to any address, with replies read by one rule.

    Args:
        address: of clamd.
        seconds: longest wait for a step.
    """

    def __init__(self, address: Address, seconds: float = _COMMAND_SECONDS) -> None:
        super().__init__(timeout=seconds)
        self._address = address

    def _init_socket(self) -> None:
        try:
            self.clamd_socket = self._address.connect(self.timeout)
        except OSError as error:
            raise clamd.ConnectionError(f"clamd does not answer: {error}") from None

    def begin(self, command: str) -> socket.socket:
        """Open a connection and begin a command on it."""
        self._init_socket()
        stream: socket.socket = self.clamd_socket
        try:
            stream.sendall(f"z{command}\0".encode())
        except BaseException:
            stream.close()
            raise
        return stream

    def ask(self, command: str) -> str:
        """Return the answer to a one-line command."""
        try:
            return str(self._basic_command(command))
        except (OSError, clamd.ClamdError, UnicodeDecodeError) as error:
            raise clamd.ConnectionError(f"clamd does not answer {command}: {error}") from None


def break_off(stream: socket.socket) -> None:
    """End a connection under another thread that waits on it."""
    # Not SSLSocket.shutdown: that forgets TLS, and the other thread would be given ciphertext.
    with contextlib.suppress(OSError):
        socket.socket.shutdown(stream, socket.SHUT_RDWR)
