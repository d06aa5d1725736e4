"""Passing one request on: headers made anew from an allow-list, bytes streamed both ways, neither side waited for long."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping

import aiohttp
from aiohttp import web
from yarl import URL

from broch_core.errors import DomainError, TooLarge, Unavailable
from broch_workspaces import hub_calls
from broch_workspaces.gateway.calls import Call, Upstream
from broch_workspaces.gateway.identity import Pod
from broch_workspaces.gateway.settings import GatewaySettings

_SHOWN: Mapping[Upstream, frozenset[str]] = {
    Upstream.DOOR: frozenset({"content-type", "content-length", "broch-sha256", "retry-after"}),
    Upstream.HUB: hub_calls.SHOWN | {"content-length"},
    Upstream.PACKAGES: frozenset({"content-type", "content-length", "broch-sha256", "retry-after"}),
}
_WHO: Mapping[Upstream, str] = {
    Upstream.DOOR: "airlock",
    Upstream.HUB: "hub",
    Upstream.PACKAGES: "package route",
}
_ACCEPT = re.compile(r"[\x20-\x7e]{1,500}")
_REASON = re.compile(r"[\x20-\x7e]{1,300}")
_TYPE = re.compile(
    r"[A-Za-z0-9!#$&^_.+-]{1,80}/[A-Za-z0-9!#$&^_.+-]{1,80}(; ?[a-z]{1,20}=[A-Za-z0-9-]{1,40})?"
)
_SKIPPED = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
"""Headers that aiohttp adds of its own. Without `Accept-Encoding` bytes come as they are."""


class LengthRequired(DomainError):
    """A body must say how long it is."""

    status = 411
    kind = "length-required"
    title = "How long is it?"


class TooSlow(DomainError):
    """The body comes too slowly to be waited for."""

    status = 408
    kind = "too-slow"
    title = "The request took too long"


class Malformed(DomainError):
    """Headers that say two things, or more than they may."""

    kind = "malformed"
    title = "The request cannot be read"


def one(request: web.BaseRequest, name: str) -> str | None:
    """Return the value of a header that may come once.

    Raises:
        Malformed: it comes more than once; which one counts would be a matter of taste.
    """
    values = request.headers.getall(name, [])
    if len(values) > 1:
        raise Malformed(f"The header {name} comes more than once.")
    return values[0] if values else None


def body_length(request: web.BaseRequest, limit: int) -> int:
    """Return how long the body says to be, bytes.

    Raises:
        LengthRequired: it does not say.
        TooLarge: it is longer than `limit`.
        Malformed: it is packed, or says nothing sensible.
    """
    if one(request, "Content-Encoding") is not None:
        raise Malformed("Send the bytes as they are, without Content-Encoding.")
    if one(request, "Transfer-Encoding") is not None:
        raise LengthRequired("Send the body with its Content-Length.")
    text = one(request, "Content-Length")
    if text is None:
        return 0
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise Malformed("Content-Length is not a number.")
    if int(text) > limit:
        raise TooLarge(
            f"The body is larger than {limit:,} bytes." if limit else "This call takes no body.", limit=limit
        )
    return int(text)


class HalfAnswer(ConnectionError):
    """One side is gone in the middle of an answer; the connection was cut."""


class Passage:
    """One request on its way to an upstream and back.

    Args:
        request: as it came.
        call: what it asks for.
        length: of its body, bytes.
        settings: how long to wait for either side.
    """

    def __init__(self, request: web.BaseRequest, call: Call, length: int, settings: GatewaySettings) -> None:
        self._request = request
        self._call = call
        self._length = length
        self._settings = settings
        self._broken: DomainError | None = None
        self._gathered = b""

    def headers(self, pod: Pod | None, gateway_token: str) -> dict[str, str]:
        """Return what the upstream is shown: nothing of the client but what its call needs.

        Raises:
            Malformed: a header that is needed makes no sense.
        """
        made: dict[str, str] = {}
        kind = one(self._request, "Content-Type")
        if kind is not None:
            if _TYPE.fullmatch(kind) is None:
                raise Malformed("Content-Type is no media type.")
            made["Content-Type"] = kind
        if self._length or self._request.method not in {"GET", "HEAD"}:
            made["Content-Length"] = str(self._length)
        if self._call.upstream is Upstream.HUB:
            for name in ("Authorization", "Accept"):
                if (value := one(self._request, name)) is not None:
                    made[name] = value
            return made
        assert pod is not None  # noqa: S101 - all other calls are judged before
        if self._call.upstream is Upstream.PACKAGES:
            # It knows the gateway by its certificate. Which index is made depends on what the client reads.
            accept = one(self._request, "Accept") or ""
            if _ACCEPT.fullmatch(accept) is not None:
                made["Accept"] = accept
            return made | {"Broch-Pod": f"{pod.namespace}/{pod.name}"}
        return made | {
            "Authorization": f"Bearer {gateway_token}",
            "Broch-Pod": f"{pod.namespace}/{pod.name}",
            "Broch-Account": pod.account.value,
        }

    async def gather(self) -> None:
        """Take in the whole body, which must be small, before anything is passed on.

        Raises:
            TooSlow: it does not come.
            Malformed: it ends early.
        """
        try:
            self._gathered = b"".join([data async for data in self._body()])
        except (aiohttp.ClientError, TimeoutError, OSError):
            if self._broken is None:
                raise
            raise self._broken from None

    async def run(
        self, session: aiohttp.ClientSession, base: str, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        """Pass the request on, and the answer back.

        Raises:
            TooSlow: the client does not send.
            Unavailable: the upstream does not answer.
            HalfAnswer: one side is gone in the middle of the answer.
        """
        try:
            async with session.request(
                self._request.method,
                # The target is on the list, so it is ours letter by letter; decoding and encoding could only change it.
                URL(base + self._request.raw_path, encoded=True),
                headers=headers,
                data=self._gathered or (self._body() if self._length else None),
                skip_auto_headers=_SKIPPED,
                allow_redirects=False,
                timeout=self._patience(),
            ) as answer:
                return await self._back(answer)
        except HalfAnswer:
            raise
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if self._broken is not None:
                raise self._broken from None
            who = _WHO[self._call.upstream]
            raise Unavailable(f"The {who} cannot be reached right now. Try again in a minute.") from error

    def _patience(self) -> aiohttp.ClientTimeout:
        packages = self._call.upstream is Upstream.PACKAGES
        seconds = self._settings.fetch_seconds if packages else self._settings.answer_seconds
        return aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=seconds)

    async def _body(self) -> AsyncIterator[bytes]:
        if self._length and (one(self._request, "Expect") or "").lower() == "100-continue":
            await self._request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._request.writer.output_size = 0
        began, sent = time.monotonic(), 0
        while sent < self._length:
            try:
                async with asyncio.timeout(self._settings.idle_seconds):
                    data = await self._request.content.readany()
            except TimeoutError:
                self._broken = TooSlow("Nothing more of the body came.")
                raise
            if not data:
                self._broken = Malformed("The body ended early.")
                raise ConnectionError
            sent += len(data)
            allowed = self._settings.idle_seconds + sent / self._settings.slowest_bytes
            if time.monotonic() - began > allowed:
                self._broken = TooSlow("The body came too slowly.")
                raise TimeoutError
            yield data

    async def _back(self, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        shown = _SHOWN[self._call.upstream]
        reason = answer.reason or ""
        back = web.StreamResponse(
            status=answer.status,
            # Package managers show nothing else of a refusal.
            reason=reason if _REASON.fullmatch(reason) and answer.status >= 400 else None,
            headers={name: value for name, value in answer.headers.items() if name.lower() in shown},
        )
        finish(back)
        await back.prepare(self._request)
        try:
            async for data in answer.content.iter_any():
                async with asyncio.timeout(self._settings.idle_seconds):
                    await back.write(data)
            await back.write_eof()
        except (aiohttp.ClientError, TimeoutError, OSError):
            # Half an answer must not look like a whole one: the connection breaks instead.
            if self._request.transport is not None:
                self._request.transport.abort()
            raise HalfAnswer from None
        return back


def finish(response: web.StreamResponse) -> None:
    """Give an answer what all of ours have, and end its connection: one connection, one request."""
    response.headers["Server"] = "broch"
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.force_close()
