"""The HTTP/1.1 protocol of all our listeners, with a bound on what is kept before an app sees a request.

uvicorn on httptools keeps a request line, headers and trailers of any length until they are complete: a client that
never ends one would fill the memory of the process (RFC 9112, 3 and 5.4, lets a server answer 414 and 431).
"""

from __future__ import annotations

import asyncio

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

log = structlog.get_logger()

LONGEST_HEAD = 64 << 10
"""Most bytes of a request line with its headers, or of one chunk's framing or trailers. 64 KiB: addresses end at
8,000 bytes, and browsers send a few KiB of cookies at most."""
DOOR_CONNECTIONS = 128
"""Open connections at the door of one machine, of all workspaces."""
HEAD_SECONDS = 15.0
"""How long the door waits for a whole head; it looks so often, so it may be twice that."""
BODY_SECONDS = 60.0
"""How long it waits for the next piece of a body, or for who does not read its answer."""
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: application/problem+json\r\n"
    b"content-security-policy: default-src 'none'; sandbox; frame-ancestors 'none'\r\n"
    b"x-content-type-options: nosniff\r\n"
    b"content-length: %d\r\nconnection: close\r\n\r\n%s"
)
_PROBLEM = (
    b'{"type": "https://broch.dev/problems/too-large", "title": "Refused", "status": 431, '
    b'"detail": "Address and headers are longer than 64 KiB.", '
    b'"remedy": "If this comes with every page, a page has set too many cookies: remove the cookies of this site in '
    b"your browser's settings and sign in again.\"}"
)


class _HeadTooLarge(Exception):
    """More head than any request of ours has."""


class BoundedHttp(HttpToolsProtocol):
    """HTTP/1.1 of uvicorn that refuses endless heads (431) and takes no trailers."""

    _pending = 0
    """Bytes since the last piece of body, or since a request began."""
    _fields = 0
    """Bytes of address and headers of this request that the parser has given."""
    _in_body = False

    def data_received(self, data: bytes) -> None:
        """Take bytes of the connection."""
        self._pending += len(data)
        super().data_received(data)
        # What has come completes something at least every 64 KiB: a whole head, or a piece of body.
        if self._pending > LONGEST_HEAD and not self.transport.is_closing():
            self._refuse()

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._fields = 0
        self._in_body = False

    def on_url(self, url: bytes) -> None:
        """Take a piece of the address.

        Raises:
            _HeadTooLarge: it is longer than any of ours.
        """
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; what comes after the body (trailers) is left alone.

        Raises:
            _HeadTooLarge: all of them together are longer than any of ours.
        """
        self._count(len(name) + len(value))
        if not self._in_body:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Go on to the body."""
        self._in_body = True
        self._pending = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of body."""
        self._pending = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self._pending = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what the parser refuses; a head that is too long has a status of its own."""
        if self._fields > LONGEST_HEAD:
            self._refuse()
        elif self._answering:
            self.transport.close()
        else:
            super().send_400_response(msg)

    @property
    def _answering(self) -> bool:
        """Whether an answer is under way: a second one into it would be taken for its body."""
        return self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete

    def _count(self, size: int) -> None:
        self._fields += size
        if self._fields > LONGEST_HEAD:
            raise _HeadTooLarge

    def _refuse(self) -> None:
        log.warning("http.head_too_large")
        if not self._in_body and not self._answering:
            self.transport.write(_TOO_LARGE % (len(_PROBLEM), _PROBLEM))
        self.transport.close()


class DoorHttp(BoundedHttp):
    """That of the door on one machine: a bounded number of connections, and none that says nothing.

    Its socket is open to whatever runs in a workspace, and every descriptor that is taken here is missed by browsers and
    the hub. On a cluster the gateway has bounds of its own.
    """

    _waiting_since: float | None = None
    """When it was the client's turn to send or to read, on the loop's clock; unset while it is ours."""
    _unread = 0
    """Bytes of the answer that waited for the client at the last look."""
    _look_again: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Take a connection, or cut it at once."""
        super().connection_made(transport)
        if len(self.connections) > DOOR_CONNECTIONS:
            transport.abort()
            return
        self._waiting_since = self.loop.time()
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        if self._look_again is not None:
            self._look_again.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes of the connection."""
        if self._waiting_since is None and (self.cycle is None or self.cycle.response_complete):
            self._waiting_since = self.loop.time()
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """Go on to the body."""
        self._waiting_since = self.loop.time()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of body."""
        self._waiting_since = self.loop.time()
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self._waiting_since = None
        super().on_message_complete()

    def pause_writing(self) -> None:
        """Wait until the client reads."""
        self._waiting_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Go on with the answer."""
        self._waiting_since = self.loop.time()
        super().resume_writing()

    def _look(self) -> None:
        now = self.loop.time()
        before, self._unread = self._unread, self.transport.get_write_buffer_size()
        # It reads, however slowly; or it is we who do not.
        busy = self._unread < before if self.flow.write_paused else self.flow.read_paused
        if busy and self._waiting_since is not None:
            self._waiting_since = now
        limit = BODY_SECONDS if self._in_body else HEAD_SECONDS
        if self._waiting_since is not None and now - self._waiting_since > limit:
            self.transport.abort()
            return
        self._look_again = self.loop.call_later(HEAD_SECONDS, self._look)
