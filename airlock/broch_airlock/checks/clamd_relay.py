"""The relay beside clamd in its pod: web speaks TLS to it, clamd has only a Unix socket. It reads nothing it passes on.

clamd itself knows neither TLS nor who asks. Whoever shows no certificate of ours gets no further than the handshake.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import structlog
from pydantic import Field
from pydantic_settings import SettingsConfigDict

from broch_airlock.checks.clamd_config import has_system_signatures
from broch_airlock.checks.clamd_connection import SIGNATURES
from broch_core.component_settings import ComponentSettings
from broch_core.doorway import Doorway, listen
from broch_core.tls import Renewed, server_context
from broch_core.web.logs import set_up_logs

_log = structlog.get_logger(__name__)
_CHUNK = 256 << 10
_CONNECT_SECONDS = 5.0


class RelaySettings(ComponentSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(env_prefix="BROCH_RELAY_")

    port: int = Field(default=3311, ge=0, le=65535)
    """TCP port."""
    socket: Path = Path("/run/clamd/clamd.sock")
    """clamd's own."""
    test_signatures: Path | None = None
    """Folder of signatures of our own, whose age is that of the oldest file. Only for tests of an installation: web must
    be told too (`clamd_test_signatures`), and every page of status says so. Unset: signatures without a date are old."""
    connections: int = Field(default=128, ge=1)
    """Most connections at once. clamd scans eight pieces at a time and lets 32 wait."""
    idle_seconds: float = Field(default=330.0, gt=0)
    """How long a connection may be silent. A little more than web waits for an answer (`Policy.scan_seconds`)."""


class Relay:
    """Passes each connection on to one of clamd."""

    def __init__(self, settings: RelaySettings) -> None:
        self._settings = settings

    async def serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection of web."""
        secured = writer.get_extra_info("ssl_object")
        if isinstance(secured, ssl.SSLObject) and secured.selected_alpn_protocol() == SIGNATURES:
            writer.write(made_at(self._settings.test_signatures))
            return
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_UNIX) as clamd:
            clamd.settimeout(0)
            try:
                async with asyncio.timeout(_CONNECT_SECONDS):
                    await loop.sock_connect(clamd, str(self._settings.socket))
            except (OSError, TimeoutError) as error:
                _log.warning("relay.no_clamd", error=type(error).__name__)
                return
            inward = asyncio.create_task(self._inward(reader, clamd))
            try:
                if await self._outward(clamd, writer):
                    # clamd may answer while web still sends. Closing on bytes that nobody read resets a connection, and
                    # the answer would be lost with it: what comes is dropped until web has had it and goes.
                    await inward
            finally:
                inward.cancel()
                await asyncio.wait({inward})

    async def _inward(self, reader: asyncio.StreamReader, clamd: socket.socket) -> None:
        """Pass on what web sends, to its end."""
        loop = asyncio.get_running_loop()
        taken = True
        with contextlib.suppress(OSError, TimeoutError):
            while True:
                async with asyncio.timeout(self._settings.idle_seconds):
                    part = await reader.read(_CHUNK)
                    if not part:
                        break
                    if taken:
                        try:
                            await loop.sock_sendall(clamd, part)
                        except OSError:
                            taken = False
        # Its end is the end for clamd too: nobody is left to hear an answer.
        with contextlib.suppress(OSError):
            clamd.shutdown(socket.SHUT_RDWR)

    async def _outward(self, clamd: socket.socket, writer: asyncio.StreamWriter) -> bool:
        """Pass on what clamd says, to its end; returns whether it said anything."""
        loop = asyncio.get_running_loop()
        said = False
        with contextlib.suppress(OSError, TimeoutError):
            while True:
                async with asyncio.timeout(self._settings.idle_seconds):
                    part = await loop.sock_recv(clamd, _CHUNK)
                    if not part:
                        break
                    said = True
                    writer.write(part)
                    await writer.drain()
        return said


def made_at(folder: Path | None) -> bytes:
    """Return when the oldest signatures there were made, seconds since 1970; empty when that cannot be said.

    Official signatures say it themselves, and are not spoken for.
    """
    if folder is None or has_system_signatures(folder):
        return b""
    try:
        times = [file.stat().st_mtime for file in folder.iterdir() if file.is_file()]
    except OSError:
        return b""
    return str(int(min(times))).encode() if times else b""


async def serve(settings: RelaySettings, on_ready: Callable[[int], None] | None = None) -> None:
    """Serve until SIGTERM, SIGINT or a cancellation; `on_ready` is told the port."""
    made = Renewed(settings.tls, _context)
    doorway = Doorway(
        listen(settings.listen, settings.port),
        made,
        Relay(settings).serve_one,
        most=settings.connections,
        most_each=settings.connections,
    )
    made()  # a relay without a certificate shall not start
    loop = asyncio.get_running_loop()
    work = asyncio.create_task(doorway.run())
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, work.cancel)
    _log.info("relay.ready", port=doorway.port)
    if on_ready is not None:
        on_ready(doorway.port)
    with contextlib.suppress(asyncio.CancelledError):
        await work


def _context(folder: Path) -> ssl.SSLContext:
    context = server_context(folder, clients=True)
    context.set_alpn_protocols([SIGNATURES])
    return context


def main(settings: RelaySettings | None = None) -> None:
    """Run the relay until it is told to end (`broch serve clamd-relay`)."""
    chosen = settings or RelaySettings()
    set_up_logs(chosen.log_format)
    asyncio.run(serve(chosen))
