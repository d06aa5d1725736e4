"""A hub that speaks JupyterHub's REST API on a real unix socket, and a control plane around it."""

from __future__ import annotations

import json
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from fastapi import FastAPI
from fastapi.testclient import TestClient

from broch_api import assembly_runtime
from broch_api.internal.credentials import ServiceTokens
from broch_api.status.parts import HealthPart
from broch_api.workspaces.hub import HubClient
from broch_api.workspaces.premises import FolderPremises
from broch_core.audit.denials import DenialLog
from broch_core.outbox.worker import OutboxWorker
from broch_core.settings import Settings
from broch_core.tables.workspaces import Workspace
from broch_core.web.app import make_app, static_files
from broch_core.web.headers import ShellHeaders, shell_policy
from broch_core.web.pages import Pages
from broch_core.web.sessions import Sessions
from broch_workspaces.zones import FolderZones
from support.worlds import World, make_world

TOKENS = ServiceTokens(hub="hub-token", hub_oauth="oauth-secret", web="web-token")


@dataclass
class FakeHub:
    """What the hub knows; tests set and read it."""

    socket: Path
    users: set[str] = field(default_factory=set)
    servers: dict[str, dict[str, Any]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    slow_stop: bool = False
    """A server that is asked to stop stays `pending: stop`."""
    refuse_start: str | None = None
    seconds: float = 0.0
    """How long each answer takes."""
    _server: Any = None

    def run(self, principal: str, *, ready: bool = True) -> None:
        self.users.add(principal)
        self.servers[principal] = {
            "name": "",
            "ready": ready,
            "pending": None if ready else "spawn",
            "stopped": False,
        }

    def up(self) -> None:
        self.socket.parent.mkdir(parents=True, exist_ok=True)
        self.socket.unlink(missing_ok=True)
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def _do(self) -> None:
                time.sleep(hub.seconds)
                status, body = hub.answer(self.command, self.path, self.headers.get("Authorization", ""))
                data = b"" if body is None else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_DELETE = _do  # noqa: N815 - names of the library

            def address_string(self) -> str:
                return "unix"

            def log_message(self, *args: Any) -> None:
                pass

        self._server = socketserver.ThreadingUnixStreamServer(str(self.socket), Handler)
        self._server.daemon_threads = True
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()

    def down(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self.socket.unlink(missing_ok=True)
            self._server = None

    def answer(self, method: str, target: str, token: str) -> tuple[int, Any]:  # noqa: PLR0911 - a table of answers
        if token != f"token {TOKENS.web}":
            return 403, {"status": 403, "message": "Forbidden"}
        parts = urlsplit(target)
        path = parts.path.removeprefix("/hub/api").strip("/").split("/")
        self.calls.append(f"{method} /{'/'.join(path)}")
        if path == [""]:
            return 200, {"version": "6.1.0"}
        if len(path) == 1:
            query = parse_qs(parts.query)
            first, limit = int(query["offset"][0]), int(query["limit"][0])
            names = sorted(self.servers)[first : first + limit]
            return 200, [self.model(name) for name in names]
        name = path[1]
        if len(path) == 2:
            if method == "POST":
                if name in self.users:
                    return 409, {"message": "exists"}
                self.users.add(name)
                return 201, self.model(name)
            if method == "DELETE" and name in self.users:
                assert name not in self.servers, "a user with a server is never deleted"
                self.users.remove(name)
                return 204, None
            return (200, self.model(name)) if name in self.users else (404, {"message": "no user"})
        return self.server(method, name)

    def server(self, method: str, name: str) -> tuple[int, Any]:  # noqa: PLR0911 - a table of answers
        if name not in self.users:
            return 404, {"message": "no user"}
        if method == "POST":
            if self.refuse_start is not None:
                return 500, {"message": self.refuse_start}
            if name in self.servers:
                return 400, {"message": f"{name} is already running"}
            self.run(name, ready=False)
            return 202, None
        if name not in self.servers:
            return 404, {"message": "not running"}
        if self.slow_stop:
            self.servers[name]["pending"] = "stop"
            return 202, None
        del self.servers[name]
        return 204, None

    def model(self, name: str) -> dict[str, Any]:
        return {"name": name, "servers": {"": self.servers[name]} if name in self.servers else {}}


@dataclass
class Plane:
    """A control plane on a fresh world with a fake hub."""

    world: World
    hub: FakeHub
    services: dict[type, Any]
    app: FastAPI
    worker: OutboxWorker

    @property
    def api(self) -> TestClient:
        """A browser or command-line client without a session."""
        return TestClient(self.app, base_url="http://broch.localhost:8000", follow_redirects=False)

    @property
    def inside(self) -> TestClient:
        """The hub, on the control socket."""
        return TestClient(assembly_runtime.make_internal_app(self.services), base_url="http://localhost")

    def get(self, kind: type[Any]) -> Any:
        return self.services[kind]

    def row(self) -> Workspace:
        """The only workspace there is."""
        with self.world.store.read() as session:
            from sqlmodel import select

            return session.exec(select(Workspace)).one()

    def settle(self) -> None:
        """Run the outbox until nothing is due now."""
        self.worker.run_due()


HUB_HEADERS = {"Authorization": f"Bearer {TOKENS.hub}"}


@contextmanager
def make_plane(folder: Path, *health: HealthPart, hub_up: bool = True) -> Iterator[Plane]:
    world = make_world(folder)
    settings: Settings = world.settings
    hub = FakeHub(settings.run / "hub" / "hub.sock")
    if hub_up:
        hub.up()
    denials = DenialLog(world.store)
    services = assembly_runtime.make_services(
        world.store,
        settings,
        world.audit_log,
        denials,
        FolderPremises(folder / "datasets", FolderZones(folder / "zones")),
        tokens=TOKENS,
        hub=HubClient(settings.run / "hub" / "hub.sock", TOKENS.web),
        health=health,
    )
    services[Sessions] = world.sessions
    services[DenialLog] = denials
    services[Pages] = Pages(
        world.sessions,
        ["broch_api"],
        nav=assembly_runtime.nav(),
        banner="For trying Broch: not for real sensitive data",
        facts={},
    )
    app = make_app(
        "Broch",
        "Control plane.",
        assembly_runtime.routers(),
        services=services,
        shell_origin=settings.shell_origin,
        docs_prefix="/api/v1",
    )
    app.mount("/static", static_files())
    policy = shell_policy(settings.hub_origin, "http://viewer.broch.localhost:8000")
    app.add_middleware(ShellHeaders, hosts=[f"broch.localhost:{settings.port}"], policy=policy)
    worker = OutboxWorker(world.store, assembly_runtime.outbox_handlers(services))
    try:
        yield Plane(world, hub, services, app, worker)
    finally:
        hub.down()
        world.store.engine.dispose()
