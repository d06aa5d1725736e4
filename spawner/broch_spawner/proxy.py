"""JupyterHub's proxy inside the hub process: routes by host and path, and owns every header that a browser sees."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import aiohttp
from aiohttp import web
from aiohttp.web_protocol import RequestHandler
from jupyterhub.proxy import Proxy
from traitlets import Integer, Unicode
from yarl import URL

from broch_spawner import headers
from broch_spawner.control import ControlPlane, ControlPlaneError
from broch_spawner.meter import Meter
from broch_spawner.routing import STOPPED_TEXT, Forward, Redirect, Refusal, Route, decide, split_host

_CLOSE_CODES = frozenset({1000, 1001, 1003, 1007, 1008, 1009, 1011, *range(3000, 5000)})
"""WebSocket close codes that may be sent (RFC 6455, 7.4)."""
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


def own_answer(status: int, text: str) -> web.Response:
    """Return an answer that the proxy makes itself."""
    return web.Response(status=status, text=text, headers=dict(headers.own_headers()))


class InProcessProxy(Proxy):  # type: ignore[misc]
    """The proxy, as JupyterHub's `proxy_class`."""

    should_start = True
    check_running_interval = 60
    port = Integer(help="TCP port on 127.0.0.1").tag(config=True)
    shell_origin = Unicode(help="origin of the page that frames workspaces").tag(config=True)
    hub_origin = Unicode(help="origin of the hub as browsers see it").tag(config=True)
    control_socket = Unicode(help="run/control.sock of the control plane").tag(config=True)
    control_token = Unicode(help="bearer token for the control plane").tag(config=True)
    shown_file = Unicode(help="where counts of shown bytes wait").tag(config=True)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._routes: dict[str, tuple[Route, dict[str, Any]]] = {}
        self._sessions: dict[str, aiohttp.ClientSession] = {}
        self._open: dict[str, set[Callable[[], Any]]] = {}
        self.meter = Meter(self._tell_shown, Path(self.shown_file))
        self._runner: web.ServerRunner | None = None

    async def _tell_shown(self, principal: str, size: int) -> None:
        control = ControlPlane(Path(self.control_socket), self.control_token)
        try:
            await control.post_shown(principal, size)
        except ControlPlaneError as error:
            self.log.warning("workspace.shown_untold principal=%s bytes=%d reason=%s", principal, size, error)
            raise

    async def start(self) -> None:
        """Listen on 127.0.0.1, and nowhere else."""
        server = _Server(self._handle, access_log=None, auto_decompress=False)
        self._runner = web.ServerRunner(server)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.meter.start()

    async def stop(self) -> None:
        """Close every connection."""
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
        for close in list(self._open.pop(route.target, ())):
            await close()
        session = self._sessions.pop(route.target, None)
        if session is not None:
            await session.close()
        self.meter.close(routespec.split("/", 1)[0])

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

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        raw_path = request.raw_path.partition("?")[0]
        known = {name.lower(): value for name, value in request.headers.items()}
        table = {spec: route for spec, (route, _) in self._routes.items()}
        hub_host = urlsplit(self.hub_origin).hostname or ""
        verdict = decide(
            known.get("host", ""), raw_path, known, table, hub_host=hub_host, method=request.method
        )
        if isinstance(verdict, Refusal):
            return own_answer(verdict.status, verdict.text)
        if isinstance(verdict, Redirect):
            answer = own_answer(302, "")
            answer.headers["Location"] = f"http://{verdict.host}:{self.port}{verdict.path}"
            return answer
        if not request.raw_path.startswith("/"):
            return own_answer(400, "The address must be a path.\n")
        try:
            if known.get("upgrade", "").lower() == "websocket":
                return await self._websocket(request, verdict)
            return await self._http(request, verdict)
        except _AWAY as error:
            self.log.warning("proxy.upstream_away host=%s error=%s", request.host, type(error).__name__)
            return own_answer(503, STOPPED_TEXT)

    async def _http(self, request: web.BaseRequest, to: Forward) -> web.StreamResponse:
        session, base = self._upstream(to.target)
        sent = headers.to_upstream(request.headers.items(), remote=request.remote or "", host=request.host)
        async with session.request(
            request.method,
            URL(base + request.raw_path, encoded=True),
            headers=list(sent),
            data=request.content if request.body_exists else None,
            allow_redirects=False,
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
            out = web.StreamResponse(status=answer.status, reason=answer.reason)
            for name, value in shown:
                out.headers.add(name, value)
            await out.prepare(request)
            try:
                async for chunk in answer.content.iter_any():
                    await out.write(chunk)
                    if not to.is_hub:
                        self.meter.add(split_host(request.host), len(chunk))
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
        if origin is not None and origin.lower() != f"http://{request.host.lower()}":
            return own_answer(403, "Only the workspace's own page may open this connection.\n")
        session, base = self._upstream(to.target)
        sent = headers.to_upstream(request.headers.items(), remote=request.remote or "", host=request.host)
        offered = request.headers.get("Sec-WebSocket-Protocol", "").split(",")
        try:
            up = await session.ws_connect(
                URL(base + request.raw_path, encoded=True),
                protocols=[name.strip() for name in offered if name.strip()],
                headers=[
                    (name, value) for name, value in sent if not name.lower().startswith("sec-websocket-")
                ],
                max_msg_size=0,
            )
        except aiohttp.WSServerHandshakeError as error:
            return own_answer(error.status if 400 <= error.status < 600 else 502, "The workspace said no.\n")
        down = web.WebSocketResponse(
            protocols=[up.protocol] if up.protocol else [], max_msg_size=0, compress=False
        )
        for name, value in headers.own_headers():
            down.headers[name] = value
        await down.prepare(request)
        closers = self._open.setdefault(to.target, set())
        closers.add(up.close)
        try:
            await self._join(up, down, split_host(request.host))
        finally:
            closers.discard(up.close)
            await up.close()
            await down.close()
        return down

    async def _join(
        self, up: aiohttp.ClientWebSocketResponse, down: web.WebSocketResponse, host: str
    ) -> None:
        async def pump(source: Any, sink: Any, count: Callable[[int], None]) -> None:
            async for message in source:
                if message.type == aiohttp.WSMsgType.TEXT:
                    count(len(message.data.encode()))
                    await sink.send_str(message.data)
                elif message.type == aiohttp.WSMsgType.BINARY:
                    count(len(message.data))
                    await sink.send_bytes(message.data)
            await sink.close(code=source.close_code if source.close_code in _CLOSE_CODES else 1001)

        tasks = [
            asyncio.create_task(pump(up, down, lambda size: self.meter.add(host, size))),
            asyncio.create_task(pump(down, up, lambda _: None)),
        ]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
