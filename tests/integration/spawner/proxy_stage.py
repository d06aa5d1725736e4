"""A proxy, and behind it a server of a workspace that does what a test wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import pytest
from aiohttp import web

from broch_spawner import proxy as proxy_module
from broch_spawner.endpoint import Endpoint
from broch_spawner.entrances import COOKIE, ENTER, Entrances
from broch_spawner.proxy import InProcessProxy
from support.ports import free_port

PLACE = "w" + "p" * 25
BASE = f"/user/{PLACE}/"
SHARED = f"shared.{PLACE}.hub.broch.localhost{BASE}"
OWN = f"{PLACE}.hub.broch.localhost{BASE}"
Server = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Stage:
    """The proxy, the hostile server behind it, and who is let in."""

    port: int
    proxy: InProcessProxy
    entrances: Entrances
    session: aiohttp.ClientSession
    seen: list[str] = field(default_factory=list)

    @property
    def host(self) -> str:
        return f"{PLACE}.hub.broch.localhost:{self.port}"

    def headers(self, cookie: str = "") -> dict[str, str]:
        return {"Host": self.host} | ({"Cookie": cookie} if cookie else {})

    async def get(self, path: str, cookie: str = "", host: str = "") -> tuple[int, str]:
        headers = self.headers(cookie) | ({"Host": host} if host else {})
        async with self.session.get(
            f"http://127.0.0.1:{self.port}{path}", headers=headers, allow_redirects=False
        ) as answer:
            return answer.status, answer.headers.get("Set-Cookie", "")

    async def enter(self, guest: str) -> str:
        """Come by the sign-in; return the cookie."""
        self.entrances.admit(guest, PLACE)
        status, cookie = await self.get(f"{ENTER}?code={self.entrances.ticket(guest)}")
        assert status == 302
        return cookie.split(";")[0]

    async def connect(self, cookie: str) -> aiohttp.ClientWebSocketResponse:
        return await self.session.ws_connect(
            f"http://127.0.0.1:{self.port}{BASE}api/collaboration/room/x", headers=self.headers(cookie)
        )


def welcoming(seen: list[str]) -> Server:
    """Return a server that lets everybody in, echoes on websockets, and keeps what cookies it saw."""

    async def hostile(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers.get("Cookie", ""))
        if request.headers.get("Upgrade", "").lower() == "websocket":
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            async for message in socket:
                await socket.send_str(message.data)
            return socket
        if request.path.endswith("slow"):
            answer = web.StreamResponse()
            await answer.prepare(request)
            for _ in range(600):
                await answer.write(b"x")
                await asyncio.sleep(0.1)
            return answer
        return web.Response(text="come in", headers={"Set-Cookie": f"{COOKIE}=forged; Path=/"})

    return hostile


@asynccontextmanager
async def stage(
    folder: Path, monkeypatch: pytest.MonkeyPatch, spec: str, server: Server | None = None
) -> AsyncIterator[Stage]:
    """Yield a proxy with one route to a server; by default to one that lets everybody in."""
    seen: list[str] = []
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", server or welcoming(seen))
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    behind = str(folder / "lab.sock")
    await web.UnixSite(runner, behind).start()
    port = free_port()
    entrances = Entrances()
    monkeypatch.setattr(proxy_module, "ENTRANCES", entrances)
    origin = f"http://hub.broch.localhost:{port}"
    proxy = InProcessProxy(
        app=SimpleNamespace(cookie_secret=b"k" * 32),
        port=port,
        shell_origin="http://broch.localhost:1",
        hub_origin=origin,
        control=Endpoint.at_socket(folder / "nobody.sock"),
        shown_file=str(folder / "shown.json"),
    )
    await proxy.start()
    await proxy.add_route(spec, "http+unix://" + behind.replace("/", "%2F"), {})
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield Stage(port, proxy, entrances, session, seen)
    await proxy.stop()
    await runner.cleanup()
