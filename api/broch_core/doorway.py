"""A TLS listener that bounds how many connections there are, in all and from one address, before any handshake."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial

import structlog

_log = structlog.get_logger(__name__)
_HANDSHAKE_SECONDS = 10.0
_BUFFER = 256 << 10
_PAUSE_SECONDS = 0.2
_QUIET_SECONDS = 5
_TRIES = 3
"""Who is silent is asked for a sign of life after five seconds, three times: a pod that is torn down sends no farewell."""

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Doorway:
    """Accepts connections and hands each to a handler; closes it when the handler is done.

    asyncio's own servers tell of a connection after its handshake, so that who never ends one is never counted.

    Args:
        listening: bound and listening, not blocking.
        context: returns that of a server, asked for each connection, such as `tls.Renewed`.
        handle: what to do with a connection.
        most: connections at once.
        most_each: connections at once from one address.
        last_seconds: how long the other side may take to fetch what was written before a connection is closed.
        unread_seconds: how long it may take nothing of what is written. 0: as long as it lives. The kernel's own limit for
            one that is gone is a quarter of an hour.
    """

    def __init__(
        self,
        listening: socket.socket,
        context: Callable[[], ssl.SSLContext],
        handle: Handler,
        *,
        most: int,
        most_each: int,
        last_seconds: float = 10.0,
        unread_seconds: float = 0.0,
    ) -> None:
        self._listening = listening
        self._context = context
        self._handle = handle
        self._most = most
        self._most_each = most_each
        self._last_seconds = last_seconds
        self._unread_seconds = unread_seconds
        self._by_address: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """TCP port."""
        return int(self._listening.getsockname()[1])

    async def run(self) -> None:
        """Accept until cancelled; then every connection ends."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    connection, peer = await loop.sock_accept(self._listening)
                except OSError as error:  # no descriptors left, or a caller that was gone at once
                    _log.warning("doorway.accept_failed", error=str(error))
                    await asyncio.sleep(_PAUSE_SECONDS)
                    continue
                address = str(peer[0])
                if len(self._tasks) >= self._most or self._by_address[address] >= self._most_each:
                    connection.close()
                    continue
                self._by_address[address] += 1
                task = asyncio.create_task(self._one(connection))
                self._tasks.add(task)
                task.add_done_callback(partial(self._left, address))
        finally:
            self._listening.close()
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=5)

    def _left(self, address: str, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("doorway.handler_failed", error=repr(error))

    async def _one(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        connection.settimeout(0)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        keep_alive(connection)
        if self._unread_seconds:
            milliseconds = int(self._unread_seconds * 1000)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
        reader = asyncio.StreamReader(limit=_BUFFER, loop=loop)
        try:
            transport, protocol = await loop.connect_accepted_socket(
                lambda: asyncio.StreamReaderProtocol(reader, loop=loop),
                connection,
                ssl=self._context(),
                ssl_handshake_timeout=_HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=self._last_seconds,
            )
        except (OSError, TimeoutError) as error:
            connection.close()
            _log.info("doorway.handshake_failed", error=type(error).__name__)
            return
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        try:
            await self._handle(reader, writer)
        except asyncio.CancelledError:
            transport.abort()
            raise
        finally:
            writer.close()
            with contextlib.suppress(OSError, TimeoutError, asyncio.CancelledError):
                await writer.wait_closed()


def keep_alive(connection: socket.socket) -> None:
    """Notice within half a minute that the other side is gone, when nothing is being sent."""
    for option, value in (
        (socket.TCP_KEEPIDLE, _QUIET_SECONDS),
        (socket.TCP_KEEPINTVL, _QUIET_SECONDS),
        (socket.TCP_KEEPCNT, _TRIES),
    ):
        connection.setsockopt(socket.IPPROTO_TCP, option, value)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket for a `Doorway`.

    Raises:
        OSError: the address is taken, or none of ours.
    """
    listening = socket.create_server((host, port), backlog=256)
    listening.settimeout(0)
    return listening
