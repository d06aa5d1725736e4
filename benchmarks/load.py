"""A load generator that costs little: N connections kept alive, each with one request on its way. Pure edges of asyncio."""

from __future__ import annotations

import asyncio
import itertools
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

_STATUS_AT = slice(9, 12)
"""Where the status code stands in `HTTP/1.1 200 OK`."""


@dataclass(frozen=True)
class Call:
    """One kind of request, sent over and over."""

    method: str
    path: str
    expected: int
    """Status that every answer must have: a fast refusal is no result."""
    token: str | None = None
    body: Callable[[int], bytes] | None = None
    """Makes the JSON body of the n-th request; none is sent without."""

    def bytes_of(self, number: int, host: str) -> bytes:
        """Return the whole request."""
        body = self.body(number) if self.body else b""
        lines = [f"{self.method} {self.path} HTTP/1.1", f"Host: {host}", "Accept: application/json"]
        if self.token is not None:
            lines.append(f"Authorization: Bearer {self.token}")
        if self.body is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        return "\r\n".join([*lines, "", ""]).encode() + body


class WrongAnswer(RuntimeError):
    """An answer had another status than the call expects; its text is shown."""


class _Connection(asyncio.Protocol):
    def __init__(self, requests: Iterator[bytes], expected: bytes, ended: asyncio.Future[None]) -> None:
        self._requests = requests
        self._expected = expected
        self._ended = ended
        self._buffer = b""
        self._until = float("inf")
        self.answers = 0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def begin(self, until: float) -> None:
        self._until = until
        self._next()

    def _next(self) -> None:
        if time.monotonic() >= self._until:
            self._finish(None)
        elif self.transport is not None:
            self.transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0]
        if len(rest) < int(length):
            return
        if head[_STATUS_AT] != self._expected:
            self._finish(WrongAnswer(self._buffer[:1000].decode(errors="replace")))
            return
        self._buffer = b""
        self.answers += 1
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish(exc or ConnectionError("the server closed the connection"))

    def _finish(self, error: Exception | None) -> None:
        if self._ended.done():
            return
        if error is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(error)


def _itself(protocol: _Connection) -> _Connection:
    return protocol


class Load:
    """Sends one call to one server; counts go on from round to round, so that no body comes twice."""

    def __init__(self, port: int, host: str, call: Call, *, connections: int = 8) -> None:
        self._port = port
        self._connections = connections
        self._call = call
        self._requests = (call.bytes_of(number, host) for number in itertools.count())

    def rate(self, seconds: float) -> float:
        """Keep all connections busy for that long; return answers per second.

        Raises:
            WrongAnswer: a status was not the expected one.
            OSError: the server went away.
        """
        return asyncio.run(self._rate(seconds))

    async def _rate(self, seconds: float) -> float:
        loop = asyncio.get_running_loop()
        connections = []
        ends = []
        for _ in range(self._connections):
            ended = loop.create_future()
            protocol = _Connection(self._requests, str(self._call.expected).encode(), ended)
            plain = socket.create_connection(("127.0.0.1", self._port))
            await loop.create_connection(partial(_itself, protocol), sock=plain)
            connections.append(protocol)
            ends.append(ended)
        began = time.monotonic()
        for connection in connections:
            connection.begin(began + seconds)
        try:
            await asyncio.gather(*ends)
            took = time.monotonic() - began
        finally:
            for connection in connections:
                if connection.transport is not None:
                    connection.transport.close()
        return sum(connection.answers for connection in connections) / took
