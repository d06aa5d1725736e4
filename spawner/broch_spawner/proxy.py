"""JupyterHub's proxy inside the hub process: routes by host and path, and owns every header that a browser sees."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import aiohttp
from aiohttp import web
from aiohttp.web_protocol import RequestHandler
from jupyterhub.proxy import Proxy
from traitlets import Instance, Integer, Unicode
from yarl import URL

from broch_core.tls import keep_renewed, server_context
from broch_spawner import headers, tunnel
from broch_spawner.control import ControlPlane, ControlPlaneError
from broch_spawner.endpoint import Endpoint
from broch_spawner.entrances import ENTER, ENTRANCES, SHARED, own_cookie
from broch_spawner.idle_watch import LARGE_BODY, SIGNS
from broch_spawner.meter import Meter
from broch_spawner.peers import PEERS
from broch_spawner.routing import (
    FOREIGN_TEXT,
    STOPPED_TEXT,
    Forward,
    Redirect,
    Refusal,
    Route,
    decide,
    may_bring_ticket,
    split_host,
)
from broch_workspaces.slots import Full, Slots

_HANDSHAKE_SECONDS = 60.0
_AT_ONCE = 256
"""Requests and websockets of one workspace at once: a page has one websocket for each kernel and terminal."""
_LONGEST_HEAD = 64 << 10
"""Bytes of the headers of one answer. What Lab sends has some hundreds."""
_IDLE_SECONDS = 75.0
"""How long a browser's connection may be open without a request; longer than balancers before us keep theirs."""
_LOOK_SECONDS = 5.0
NOT_INSIDE_TEXT = "You are not in this shared workspace, or not any more. Open it from your project's page.\n"
_AWAY = (aiohttp.ClientConnectionError, asyncio.TimeoutError)


class _Protocol(RequestHandler):
    """aiohttp's own answers (400 for a header that is too long) never meet the handler: give them the dead end too."""

    def handle_error(self, *args: Any, **kwargs: Any) -> web.StreamResponse:
        response = super().handle_error(*args, **kwargs)
        if isinstance(response, web.Response) and response.status == 400:
            response.text = headers.TOO_MUCH_TEXT
        for name, value in headers.own_headers():
            response.headers[name] = value
        return response


class _Server(web.Server):
    def __call__(self) -> _Protocol:
        return _Protocol(self, loop=self._loop, **self._kwargs)


def _principal(request: web.BaseRequest) -> str:
    """Return whose workspace a request is for, which the first label of its host names."""
    return split_host(request.host).partition(".")[0]


def _body(request: web.BaseRequest) -> aiohttp.StreamReader | AsyncIterator[bytes]:
    """Return the body of a request as it comes; that a large one comes is a sign of life."""
    if (request.content_length or LARGE_BODY) < LARGE_BODY:
        return request.content
    return _noted(request)


async def _noted(request: web.BaseRequest) -> AsyncIterator[bytes]:
    async for chunk in request.content.iter_any():
        SIGNS.uploads(_principal(request))
        yield chunk


def own_answer(status: int, text: str) -> web.Response:
    """Return an answer that the proxy makes itself."""
    return web.Response(status=status, text=text, headers=dict(headers.own_headers()))


class InProcessProxy(Proxy):  # type: ignore[misc]
    """The proxy, as JupyterHub's `proxy_class`."""

    should_start = True
    check_running_interval = 60
    ip = Unicode("127.0.0.1", help="address to listen on").tag(config=True)
    port = Integer(help="TCP port").tag(config=True)
    tls = Unicode(help="folder of the certificate; empty: no TLS, which only 127.0.0.1 can do without").tag(
        config=True
    )
    shell_origin = Unicode(help="origin of the page that frames workspaces").tag(config=True)
    hub_origin = Unicode(help="origin of the hub as browsers see it").tag(config=True)
    control = Instance(Endpoint, help="the control plane's internal API").tag(config=True)
    control_token = Unicode(help="bearer token for the control plane").tag(config=True)
    shown_file = Unicode(help="where counts of shown bytes wait").tag(config=True)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._routes: dict[str, tuple[Route, dict[str, Any]]] = {}
        self._sessions: dict[str, aiohttp.ClientSession] = {}
        self._open: dict[str, set[Callable[[], object]]] = {}
        self._slots = Slots(0)
        self.meter = Meter(self._tell_shown, Path(self.shown_file))
        self._runner: web.ServerRunner | None = None
        self._renewal: asyncio.Task[None] | None = None
        self._stays: asyncio.Task[None] | None = None

    async def _look_after_stays(self) -> None:
        """End stays that the control plane knows no more, or that it cannot be asked about; tell of those who went away."""
        control = ControlPlane(self.control, self.control_token)
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                await ENTRANCES.confirm(control.standing_stays)
                for guest in ENTRANCES.absent():
                    await control.post_left(guest)
                    ENTRANCES.told(guest)
            except ControlPlaneError as error:
                self.log.warning("workspace.stays_unknown reason=%s", error)
            except Exception:
                self.log.exception("workspace.stays_unjudged")
            ENTRANCES.end_unknown()

    async def _tell_shown(self, principal: str, size: int) -> None:
        control = ControlPlane(self.control, self.control_token)
        try:
            await control.post_shown(principal, size)
        except ControlPlaneError as error:
            self.log.warning("workspace.shown_untold principal=%s bytes=%d reason=%s", principal, size, error)
            raise

    async def start(self) -> None:
        """Listen.

        Raises:
            ValueError: browsers would be answered without TLS from other machines.
        """
        if not self.tls and self.ip != "127.0.0.1":
            raise ValueError("without TLS the proxy listens on 127.0.0.1 only")
        context = None
        if self.tls:
            context = server_context(Path(self.tls), clients=False)
            self._renewal = asyncio.create_task(keep_renewed(context, Path(self.tls)))
        # Who has gone is not worked for any more: a server inside that never answers would keep every such request.
        server = _Server(
            self._handle,
            access_log=None,
            auto_decompress=False,
            handler_cancellation=True,
            keepalive_timeout=_IDLE_SECONDS,
        )
        self._runner = web.ServerRunner(server)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.ip, self.port, ssl_context=context).start()
        self.meter.start()
        self._stays = asyncio.create_task(self._look_after_stays())

    async def stop(self) -> None:
        """Close every connection."""
        for task in (self._renewal, self._stays):
            if task is not None:
                task.cancel()
        if self._runner is not None:
            await self._runner.cleanup()
        for session in self._sessions.values():
            await session.close()
        await self.meter.stop()

    async def add_route(self, routespec: str, target: str, data: dict[str, Any] | None) -> None:
        """Add one entry (JupyterHub's interface)."""
        facts = dict(data or {})
        self._routes[routespec] = (Route(routespec, target, is_hub=bool(facts.get("hub"))), facts)

    async def delete_route(self, routespec: str) -> None:
        """Remove one entry, and cut what is still open to it (JupyterHub's interface)."""
        route, _ = self._routes.pop(routespec, (None, None))
        if route is None:
            return
        # First of all, and without asking what is behind: it may be silent, or mean not to end.
        for cut in list(self._open.pop(route.target, ())):
            cut()
        session = self._sessions.pop(route.target, None)
        if session is not None:
            await session.close()
        self.meter.close(routespec.split("/", 1)[0].removeprefix(f"{SHARED}."))

    async def delete_user(self, user: Any, server_name: str = "") -> None:
        """Remove a user's entry, under the name of a shared workspace as well (JupyterHub's interface)."""
        await super().delete_user(user, server_name)
        await self.delete_route(f"{SHARED}.{user.proxy_spec}")

    async def get_all_routes(self) -> dict[str, dict[str, Any]]:
        """Return the table (JupyterHub's interface)."""
        return {
            spec: {"routespec": spec, "target": route.target, "data": dict(data)}
            for spec, (route, data) in self._routes.items()
        }

    def _upstream(self, target: str) -> tuple[aiohttp.ClientSession, str]:
        parts = urlsplit(target)
        unix = parts.scheme == "http+unix"
        if target not in self._sessions:
            # JupyterHub appends a port to the address of a socket.
            connector: aiohttp.BaseConnector = (
                aiohttp.UnixConnector(unquote(parts.netloc.removesuffix(":80")), limit=0)
                if unix
                else aiohttp.TCPConnector(limit=0)
            )
            self._sessions[target] = aiohttp.ClientSession(
                connector=connector,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
            )
        return self._sessions[target], "http://localhost" if unix else f"{parts.scheme}://{parts.netloc}"

    @property
    def _scheme(self) -> str:
        """How browsers reach us; the hub trusts what we say of that, and of nobody else's."""
        return urlsplit(self.hub_origin).scheme

    def _sent(self, request: web.BaseRequest) -> Iterator[headers.Header]:
        return headers.to_upstream(
            request.headers.items(), remote=request.remote or "", host=request.host, proto=self._scheme
        )

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        raw_path = request.raw_path.partition("?")[0]
        known = {name.lower(): value for name, value in request.headers.items()}
        table = {spec: route for spec, (route, _) in self._routes.items()}
        guest, told = self._let_in(request, known, table)
        if told is not None:
            return told
        hub_host = urlsplit(self.hub_origin).hostname or ""
        verdict = decide(
            known.get("host", ""), raw_path, known, table, hub_host=hub_host, method=request.method
        )
        if not isinstance(verdict, Forward) or not request.raw_path.startswith("/"):
            return self._answered_here(verdict)
        limits: dict[str, int] = {}
        if not verdict.is_hub:
            SIGNS.carried(_principal(request))
            limits = {f"workspace:{_principal(request)}": _AT_ONCE}
        transport = request.transport
        cut = transport.abort if transport is not None else lambda: None
        try:
            with (
                self._slots.hold_for(limits),
                self._cut_with(verdict.target, cut),
                ENTRANCES.holding(guest, cut),
            ):
                if tunnel.asks_for_one(request):
                    return await self._websocket(request, verdict)
                return await self._http(request, verdict)
        except Full:
            return own_answer(
                429, "Too many connections to this workspace at once. Close other pages of it.\n"
            )
        except _AWAY as error:
            self.log.warning("proxy.upstream_away host=%s error=%s", request.host, type(error).__name__)
            return own_answer(503, STOPPED_TEXT)

    @contextmanager
    def _cut_with(self, target: str, cut: Callable[[], object]) -> Iterator[None]:
        """Let the end of a route cut what is under way on it: who has no browser any more is not worked for."""
        cuts = self._open.setdefault(target, set())
        cuts.add(cut)
        try:
            yield
        finally:
            cuts.discard(cut)

    def _answered_here(self, verdict: Forward | Redirect | Refusal) -> web.Response:
        if isinstance(verdict, Refusal):
            return own_answer(verdict.status, verdict.text)
        if isinstance(verdict, Forward):
            return own_answer(400, "The address must be a path.\n")
        answer = own_answer(302, "")
        hub = urlsplit(self.hub_origin)
        port = f":{hub.port}" if hub.port else ""
        answer.headers["Location"] = f"{hub.scheme}://{verdict.host}{port}{verdict.path}"
        return answer

    def _let_in(
        self, request: web.BaseRequest, known: dict[str, str], table: dict[str, Route]
    ) -> tuple[str | None, web.Response | None]:
        """Return whose stay a request for a shared workspace is, and give it its way in the table; or the answer to it."""
        host = split_host(request.host)
        workspace = host.partition(".")[0]
        shared = table.get(f"{SHARED}.{host}/user/{workspace}/")
        if shared is None:
            return None, None
        if request.method == "GET" and request.raw_path.partition("?")[0] == ENTER:
            if not may_bring_ticket(known):
                return None, own_answer(403, FOREIGN_TEXT)
            return None, self._enter(request, workspace)
        guest = ENTRANCES.guest_of(known.get("cookie", ""), workspace, self.app.cookie_secret)
        if guest is None:
            return None, own_answer(403, NOT_INSIDE_TEXT)
        spec = f"{host}/user/{workspace}/"
        table[spec] = Route(spec, shared.target, is_hub=False)
        return guest, None

    def _enter(self, request: web.BaseRequest, workspace: str) -> web.Response:
        """Turn the ticket of a sign-in into the cookie of a stay."""
        value = ENTRANCES.redeem(request.query.get("code", ""), workspace, self.app.cookie_secret)
        if value is None:
            return own_answer(403, NOT_INSIDE_TEXT)
        answer = own_answer(302, "")
        answer.headers["Location"] = f"/user/{workspace}/lab"
        answer.headers["Set-Cookie"] = own_cookie(value)
        return answer

    async def _http(self, request: web.BaseRequest, to: Forward) -> web.StreamResponse:
        session, base = self._upstream(to.target)
        sent = self._sent(request)
        began = SIGNS.now()
        async with session.request(
            request.method,
            URL(base + request.raw_path, encoded=True),
            headers=list(sent),
            data=_body(request) if request.body_exists else None,
            allow_redirects=False,
            ssl=PEERS.pin(to.target),
        ) as answer:
            if to.is_hub:
                shown: list[headers.Header] | None = headers.from_hub(
                    answer.headers.items(), shell=self.shell_origin
                )
            else:
                shown = headers.from_workspace(
                    answer.headers.items(), host=request.host, shell=self.shell_origin, hub=self.hub_origin
                )
            if shown is None:
                return own_answer(502, "The workspace tried to send you somewhere else. That is refused.\n")
            head = headers.size_of_theirs(shown)
            if answer.status < 200 or head > _LONGEST_HEAD:
                return own_answer(502, "The workspace gave an answer that is none.\n")
            if not to.is_hub:
                self.meter.add(split_host(request.host), head)
            out = web.StreamResponse(status=answer.status, reason=answer.reason)
            for name, value in shown:
                out.headers.add(name, value)
            await out.prepare(request)
            try:
                async for chunk in answer.content.iter_any():
                    if not to.is_hub:
                        self.meter.add(split_host(request.host), len(chunk))
                        SIGNS.carried(_principal(request), since=began)
                    await out.write(chunk)
                await out.write_eof()
            except _AWAY:
                # The answer has begun: all that is left is to cut it, so that the browser does not take it for whole.
                if request.transport is not None:
                    request.transport.close()
            return out

    async def _websocket(self, request: web.BaseRequest, to: Forward) -> web.StreamResponse:
        if to.is_hub:
            return own_answer(404, "There is nothing here.\n")
        origin = request.headers.get("Origin")
        if origin is not None and origin.lower() != f"{self._scheme}://{request.host.lower()}":
            return own_answer(403, "Only the workspace's own page may open this connection.\n")
        if not tunnel.is_well_formed(request):
            return own_answer(400, "This is no handshake of a websocket.\n")
        session, base = self._upstream(to.target)
        async with asyncio.timeout(_HANDSHAKE_SECONDS):
            up = await session.get(
                URL(base + request.raw_path, encoded=True),
                headers=list(tunnel.sent_on(self._sent(request))),
                allow_redirects=False,
                ssl=PEERS.pin(to.target),
            )
        async with up:
            answer = tunnel.agreed(request, up)
            if answer is None:
                up.close()
                return own_answer(up.status if 400 <= up.status < 600 else 502, "The workspace said no.\n")
            out = web.StreamResponse(status=101)
            for name, value in (*headers.own_headers(), *answer):
                out.headers[name] = value
            out.force_close()
            await out.prepare(request)
            host, principal = split_host(request.host), _principal(request)
            await tunnel.Tunnel(request, up).run(
                lambda size: self.meter.add(host, size), lambda: SIGNS.carried(principal)
            )
        return out
