"""The narrow way from a workspace to the hub: the four calls that a single-user server makes, and no others.

One unix socket per workspace, so what may be called names that workspace only.
"""

from __future__ import annotations

import re
from pathlib import Path

import aiohttp
from aiohttp import web

_LONGEST = 64 << 10
"""Bytes of a body in either direction; the largest there is, a user model, is below 2 kB."""
_FORWARDED = ("authorization", "content-type", "accept")


def allowed(method: str, raw_path: str, principal: str) -> bool:
    """Whether a workspace's server may make this call."""
    path, _, query = raw_path.partition("?")
    if method == "POST" and not query:
        return path in ("/hub/api/oauth2/token", f"/hub/api/users/{principal}/activity")
    if method == "GET" and path == "/hub/api/user":
        return not query
    return method == "GET" and not query and re.fullmatch(r"/hub/api/?", path) is not None


class HubGate:
    """Listens for one workspace and passes on what is allowed.

    Args:
        hub_socket: the hub's own socket.
        socket: where to listen.
        principal: the workspace's hub user.
    """

    def __init__(self, hub_socket: Path, socket: Path, principal: str) -> None:
        self._hub_socket = hub_socket
        self._socket = socket
        self._principal = principal
        self._runner: web.ServerRunner | None = None
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Listen."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(str(self._hub_socket)),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=60, sock_connect=5),
        )
        self._runner = web.ServerRunner(web.Server(self._handle, access_log=None))
        await self._runner.setup()
        await web.UnixSite(self._runner, str(self._socket)).start()
        self._socket.chmod(0o600)

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if not allowed(request.method, request.raw_path, self._principal) or self._session is None:
            return web.Response(status=403, text="A workspace may not ask the hub for this.\n")
        if (request.content_length or 0) > _LONGEST:
            return web.Response(status=413, text="Too long.\n")
        body = b""
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > _LONGEST:
                return web.Response(status=413, text="Too long.\n")
        sent = {name: value for name, value in request.headers.items() if name.lower() in _FORWARDED}
        try:
            async with self._session.request(
                request.method,
                f"http://localhost{request.raw_path}",
                headers=sent,
                data=body or None,
                allow_redirects=False,
            ) as answer:
                shown = {
                    name: value
                    for name, value in answer.headers.items()
                    if name.lower() in ("content-type", "x-jupyterhub-version")
                }
                return web.Response(status=answer.status, body=await answer.read(), headers=shown)
        except (aiohttp.ClientError, TimeoutError):
            return web.Response(status=503, text="The hub does not answer.\n")
