"""`broch serve web`: the process that owns the database, behind one listener for browsers and two sockets for services."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import structlog
import uvicorn
import uvloop

from broch.instance import Apps, Instance
from broch.listener import DOOR_CONNECTIONS, BoundedHttp, DoorHttp
from broch_core.settings import Settings
from broch_core.tls import keep_renewed, server_context
from broch_core.web.app import static_files
from broch_core.web.headers import ShellHeaders, shell_policy
from broch_core.web.logs import set_up_logs

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]

log = structlog.get_logger()

SHELL_PORT, INTERNAL_PORT, DOOR_PORT, OWN_PORT = 8443, 8444, 8445, 8448
"""Ports on a cluster (docs/cluster.md)."""
AIRLOCK_PREFIXES = ("/airlock", "/api/v1/airlock")
_UVICORN: dict[str, Any] = {
    "log_config": None,
    "access_log": False,
    "server_header": False,
    "proxy_headers": False,
    "timeout_graceful_shutdown": 5,
    "lifespan": "off",
    "ws": "none",
    "http": BoundedHttp,
}


class Shell:
    """Control plane, airlock and static files on one origin; the viewer on its own, cookieless one."""

    def __init__(self, apps: Apps, settings: Settings) -> None:
        self._apps = apps
        self._static = static_files()
        self._viewer_host = _host(settings.viewer_origin)
        self._aliases = {name.encode() for name in loopback_hosts(settings)}
        self._home = settings.shell_origin

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Serve one request."""
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").lower()
        path: str = scope["path"]
        if host == self._viewer_host:
            await self._apps.viewer(scope, receive, send)
        elif (
            host in self._aliases and b"text/html" in headers.get(b"accept", b"") and scope["method"] == "GET"
        ):
            # Cookies of ours are bound to the shell's own host: bring people there, whatever they typed.
            await _redirect(send, self._home + path)
        elif path.startswith("/static/"):
            await self._static({**scope, "path": path, "root_path": "/static"}, receive, send)
        elif any(path == prefix or path.startswith(prefix + "/") for prefix in AIRLOCK_PREFIXES):
            await self._apps.airlock(scope, receive, send)
        else:
            await self._apps.control(scope, receive, send)


def own_pages(control: App) -> App:
    """Return what the cluster's own eyes meet, who ask pods by their address: two paths, whatever the host.

    `/healthz` is answered without a thread: that all wait for a part which hangs is no reason to begin anew.
    """

    async def serve(scope: Scope, receive: Any, send: Any) -> None:
        asked = scope["path"] if scope["method"] == "GET" else ""
        if asked == "/healthz":
            await _answer(send, 200, [(b"content-type", b"text/plain; charset=utf-8")], b"ok\n")
        elif asked == "/metrics":
            await control(scope, receive, send)
        else:
            await _answer(send, 404, [], b"There is nothing here.\n")

    return serve


def loopback_hosts(settings: Settings) -> set[str]:
    """Return the names of this machine that people may type instead of the shell's own; none on a cluster."""
    return (
        set() if settings.on_cluster else {f"{name}:{settings.port}" for name in ("127.0.0.1", "localhost")}
    )


def make_shell(apps: Apps, settings: Settings) -> ShellHeaders:
    """Return the whole of what browsers meet, with its headers."""
    hosts = {_host(settings.shell_origin).decode(), _host(settings.viewer_origin).decode()}
    hosts |= loopback_hosts(settings)
    return ShellHeaders(
        Shell(apps, settings),
        hosts=hosts,
        policy=shell_policy(settings.hub_origin, settings.viewer_origin),
        https=settings.shell_origin.startswith("https://"),
    )


def serve() -> None:
    """Serve until SIGTERM."""
    settings = Settings()
    set_up_logs(settings.log_format)
    os.umask(0o077)
    instance = Instance(settings)
    try:
        if not settings.on_cluster:
            instance.seed()
        apps = instance.apps()
        instance.start()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(settings, apps))
    finally:
        instance.stop()


async def _serve(settings: Settings, apps: Apps) -> None:
    servers = _on_cluster(settings, apps) if settings.on_cluster else _on_one_machine(settings, apps)

    def end() -> None:
        for server, _ in servers:
            server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, end)
    log.info("web.listening", port=SHELL_PORT if settings.on_cluster else settings.port)
    renewals = [
        asyncio.create_task(_renew(server.config, settings.tls))
        for server, _ in servers
        if settings.on_cluster and settings.tls is not None
    ]
    await asyncio.gather(*(server.serve(sockets=sockets) for server, sockets in servers))
    for renewal in renewals:
        renewal.cancel()


async def _renew(config: uvicorn.Config, folder: Path) -> None:
    """Take up renewed certificates while serving."""
    if not config.loaded:
        config.load()
    if config.ssl is not None:
        await keep_renewed(config.ssl, folder)


def _on_one_machine(settings: Settings, apps: Apps) -> list[tuple[_Server, list[socket.socket]]]:
    return [
        (make_server(make_shell(apps, settings)), [tcp_listener("127.0.0.1", settings.port)]),
        (make_server(apps.internal), [_unix(settings.run / "control.sock")]),
        (
            # A short queue: whatever waits in it is accepted before it is counted.
            make_server(apps.door, http=DoorHttp, backlog=DOOR_CONNECTIONS),
            [_unix(settings.run / "door" / "door.sock")],
        ),
    ]


def _on_cluster(settings: Settings, apps: Apps) -> list[tuple[_Server, list[socket.socket]]]:
    """Four ports with TLS: browsers; hub and controller; gateway; collectors. Callers of the middle ones show certificates."""
    folder = settings.tls
    if folder is None:
        raise ValueError("on a cluster nothing is served without TLS")
    parts = (
        (make_shell(apps, settings), SHELL_PORT, server_context(folder, clients=False)),
        (apps.internal, INTERNAL_PORT, server_context(folder, clients=True)),
        (apps.door, DOOR_PORT, server_context(folder, clients=True)),
        (own_pages(apps.control), OWN_PORT, server_context(folder, clients=False)),
    )
    return [
        (
            make_server(app, ssl_context_factory=lambda *_, context=context: context),
            [tcp_listener(settings.listen, port)],
        )
        for app, port, context in parts
    ]


class _Server(uvicorn.Server):
    """A server that leaves signals to us: three share the process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        """Capture none."""
        yield


def make_server(app: Any, **more: Any) -> _Server:
    """Return the server of an application, with the settings that all of ours have."""
    return _Server(uvicorn.Config(app, **(_UVICORN | more)))


def tcp_listener(address: str, port: int) -> socket.socket:
    """Return a socket that is bound, for a server to listen on."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Head and body of an answer are two writes: with Nagle's algorithm the second waits 40 ms for the first's ACK.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.bind((address, port))
    return listener


def _unix(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    path.chmod(0o600)
    return listener


def _host(origin: str) -> bytes:
    return origin.partition("://")[2].encode()


async def _redirect(send: Any, href: str) -> None:
    await _answer(send, 307, [(b"location", href.encode())], b"")


async def _answer(send: Any, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
