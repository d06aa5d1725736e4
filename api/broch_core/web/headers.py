"""What every answer of the shell carries, which hosts it answers for, and how much it reads: one pure ASGI layer."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import suppress
from typing import Any

from broch_core.ids import new_id

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LONGEST_BODY = 1 << 20
"""Largest JSON or form body, bytes; streams of bytes have limits of their own."""
_STREAMS = (b"application/offset+octet-stream", b"application/octet-stream")
_LONGEST_TARGET = 8000


class BodyTooLarge(Exception):
    """More body than any form or JSON of ours has."""


def shell_policy(hub_origin: str, viewer_origin: str) -> str:
    """Return the Content-Security-Policy of pages: our own files only, frames of workspaces and of the viewer."""
    scheme, _, host = hub_origin.partition("://")
    # Signing in to the hub passes our own /oauth/authorize inside the frame, and browsers hold every redirect of a
    # framed page against frame-src. Our pages themselves still refuse to be framed (frame-ancestors).
    frames = f"'self' {scheme}://*.{host} {hub_origin} {viewer_origin}"
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        f"connect-src 'self'; form-action 'self' {viewer_origin}; frame-src {frames}; "
        "frame-ancestors 'none'; base-uri 'none'"
    )


class ShellHeaders:
    """Adds security headers and a request id; refuses unknown hosts (421), long targets (414), large bodies (413)."""

    def __init__(self, app: App, *, hosts: Iterable[str], policy: str, https: bool = False) -> None:
        self._app = app
        self._hosts = frozenset(host.encode() for host in hosts)
        self._headers = [
            (b"content-security-policy", policy.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"same-origin"),
            (b"cross-origin-opener-policy", b"same-origin"),
            (b"cross-origin-resource-policy", b"same-origin"),
            (b"x-frame-options", b"DENY"),
            (
                b"permissions-policy",
                b"camera=(), microphone=(), geolocation=(), payment=(), usb=(), display-capture=()",
            ),
        ]
        if https:  # RFC 6797; for this host alone: workspaces below another one may be served by others
            self._headers.append((b"strict-transport-security", b"max-age=31536000"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = new_id()
        scope.setdefault("state", {})["request_id"] = request_id
        scope["state"]["began"] = time.monotonic()
        headers = dict(scope["headers"])

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *((n, v) for n, v in self._headers if n not in present),
                    (b"x-request-id", request_id.encode()),
                ]
            await send(message)

        if headers.get(b"host", b"").lower() not in self._hosts:
            await _refuse(send_with_headers, 421, "misdirected", "This address is not served here.")
            return
        if len(scope.get("raw_path", b"")) + len(scope.get("query_string", b"")) > _LONGEST_TARGET:
            await _refuse(send_with_headers, 414, "too-long", "The address of this request is too long.")
            return
        if headers.get(b"content-type", b"").split(b";")[0].strip().lower() in _STREAMS:
            await self._app(scope, receive, send_with_headers)
            return
        await self._limited(scope, receive, send_with_headers, headers)

    async def _limited(self, scope: Scope, receive: Receive, send: Send, headers: dict[bytes, bytes]) -> None:
        declared = headers.get(b"content-length", b"0")
        if not declared.isdigit() or int(declared) > LONGEST_BODY:
            await _refuse(send, 413, "too-large", f"The body is larger than {LONGEST_BODY:,} bytes.")
            return
        read, begun, over = 0, False, False

        async def counted() -> Message:
            nonlocal read, over
            message = await receive()
            read += len(message.get("body", b""))
            if read > LONGEST_BODY:
                over = True
                raise BodyTooLarge
            return message

        async def noted(message: Message) -> None:
            nonlocal begun
            if over and not begun:
                return  # FastAPI calls whatever fails while it reads a 400: ours says what it was
            begun = True
            await send(message)

        with suppress(BodyTooLarge):
            await self._app(scope, counted, noted)
        if over and not begun:
            await _refuse(send, 413, "too-large", f"The body is larger than {LONGEST_BODY:,} bytes.")


async def _refuse(send: Send, status: int, kind: str, detail: str) -> None:
    problem = {
        "type": f"https://broch.dev/problems/{kind}",
        "title": "Refused",
        "status": status,
        "detail": detail,
    }
    body = json.dumps(problem).encode()
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", b"application/problem+json"),
                (b"content-length", str(len(body)).encode()),
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})
