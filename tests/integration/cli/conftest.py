"""The command line against a real server on a loopback port: the same routers, services and database as in production."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from typer.testing import CliRunner, Result

import broch_airlock.release.routes
import broch_airlock.retention.routes
import broch_airlock.review.routes
import broch_api.audit.routes
from broch.cli.main import app as broch_app
from broch_airlock import assembly_intake
from broch_airlock.release.downloads import DownloadDesk
from broch_airlock.release.overseer import ReleaseOverseer
from broch_airlock.release.service import Releaser
from broch_airlock.retention.eraser import Eraser
from broch_airlock.retention.service import CertificateDesk
from broch_airlock.review.service import ReviewDesk
from broch_airlock.shelves import Shelves
from broch_api import assembly_governance
from broch_api.audit.exporting import AuditExports
from broch_api.audit.service import AuditDesk
from broch_api.audit.upkeep import AuditUpkeep
from broch_api.packages.registry import PackageRegistry
from broch_core.audit.denials import DenialLog
from broch_core.blobs import FolderBlobs
from broch_core.outbox.worker import OutboxWorker
from broch_core.proof import KeyFolder
from broch_core.web.app import make_app
from broch_core.web.headers import ShellHeaders, shell_policy
from broch_core.web.pages import Pages
from broch_core.web.sessions import Sessions
from support.intake import Intake, make_intake
from support.package_lists import ROUTE, FakeRoute, use_registry
from support.running import RunningBroch, running_broch


@dataclass
class Served:
    """A Broch that answers, and the command line as its user has it."""

    intake: Intake
    server: str
    home: Path
    outbox: OutboxWorker
    eraser: Eraser
    route: FakeRoute
    """The package route, which knows what a test says."""

    @property
    def environment(self) -> dict[str, str | None]:
        return {
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": None,
            "XDG_CACHE_HOME": None,
            "BROCH_SERVER": self.server,
            "BROCH_CONFIG": None,
            "TZ": "Asia/Kolkata",
            "COLUMNS": "200",
        }

    def run(self, *words: str, typed: str | None = None) -> Result:
        """Run one command line."""
        return CliRunner().invoke(broch_app, list(words), input=typed, env=self.environment)

    def ok(self, *words: str, typed: str | None = None) -> str:
        """Run one that must succeed; return what it printed."""
        result = self.run(*words, typed=typed)
        assert result.exit_code == 0, (words, result.output, result.exception)
        return result.stdout

    def json(self, *words: str) -> Any:
        """Run one that must succeed and print JSON."""
        return json.loads(self.ok(*words, "--json"))

    def fails(self, *words: str, code: int = 1, typed: str | None = None) -> str:
        """Run one that must fail; return its last line."""
        result = self.run(*words, typed=typed)
        assert result.exit_code == code, (words, result.output, result.exception)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.stderr.strip().splitlines()[-1]

    def work(self) -> None:
        """Do what Broch does in the background: number records, check, release."""
        for _ in range(4):
            self.intake.world.audit_log.sequence()
            self.outbox.run_due()

    @property
    def credentials(self) -> Path:
        return self.home / ".config" / "broch" / "credentials.json"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    home = tmp_path / "home"
    home.mkdir()
    place = tmp_path / "broch"
    place.mkdir()
    intake = make_intake(place)
    world, store = intake.world, intake.world.store
    blobs: FolderBlobs = intake.blobs
    releaser = Releaser(
        store, Shelves(store, blobs), world.audit_log, world.keys, intake.zones, policy_digest="0" * 64
    )
    governance = assembly_governance.make_services(store, intake.settings, world.sessions)
    services: dict[type, Any] = {
        **intake.services,
        **governance,
        ReviewDesk: ReviewDesk(store),
        DownloadDesk: DownloadDesk(store, blobs, intake.settings),
        ReleaseOverseer: ReleaseOverseer(store, world.keys, intake.zones, world.audit_log.origin),
        Eraser: Eraser(store, Shelves(store, blobs), world.audit_log, world.keys, intake.settings),
        CertificateDesk: CertificateDesk(store),
        AuditDesk: AuditDesk(store, world.audit_log),
        AuditExports: AuditExports(store, world.audit_log),
        AuditUpkeep: AuditUpkeep(store, world.audit_log),
        KeyFolder: world.keys,
        Sessions: world.sessions,
        DenialLog: DenialLog(store),
        Pages: Pages(world.sessions, ["broch_api", "broch_airlock"], nav=[], banner=None, facts={}),
    }
    route = FakeRoute()
    registry = PackageRegistry(ROUTE, transport=httpx.MockTransport(route))
    use_registry(services, store, intake.settings, registry)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    host = f"127.0.0.1:{listener.getsockname()[1]}"
    routers = [
        broch_airlock.review.routes.router,
        broch_airlock.release.routes.router,
        broch_airlock.retention.routes.router,
        *assembly_intake.routers(),
        *assembly_governance.routers(),
        broch_api.audit.routes.router,
    ]
    app = make_app(
        "Broch", "Test.", routers, services=services, shell_origin=f"http://{host}", docs_prefix="/api/v1"
    )
    shell = ShellHeaders(app, hosts=[host], policy=shell_policy("http://hub.localhost", f"http://{host}"))
    server = uvicorn.Server(uvicorn.Config(shell, log_config=None, lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    handlers = {
        **assembly_intake.outbox_handlers(services),
        **assembly_governance.outbox_handlers(services),
        "airlock.release": releaser.release,
        "airlock.recall": services[ReleaseOverseer].take_back,
        "airlock.erase": services[Eraser].erase,
    }
    yield Served(intake, f"http://{host}", home, OutboxWorker(store, handlers), services[Eraser], route)
    server.should_exit = True
    thread.join(timeout=10)
    store.engine.dispose()


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBroch]:
    """A whole Broch as `broch up` starts it."""
    with running_broch(tmp_path_factory.mktemp("running")) as broch:
        yield broch
