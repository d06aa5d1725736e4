"""A world with requests in review, their bytes held, and the app of the airlock's second half."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient
from sqlmodel import select, update

from broch_airlock.assembly_review import make_services, nav, outbox_handlers, routers
from broch_airlock.release.overseer import ReleaseOverseer
from broch_airlock.release.schemas import RecallNew
from broch_airlock.release.service import Releaser, Zones
from broch_airlock.requests import pages as request_pages
from broch_airlock.requests import routes as request_routes
from broch_airlock.requests.service import RequestDesk
from broch_airlock.review.schemas import DecisionNew
from broch_airlock.review.service import ReviewDesk
from broch_airlock.shelves import Shelves
from broch_airlock.tables import (
    AirlockBytes,
    AirlockFile,
    AirlockRequest,
    CheckOutcome,
    Direction,
    FileDecision,
    ImportedName,
    Opinion,
)
from broch_airlock.uploads.intake import FileIntake
from broch_airlock.viewer.app import make_viewer_app
from broch_core.audit.denials import DenialLog
from broch_core.blobs import BlobClass, FolderBlobs
from broch_core.clock import utc_now
from broch_core.lifecycles import AirlockStatus
from broch_core.outbox.worker import OutboxWorker
from broch_core.settings import Settings
from broch_core.store.unit import Store
from broch_core.web.app import make_app
from broch_core.web.guard import COOKIE
from broch_core.web.pages import Pages
from broch_core.web.sessions import Sessions
from broch_workspaces.zones import FolderZones
from support.worlds import World, make_world

SHELL = "http://broch.localhost:8000"
VIEWER = "http://viewer.broch.localhost:8000"
POLICY = "ab" * 32


class PlainRenderer:
    """Shows the name and the part: rendering itself has its own tests."""

    def render(self, path: Path, name: str, sha256: str, *, page: int) -> str:
        assert len(sha256) == 64
        return f"<!doctype html><title>{name}</title><p>part {page}, {path.stat().st_size} bytes"


class ReviewWorld:
    """Everything that review and release tests need."""

    def __init__(
        self, folder: Path, url: str | None = None, imports: Callable[[Store], Zones] | None = None
    ) -> None:
        self.world: World = make_world(folder, url)
        self.store = self.world.store
        self.blobs = FolderBlobs(folder / "blobs")
        self.shelves = Shelves(self.store, self.blobs)
        self.zones = FolderZones(folder / "zones")
        self.services: dict[type, Any] = make_services(
            self.store,
            self.shelves,
            self.world.audit_log,
            self.world.keys,
            imports(self.store) if imports else self.zones,
            self.world.settings,
            PlainRenderer(),
            policy_digest=POLICY,
        )
        self.desk: ReviewDesk = self.services[ReviewDesk]
        self.releaser: Releaser = self.services[Releaser]
        self.overseer: ReleaseOverseer = self.services[ReleaseOverseer]
        self.outbox = OutboxWorker(self.store, outbox_handlers(self.services))

    def app(self) -> Any:
        """Make the app with sessions and pages."""
        sessions = self.world.sessions
        pages = Pages(sessions, ["broch_airlock"], nav=nav(self.services), banner=None, facts={})
        services = {
            **self.services,
            Store: self.store,
            Settings: self.world.settings,
            Sessions: sessions,
            Pages: pages,
            DenialLog: DenialLog(self.store),
            RequestDesk: RequestDesk(self.store, self.shelves, self.world.settings),
            FileIntake: FileIntake(self.store, self.shelves, self.world.settings),
        }
        return make_app(
            "t",
            "t",
            [*routers(), request_routes.router, request_pages.router],
            services=services,
            shell_origin=SHELL,
            docs_prefix="/api/v1/airlock",
        )

    def client(self) -> TestClient:
        """Return a client of the app."""
        return TestClient(self.app(), base_url=SHELL)

    def viewer(self) -> TestClient:
        """Return a client of the viewer's origin."""
        return TestClient(make_viewer_app({**self.services, Settings: self.world.settings}), base_url=VIEWER)

    def browser(self, handle: str) -> tuple[TestClient, str]:
        """Return a signed-in browser and its CSRF token."""
        started = self.world.sessions.start(handle, kind="browser")
        actor = self.world.sessions.actor(started.token)
        assert actor is not None
        client = TestClient(
            self.app(),
            base_url=SHELL,
            headers={
                "Cookie": f"{COOKIE}={started.token}",
                "Sec-Fetch-Site": "same-origin",
                "Accept": "text/html",
            },
        )
        return client, self.world.sessions.csrf_token(actor)

    def in_review(
        self,
        files: Mapping[str, bytes] | None = None,
        *,
        direction: Direction = Direction.EGRESS,
        author: str = "ruth",
        verdict: str = "clean",
    ) -> AirlockRequest:
        """Add a request whose checks have ended, its bytes held."""
        project_id = self.world.project.id
        request = AirlockRequest(
            project_id=project_id,
            direction=direction,
            author_id=self.world.people[author].id,
            purpose="Table 2",
            description="Counts by age group.",
        )
        self.world.add(request)
        for name, data in (files or {"table.csv": b"a,b\n1,2\n"}).items():
            self.give(request, name, data, verdict=verdict)
        self.move(request, AirlockStatus.IN_REVIEW, submitted_at=utc_now())
        return self.request(request.id)

    def give(self, request: AirlockRequest, name: str, data: bytes, *, verdict: str = "clean") -> AirlockFile:
        """Give a draft or returned request bytes for a file, checked and held."""
        sha256 = hashlib.sha256(data).hexdigest()
        with self.blobs.writer(request.project_id, 1 << 20) as writer:
            writer.write(data)
            writer.commit(BlobClass.HELD)
        with self.store.write(housekeeping=True) as change:
            file = change.session.exec(
                select(AirlockFile).where(AirlockFile.request_id == request.id, AirlockFile.name == name)
            ).first()
            file = file or AirlockFile(request_id=request.id, name=name, size=0, sha256="", turn=request.turn)
            file.size, file.sha256, file.turn = len(data), sha256, request.turn
            change.session.add(file)
            change.session.flush()
            change.session.add(
                AirlockBytes(file_id=file.id, sha256=sha256, turn=request.turn, size=len(data))
            )
            change.session.add(
                CheckOutcome(
                    file_id=file.id,
                    sha256=sha256,
                    check="size",
                    engine="broch 1",
                    verdict=verdict,
                    findings=[],
                )
            )
            if request.direction is Direction.INGRESS and not change.session.get(
                ImportedName, (request.project_id, name)
            ):
                change.session.add(ImportedName(project_id=request.project_id, name=name, file_id=file.id))
        return file

    def move(self, request: AirlockRequest, status: AirlockStatus, **values: object) -> None:
        """Set a request's state by hand."""
        with self.store.write(housekeeping=True) as change:
            change.session.exec(
                update(AirlockRequest)
                .where(AirlockRequest.id == request.id)
                .values(status=status, version=AirlockRequest.version + 1, **values)
            )

    def request(self, request_id: str) -> AirlockRequest:
        """Return the present row of a request."""
        with self.store.read() as session:
            return session.get_one(AirlockRequest, request_id)

    def files(self, request: AirlockRequest) -> list[AirlockFile]:
        """Return the files of a request by name."""
        with self.store.read() as session:
            return list(
                session.exec(
                    select(AirlockFile).where(AirlockFile.request_id == request.id).order_by(AirlockFile.name)
                )
            )

    def decisions(self) -> list[FileDecision]:
        """Return every decision there is."""
        with self.store.read() as session:
            return list(session.exec(select(FileDecision).order_by(FileDecision.at)))

    def decide(
        self, handle: str, request: AirlockRequest, opinion: str, *names: str, comment: str = ""
    ) -> Any:
        """Let somebody decide on files (all of them, if none is named)."""
        comment = comment or ("" if opinion == "approve" else f"{handle} says why")
        view = None
        turn = self.request(request.id).turn
        for file in self.files(request):
            if not names or file.name in names:
                body = DecisionNew(opinion=Opinion(opinion), sha256=file.sha256, turn=turn, comment=comment)
                view = self.desk.decide(self.world.actor(handle), request.id, file.id, body)
        return view

    def resubmit(self, request: AirlockRequest, changed: Mapping[str, bytes]) -> AirlockRequest:
        """Change files of a returned request and bring it back into review."""
        self.move(request, AirlockStatus.RETURNED, turn=request.turn + 1)
        request = self.request(request.id)
        for name, data in changed.items():
            self.give(request, name, data)
        self.move(request, AirlockStatus.IN_REVIEW, submitted_at=utc_now())
        return self.request(request.id)

    def approved(self, **options: Any) -> AirlockRequest:
        """Add a request that two reviewers have approved."""
        request = self.in_review(**options)
        self.decide("rita", request, "approve")
        self.decide("ravi", request, "approve")
        return self.request(request.id)

    def released(self, **options: Any) -> AirlockRequest:
        """Add a request that was released."""
        request = self.approved(**options)
        self.outbox.run_due()
        return self.request(request.id)

    def recall(self, request: AirlockRequest, reason: str = "Single patients.") -> AirlockRequest:
        """Let the admin recall a release."""
        self.services[ReleaseOverseer].recall(self.world.actor("ada"), request.id, RecallNew(reason=reason))
        return self.request(request.id)
