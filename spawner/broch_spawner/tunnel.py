"""A websocket passes the proxy as bytes: no message is ever whole here, so none is too large, and none has to be ended.

The handshake (RFC 6455, 4) is between browser and server, and is looked at. After it frames go on as they come; of those
from the browser the heads are read, to tell what a person does from what a browser answers by itself.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
from aiohttp import web

from broch_spawner.headers import Header

_HELD = 64 << 10
"""Bytes of one direction that wait here, before who sends them has to."""
_LAST_SECONDS = 10.0
"""How long the last bytes may take to go, once one side has ended: who does not read is not waited for."""
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_PASSED = frozenset({"sec-websocket-key", "sec-websocket-version", "sec-websocket-protocol"})
_FIRST_CONTROL = 0x8
"""Opcodes from here on are of pings, pongs and ends (RFC 6455, 5.2)."""


def asks_for_one(request: web.BaseRequest) -> bool:
    """Tell whether a request is the handshake of a websocket (RFC 6455, 4.2.1)."""
    return request.headers.get("Upgrade", "").lower() == "websocket"


def is_well_formed(request: web.BaseRequest) -> bool:
    """Tell whether a handshake is one that a browser sends."""
    options = {one.strip().lower() for one in request.headers.get("Connection", "").split(",")}
    return (
        request.method == "GET"
        and "upgrade" in options
        and not request.body_exists
        and request.headers.get("Sec-WebSocket-Key", "").isascii()
    )


def sent_on(headers: Iterator[Header]) -> Iterator[Header]:
    """Yield the headers of a handshake for the server: without extensions, which would change what frames mean."""
    for name, value in headers:
        low = name.lower()
        if low in _PASSED or not low.startswith("sec-websocket-"):
            yield name, value
    yield "Connection", "Upgrade"
    yield "Upgrade", "websocket"


def agreed(request: web.BaseRequest, up: aiohttp.ClientResponse) -> list[Header] | None:
    """Return the headers of the answer that makes it a websocket; None: the server did not agree to one.

    Nothing of its own words goes on: the proof of the handshake is known beforehand, and the protocol is one of those
    that the browser offered.
    """
    key = request.headers.get("Sec-WebSocket-Key", "").encode()
    proof = base64.b64encode(hashlib.sha1(key + _GUID).digest()).decode()  # noqa: S324 - RFC 6455, 4.2.2
    if (
        up.status != 101
        or up.headers.get("Upgrade", "").lower() != "websocket"
        or up.headers.get("Sec-WebSocket-Accept") != proof
        or "Sec-WebSocket-Extensions" in up.headers
    ):
        return None
    found: list[Header] = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Accept", proof),
    ]
    chosen = up.headers.get("Sec-WebSocket-Protocol")
    if chosen is not None:
        offered = [one.strip() for one in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        if chosen not in offered:
            return None
        found.append(("Sec-WebSocket-Protocol", chosen))
    return found


class Heads:
    """Follows the frames of one direction by their heads (RFC 6455, 5.2), however the bytes are cut."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._left = 0
        self._is_data = False

    def feed(self, data: bytes) -> bool:
        """Return whether a part of a text or binary message was among these bytes."""
        found, at = False, 0
        while at < len(data):
            if self._left:
                step = min(self._left, len(data) - at)
                self._left -= step
                found |= self._is_data
            else:
                step = 1
                self._head.append(data[at])
                if len(self._head) == _length_of_head(self._head):
                    self._begin()
                    found |= self._is_data
            at += step
        return found

    def _begin(self) -> None:
        short = self._head[1] & 0x7F
        extended = {126: self._head[2:4], 127: self._head[2:10]}.get(short)
        self._left = short if extended is None else int.from_bytes(extended)
        self._is_data = self._head[0] & 0x0F < _FIRST_CONTROL
        self._head.clear()


def _length_of_head(head: bytearray) -> int:
    """Return how many bytes the head has that begins like this."""
    if len(head) < 2:
        return 2
    return 2 + {126: 2, 127: 8}.get(head[1] & 0x7F, 0) + (4 if head[1] & 0x80 else 0)


class _Inlet:
    """What one side sends: aiohttp hands every byte of a connection here once it is no HTTP any more."""

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._paused = self._over = False
        self._came = asyncio.Event()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Take bytes (interface of aiohttp's parsers); let the sender wait when there are many."""
        if data:
            self._waiting.append(bytes(data))
            self._size += len(data)
            self._came.set()
            if self._size >= _HELD and not self._paused:
                self._paused = True
                self._protocol.pause_reading()
        return False, b""

    def feed_eof(self) -> None:
        """Take the end (interface of aiohttp's parsers)."""
        self._over = True
        self._came.set()

    async def read(self) -> bytes:
        """Return what has come, waiting for some; nothing at the end."""
        await self._came.wait()
        data = b"".join(self._waiting)
        self._waiting.clear()
        self._size = 0
        if not self._over:
            self._came.clear()
        if self._paused:
            self._paused = False
            self._protocol.resume_reading()
        return data


async def _pump(source: _Inlet, sink: Any, told: Callable[[bytes], object]) -> None:
    while data := await source.read():
        if sink.transport is None:
            return
        told(data)  # before they are sent: who is cut while they wait has had them
        sink.transport.write(data)
        await sink._drain_helper()  # noqa: SLF001 - as aiohttp's own writers do


class Tunnel:
    """One websocket between a browser and a server.

    Args:
        request: the browser's handshake, answered with 101.
        up: the server's answer to it.
    """

    def __init__(self, request: web.BaseRequest, up: aiohttp.ClientResponse) -> None:
        self._down: Any = request.protocol
        self._up = up
        self._up_protocol: Any = up.connection.protocol if up.connection is not None else None

    async def run(self, shown: Callable[[int], object], sent: Callable[[], object]) -> None:
        """Carry bytes until one side ends, or this is cancelled.

        Args:
            shown: told the size of what goes to the browser.
            sent: told of each part of a message from it.
        """
        if self._up_protocol is None:
            return
        from_server, from_browser, heads = _Inlet(self._up_protocol), _Inlet(self._down), Heads()
        self._up_protocol.set_parser(from_server, None)
        self._down.set_parser(from_browser)
        pumps = [
            asyncio.ensure_future(_pump(from_server, self._down, lambda data: shown(len(data)))),
            asyncio.ensure_future(
                _pump(from_browser, self._up_protocol, lambda data: sent() if heads.feed(data) else None)
            ),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            loop = asyncio.get_running_loop()
            for protocol in (self._down, self._up_protocol):
                if (transport := protocol.transport) is not None:
                    transport.close()
                    loop.call_later(_LAST_SECONDS, transport.abort)
            self._up.close()
