"""A small world with the governance services and an app on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient
from sqlmodel import select

from broch_api import assembly_governance as assembly
from broch_core.audit.denials import DenialLog
from broch_core.audit.tables import AuditRecord
from broch_core.outbox.tables import OutboxEntry
from broch_core.outbox.worker import OutboxWorker
from broch_core.web.app import make_app
from broch_core.web.pages import Pages
from broch_core.web.sessions import Sessions
from support.worlds import World, make_world

ORIGIN = "http://broch.localhost:8000"


@dataclass
class Governance:
    """The world, its services, and how to call them."""

    world: World
    services: dict[type, Any]
    app: Any

    def service(self, kind: type[Any]) -> Any:
        return self.services[kind]

    def client(self, host: str = "127.0.0.1") -> TestClient:
        return TestClient(self.app, base_url=ORIGIN, client=(host, 50000), raise_server_exceptions=True)

    def api(self, handle: str) -> TestClient:
        client = self.client()
        client.headers.update(self.world.headers(handle))
        return client

    def page(self, handle: str) -> PageClient:
        token = self.world.token(handle)
        actor = self.world.sessions.actor(token)
        assert actor is not None
        client = self.client()
        client.headers.update(
            {
                "Cookie": f"__Host-broch={token}",
                "Sec-Fetch-Site": "same-origin",
                "Accept": "text/html",
            }
        )
        client.follow_redirects = False
        return PageClient(client, self.world.sessions.csrf_token(actor))

    def records(self, action: str) -> list[AuditRecord]:
        with self.world.store.read() as session:
            return list(session.exec(select(AuditRecord).where(AuditRecord.action == action)))

    def effects(self, kind: str) -> list[dict[str, Any]]:
        with self.world.store.read() as session:
            return [
                entry.payload for entry in session.exec(select(OutboxEntry).where(OutboxEntry.kind == kind))
            ]

    def work(self) -> None:
        handlers = assembly.outbox_handlers(self.services) | {"workspace.stop": lambda _payload: None}
        OutboxWorker(self.world.store, handlers).run_due()


@dataclass
class PageClient:
    """A browser: cookie, same origin, the session's form token."""

    http: TestClient
    csrf: str

    def get(self, path: str, **options: Any) -> Any:
        return self.http.get(path, **options)

    def post(self, path: str, fields: dict[str, Any] | None = None) -> Any:
        return self.http.post(path, data={"csrf_token": self.csrf, **(fields or {})})


def make_governance(folder: Path, changed: Callable[[World], None] = lambda _world: None) -> Governance:
    world = make_world(folder)
    changed(world)
    services = assembly.make_services(world.store, world.settings, world.sessions)
    services[Sessions] = world.sessions
    services[DenialLog] = DenialLog(world.store)
    services[Pages] = Pages(
        world.sessions, ["broch_api"], nav=assembly.nav(), banner="Not for real data.", facts={}
    )
    app = make_app(
        "Broch", "Test.", assembly.routers(), services=services, shell_origin=ORIGIN, docs_prefix="/api/v1"
    )
    return Governance(world, services, app)
