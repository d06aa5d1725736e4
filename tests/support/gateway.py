"""A zone gateway before an upstream that notes what reaches it, over real TLS on loopback; every byte is the test's own."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from broch_core.errors import Unavailable
from broch_core.tls import server_context
from broch_workspaces.gateway.process import Running, running
from broch_workspaces.gateway.reviews import Judge
from broch_workspaces.gateway.settings import GatewaySettings
from support.cluster.authority import Authority
from support.in_thread import in_thread

NAME = "gateway.broch.internal"
TOKEN = "token-of-the-gateway"
ZONE = "zone-01arz3ndektsv4rrffq69g5fav"
OTHER_ZONE = "zone-01brz3ndektsv4rrffq69g5fav"


def review(
    namespace: str = ZONE, account: str = "workspace", pod: str = "ws-1", number: int = 1
) -> dict[str, Any]:
    """Return what the API server says of a good token."""
    return {
        "authenticated": True,
        "audiences": ["broch-gateway"],
        "user": {
            "username": f"system:serviceaccount:{namespace}:{account}",
            "groups": [f"system:serviceaccounts:{namespace}"],
            "extra": {
                "authentication.kubernetes.io/pod-name": [pod],
                "authentication.kubernetes.io/pod-uid": [f"00000000-0000-0000-0000-{number:012d}"],
            },
        },
    }


@dataclass
class Told:
    """Says of tokens what a test told it; the real API server is asked in `tests/cluster`."""

    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    away: bool = False
    asked: int = 0

    async def review(self, token: str) -> dict[str, Any]:
        self.asked += 1
        if self.away:
            raise Unavailable("The cluster cannot say.")
        return self.answers.get(token, {"authenticated": False})


@dataclass
class Seen:
    """What reached an upstream."""

    upstream: str
    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name]


@dataclass
class Answer:
    """What a zone gets back."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Rig:
    """A running gateway and all that is around it."""

    folder: Path
    judge: Any
    seen: list[Seen] = field(default_factory=list)
    reply: Callable[[web.BaseRequest], Any] | None = None
    """Answers at the upstream instead of the usual 200; it may be told in a test."""
    running: Running | None = None
    loop: asyncio.AbstractEventLoop | None = None

    @property
    def port(self) -> int:
        assert self.running is not None
        return self.running.port

    @property
    def ca(self) -> Path:
        return self.folder / "tls" / "ca.crt"

    def count(self, name: str, label: str) -> int:
        assert self.running is not None
        return self.running.counts.of(name, label)

    def connect(self, *, source: str | None = None, port: int | None = None) -> ssl.SSLSocket:
        """Return a TLS connection to the gateway, as a pod makes one.

        Args:
            source: address to come from, `127.0.0.x`.
            port: another than that of zones.
        """
        context = ssl.create_default_context(cafile=str(self.ca))
        origin = (source, 0) if source else None
        plain = socket.create_connection(("127.0.0.1", port or self.port), timeout=30, source_address=origin)
        return context.wrap_socket(plain, server_hostname=NAME)

    def send(self, data: bytes, **connect: Any) -> Answer:
        """Send bytes as they are; return what comes back."""
        with self.connect(**connect) as connection:
            connection.sendall(data)
            return read_answer(connection, "HEAD" if data.startswith(b"HEAD ") else None)

    def ask(
        self,
        method: str,
        target: str,
        token: str | None = None,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes | None = None,
        **connect: Any,
    ) -> Answer:
        """Send one request, nothing added but a host, a length and a bearer token."""
        lines = [f"{method} {target} HTTP/1.1", f"Host: {NAME}"]
        if token is not None:
            lines.append(f"Authorization: Bearer {token}")
        lines += [f"{name}: {value}" for name, value in headers]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        head = "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")
        return self.send(head + (body or b""), **connect)


def read_answer(connection: ssl.SSLSocket, method: str | None = None) -> Answer:
    """Read one answer to its end; that to HEAD has no body, whatever its length says."""
    answer = http.client.HTTPResponse(connection, method=method)
    answer.begin()
    return Answer(answer.status, answer.getheaders(), answer.read())


def _upstream(rig: Rig, name: str) -> web.Server:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        body = b"" if rig.reply else await request.read()
        rig.seen.append(Seen(name, request.method, request.raw_path, list(request.headers.items()), body))
        if rig.reply is not None:
            answer: web.StreamResponse = await rig.reply(request)
            return answer
        return web.json_response({"upstream": name}, headers={"Set-Cookie": "a=b", "X-Inner": "secret"})

    return web.Server(handle, access_log=None)


@asynccontextmanager
async def _all_running(rig: Rig, settings: dict[str, Any]) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    inner = server_context(rig.folder / "tls", clients=True)
    async with AsyncExitStack() as stack:
        for name in ("door", "hub"):
            if name not in settings:
                server = await loop.create_server(_upstream(rig, name), "127.0.0.1", 0, ssl=inner)
                stack.callback(server.close)
                settings[name] = f"https://localhost:{server.sockets[0].getsockname()[1]}"
        chosen = GatewaySettings(
            tls=rig.folder / "tls",
            secrets=rig.folder / "secrets",
            **{"listen": "127.0.0.1", "port": 0, "own_port": 0, "refusal_seconds": 0.05, **settings},
        )
        judge = await rig.judge() if callable(rig.judge) else rig.judge
        rig.judge = judge
        rig.running = await stack.enter_async_context(running(chosen, judge))
        yield


def prepare(folder: Path) -> None:
    """Put certificate and token of a gateway into `folder`, unless they are there; an upstream may share them."""
    if not (folder / "tls").exists():
        Authority().issue(NAME, "localhost", addresses=["127.0.0.1"]).write(folder / "tls")
        (folder / "secrets").mkdir()
        (folder / "secrets" / "gateway").write_text(TOKEN + "\n")


@contextmanager
def gateway_rig(
    folder: Path, judge: Judge | Callable[[], Any] | None = None, **settings: Any
) -> Iterator[Rig]:
    """Run a gateway in a thread for the time of a `with` block.

    Args:
        folder: for certificates and the token.
        judge: who knows tokens, or what makes one inside the event loop; unset: a `Told`.
        settings: of the gateway; `door` and `hub` name real upstreams instead of those that note what they get.
    """
    prepare(folder)
    rig = Rig(folder, judge or Told())
    with in_thread("the gateway", _all_running(rig, dict(settings))) as rig.loop:
        yield rig
