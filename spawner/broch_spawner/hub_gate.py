"""The narrow ways to the hub: on one machine a socket for each workspace, on a cluster one TLS listener.

What a workspace's server may ask is in `broch_workspaces.hub_calls`; what the control plane may, is here.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection
from pathlib import Path
from typing import cast

import aiohttp
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from broch_core.tls import keep_renewed, server_context
from broch_spawner.idle_watch import SIGNS
from broch_workspaces.hub_calls import LONGEST_BODY, SENT, SHOWN, allowed, reporter

_CONNECTIONS = 32
"""Open connections of one workspace to its gate. A server of JupyterHub asks at most ten things at once."""
_HEAD_SECONDS = 15.0
"""How long a connection of a workspace may be open without a whole request."""
_WEB = re.compile(
    r"GET /hub/api/"
    r"|GET /hub/api/users\?[a-z0-9=&_]{0,100}"
    r"|(?:GET|POST|DELETE) /hub/api/users/w[a-z0-9]{20,40}"
    r"|(?:POST|DELETE) /hub/api/users/w[a-z0-9]{20,40}/server"
)


def web_may(method: str, target: str) -> bool:
    """Tell whether the control plane may make this call: make and remove users, start, stop and list servers."""
    return _WEB.fullmatch(f"{method} {target}") is not None


class _Counted(RequestHandler):
    """A connection that is cut at once where there are too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self._manager is not None and len(self._manager.connections) > _CONNECTIONS:
            cast("asyncio.Transport", transport).abort()


class _Bounded(web.Server):
    """A server for code that nobody trusts: descriptors that it takes are those of the whole hub."""

    def __call__(self) -> RequestHandler:
        """Return the protocol of a new connection."""
        return _Counted(self, loop=self._loop, **self._kwargs)


class _Narrow:
    """Listens, and passes on what is allowed to the hub's own socket."""

    def __init__(self, hub_socket: Path) -> None:
        self._hub_socket = hub_socket
        self._runner: web.ServerRunner | None = None
        self._session: aiohttp.ClientSession | None = None

    def _server(self) -> web.Server:
        return web.Server(self._handle, access_log=None)

    async def _listen(self) -> web.ServerRunner:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(str(self._hub_socket)),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=60, sock_connect=5),
        )
        self._runner = web.ServerRunner(self._server())
        await self._runner.setup()
        return self._runner

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    def _refusal(self, request: web.BaseRequest) -> str | None:
        """Return why a call is not passed on."""
        raise NotImplementedError

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        refusal = self._refusal(request)
        if refusal is not None or self._session is None:
            return web.Response(status=403, text=f"{refusal}\n")
        if (request.content_length or 0) > LONGEST_BODY:
            return web.Response(status=413, text="Too long.\n")
        body = b""
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > LONGEST_BODY:
                return web.Response(status=413, text="Too long.\n")
        sent = {name: value for name, value in request.headers.items() if name.lower() in SENT}
        try:
            async with self._session.request(
                request.method,
                f"http://localhost{request.raw_path}",
                headers=sent,
                data=body or None,
                allow_redirects=False,
            ) as answer:
                shown = {name: value for name, value in answer.headers.items() if name.lower() in SHOWN}
                who = reporter(request.method, request.raw_path)
                if who is not None and answer.status < 300:
                    SIGNS.heard(who)
                return web.Response(status=answer.status, body=await answer.read(), headers=shown)
        except (aiohttp.ClientError, TimeoutError):
            return web.Response(status=503, text="The hub does not answer.\n")


class HubGate(_Narrow):
    """Listens for one workspace on one machine; what may be called names that workspace only.

    Args:
        hub_socket: the hub's own socket.
        socket: where to listen.
        principal: the workspace's hub user.
    """

    def __init__(self, hub_socket: Path, socket: Path, principal: str) -> None:
        super().__init__(hub_socket)
        self._socket = socket
        self._principal = principal

    async def start(self) -> None:
        """Listen."""
        # A short queue: whatever waits in it is accepted before it is counted.
        await web.UnixSite(await self._listen(), str(self._socket), backlog=_CONNECTIONS).start()
        self._socket.chmod(0o600)

    def _server(self) -> web.Server:
        return _Bounded(self._handle, access_log=None, keepalive_timeout=_HEAD_SECONDS)

    def _refusal(self, request: web.BaseRequest) -> str | None:
        may = allowed(request.method, request.raw_path, self._principal)
        return None if may else "A workspace may not ask the hub for this."


class HubFront(_Narrow):
    """The hub's API on a cluster: control plane and gateway are known by their certificates, each with its own list.

    Args:
        hub_socket: the hub's own socket.
        port: TCP port, all addresses.
        tls: folder of our certificate and of the authority that signs everybody's.
        web_name: name in the control plane's certificate.
        gateway_name: name in the gateway's.
    """

    def __init__(self, hub_socket: Path, *, port: int, tls: Path, web_name: str, gateway_name: str) -> None:
        super().__init__(hub_socket)
        self._port = port
        self._tls = tls
        self._web_name = web_name
        self._gateway_name = gateway_name
        self._renewal: asyncio.Task[None] | None = None

    async def stop(self) -> None:
        """Stop listening."""
        if self._renewal is not None:
            self._renewal.cancel()
        await super().stop()

    async def start(self) -> None:
        """Listen."""
        context = server_context(self._tls, clients=True)
        self._renewal = asyncio.create_task(keep_renewed(context, self._tls))
        runner = await self._listen()
        await web.TCPSite(runner, "0.0.0.0", self._port, ssl_context=context).start()  # noqa: S104 - policies say who

    def _refusal(self, request: web.BaseRequest) -> str | None:
        names = _names(request)
        method, target = request.method, request.raw_path
        if self._web_name in names and web_may(method, target):
            return None
        if self._gateway_name in names and allowed(method, target, None):
            return None
        return "Your certificate does not allow this call."


def _names(request: web.BaseRequest) -> Collection[str]:
    """Return the DNS names in the certificate that the caller showed."""
    shown = request.transport and request.transport.get_extra_info("peercert")
    return [name for kind, name in (shown or {}).get("subjectAltName", ()) if kind == "DNS"]
