"""The gateway's listener: each request is found on the list, its caller named by the API server, then passed on."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import aiohttp
import structlog
from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.web_protocol import RequestHandler

from broch_core.errors import Denied, DomainError, NotFound, TooMany, Unauthenticated
from broch_core.web.problems import MEDIA_TYPE, TYPE_BASE
from broch_workspaces.gateway.calls import LONGEST_TARGET, Call, Upstream, find_call
from broch_workspaces.gateway.identity import LONGEST_TOKEN, Pod
from broch_workspaces.gateway.metrics import Counts
from broch_workspaces.gateway.passing import Malformed, Passage, body_length, finish, one
from broch_workspaces.gateway.reviews import Addresses, Reviews
from broch_workspaces.gateway.settings import GatewaySettings
from broch_workspaces.slots import Full, Slots

log = structlog.get_logger()

_VERSIONS = (HttpVersion10, HttpVersion11)
_HEADERS = 40
"""Most headers of a request; a single-user server sends ten."""
_LINGER_SECONDS = 5.0
"""How long a refused body is still read, so that the refusal is not lost in a reset connection."""


def problem(error: DomainError) -> web.Response:
    """Return the answer to a request that is refused (RFC 9457)."""
    body = {
        "type": TYPE_BASE + error.kind,
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
    }
    answer = web.Response(status=error.status, body=json.dumps(body).encode(), content_type=MEDIA_TYPE)
    if error.status == Unauthenticated.status:
        answer.headers["WWW-Authenticate"] = "Bearer"
    finish(answer)
    return answer


class Gateway:
    """Answers what zones ask.

    Args:
        settings: limits and addresses.
        token: the gateway's own, for the door.
        session: with our certificate, trusting our authority alone.
        reviews: who shows a token.
        counts: what is counted.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        token: str,
        session: aiohttp.ClientSession,
        reviews: Reviews,
        counts: Counts,
    ) -> None:
        self._settings = settings
        self._token = token
        self._session = session
        self._reviews = reviews
        self._counts = counts
        self._addresses = Addresses()
        self._slots = Slots(settings.requests)
        self._base = {
            Upstream.DOOR: settings.door,
            Upstream.HUB: settings.hub,
            Upstream.PACKAGES: settings.packages or "",
        }

    @property
    def under_way(self) -> int:
        """Requests being answered now."""
        return self._slots.taken

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        try:
            with self._held_for_address(request.remote or ""):
                return await self._answer(request)
        except Full as full:
            return self._refuse(TooMany("Too many requests at once. Try again in a moment."), f"full-{full}")
        except DomainError as error:
            return self._refuse(error, error.kind)

    def _held_for_address(self, address: str) -> AbstractContextManager[None]:
        if not self._settings.bind_address:
            return nullcontext()
        return self._slots.hold_for({f"address:{address}": self._settings.pod_requests})

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.version not in _VERSIONS:
            raise Malformed("The gateway speaks HTTP/1.1.")
        call = find_call(request.method, request.raw_path)
        if call is None:
            raise Denied("A zone may not ask for this.")
        if not self._base[call.upstream]:
            raise NotFound("This installation has no package route. Ask your administrator.")
        limit = self._settings.file_bytes if call.body_bytes is None else call.body_bytes
        passage = Passage(request, call, body_length(request, limit), self._settings)
        if call.upstream is Upstream.HUB:
            # Whose zone this is nobody knows: what a client can draw out happens before it counts against all.
            await passage.gather()
            return await self._pass(passage, call, None)
        pod = await self._pod(request, call)
        keys = {
            f"pod:{pod.uid}": self._settings.pod_requests,
            f"zone:{pod.namespace}": self._settings.zone_requests,
        }
        if call.upstream is Upstream.PACKAGES:
            keys["packages"] = self._settings.package_requests
        with self._slots.hold_for(keys):
            return await self._pass(passage, call, pod)

    async def _pass(self, passage: Passage, call: Call, pod: Pod | None) -> web.StreamResponse:
        headers = passage.headers(pod, self._token)
        with self._slots.hold():
            answer = await passage.run(self._session, self._base[call.upstream], headers)
        self._counts.add("passed", call.upstream.value)
        return answer

    async def _pod(self, request: web.BaseRequest, call: Call) -> Pod:
        """Return who calls.

        Raises:
            Unauthenticated: nobody of ours.
            Denied: this account may not call that, or the token came from elsewhere before.
            Unavailable: the API server does not say.
        """
        scheme, _, token = (one(request, "Authorization") or "").partition(" ")
        try:
            pod = await self._reviews.pod(token if scheme.lower() == "bearer" else "")
        except Unauthenticated:
            await asyncio.sleep(self._settings.refusal_seconds)
            raise
        if pod.account is not call.account:
            raise Denied("This account of a zone may not ask for this.")
        if self._settings.bind_address:
            self._addresses.check(pod, request.remote or "")
        return pod

    def _refuse(self, error: DomainError, reason: str) -> web.Response:
        self._counts.add("refused", reason)
        return problem(error)

    def turned_away(self) -> None:
        """Count a connection that was cut at once."""
        self._counts.add("refused", "connections")

    def malformed(self) -> web.Response:
        """Return the answer to bytes that are no request of HTTP."""
        return self._refuse(Malformed("The request cannot be read."), Malformed.kind)


class Connections:
    """Which connections are open: a bounded number, from each address and in all."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._most = settings.connections
        self._most_of_one = settings.address_connections if settings.bind_address else settings.connections
        self._of: Counter[str] = Counter()

    def opened(self, address: str) -> bool:
        """Count one more; return whether it may stay."""
        self._of[address] += 1
        return self._of[address] <= self._most_of_one and self._of.total() <= self._most

    def closed(self, address: str) -> None:
        """Count one less."""
        self._of[address] -= 1
        if self._of[address] <= 0:
            del self._of[address]


class _Protocol(RequestHandler):
    """A connection whose garbage is answered and counted like everything else."""

    gateway: Gateway
    connections: Connections
    _address: str | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._address = str((transport.get_extra_info("peername") or ("",))[0])
        if not self.connections.opened(self._address):
            self.gateway.turned_away()
            cast("asyncio.Transport", transport).abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._address is not None:
            self.connections.closed(self._address)
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer bytes that are no request; a defect of ours is logged and says nothing."""
        del message
        if request.writer.output_size > 0:
            raise ConnectionError("an answer is under way")
        if status < 500:
            return self.gateway.malformed()
        log.error("gateway.defect", exc_info=exc)
        return problem(_Defect("This is a defect. Nothing was passed on."))


class _Defect(DomainError):
    status = 500
    kind = "defect"
    title = "Something went wrong inside Broch"


class Listener(web.Server):
    """Makes a protocol for each connection."""

    def __init__(self, gateway: Gateway, settings: GatewaySettings) -> None:
        super().__init__(
            gateway.handle,
            access_log=None,
            keepalive_timeout=settings.header_seconds,
            max_line_size=LONGEST_TARGET + 64,
            max_field_size=LONGEST_TOKEN + 64,
            max_headers=_HEADERS,
            lingering_time=_LINGER_SECONDS,
            auto_decompress=False,
        )
        self._gateway = gateway
        self._bounds = Connections(settings)

    def __call__(self) -> RequestHandler:
        """Return the protocol of a new connection."""
        made: Any = _Protocol(self, loop=self._loop, **self._kwargs)
        made.gateway, made.connections = self._gateway, self._bounds
        return made  # type: ignore[no-any-return]
