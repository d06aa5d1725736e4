"""The intake half of the airlock on a small world, with a scanner that says what a test wants."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from broch_airlock import assembly_intake
from broch_airlock.checks.model import CheckResult, FileUnderCheck, Finding, Verdict, result
from broch_airlock.door.app import make_door_app
from broch_airlock.facts import audit_move, find_request
from broch_airlock.tables import AirlockRequest
from broch_core.actors import SYSTEM
from broch_core.audit.denials import DenialLog
from broch_core.blobs import BlobClass, FolderBlobs
from broch_core.clock import utc_now
from broch_core.lifecycles import AIRLOCK, AirlockEvent, AirlockStatus, WorkspaceStatus
from broch_core.outbox.worker import OutboxWorker
from broch_core.scope import EVERYTHING
from broch_core.settings import Settings
from broch_core.tables.workspaces import Workspace
from broch_core.web.app import make_app
from broch_core.web.headers import ShellHeaders, shell_policy
from broch_core.web.pages import Pages
from broch_core.web.sessions import Sessions, token_hash
from broch_workspaces.zones import FolderZones
from support.worlds import World, make_world

BASE = "http://broch.localhost:8000"
API = "/api/v1/airlock"
TUS = {"Tus-Resumable": "1.0.0"}


@dataclass
class FakeScan:
    """Answers with one verdict for all files, and remembers what it was shown."""

    verdict: Verdict = Verdict.CLEAN
    seen: list[list[FileUnderCheck]] = field(default_factory=list)

    def __call__(self, files: Sequence[FileUnderCheck]) -> list[list[CheckResult]]:
        for file in files:
            assert hashlib.sha256(file.path.read_bytes()).hexdigest() == file.sha256
        self.seen.append(list(files))
        found = (
            []
            if self.verdict is Verdict.CLEAN
            else [Finding("malware", "test", self.verdict, "", "As told.")]
        )
        return [[result("malware", "fake 1", found)] for _ in files]


@dataclass
class Intake:
    """Everything a test of the intake needs."""

    world: World
    settings: Settings
    blobs: FolderBlobs
    zones: FolderZones
    scan: FakeScan
    services: dict[type, Any]
    client: TestClient
    door: TestClient
    outbox: OutboxWorker
    taken: list[FileUnderCheck]
    """Every file that the intake told of, for a scan ahead."""
    headers: dict[str, dict[str, str]] = field(default_factory=dict)

    def of(self, handle: str) -> dict[str, str]:
        """Return the headers of a signed-in person."""
        if handle not in self.headers:
            self.headers[handle] = self.world.headers(handle)
        return self.headers[handle]

    def draft(self, handle: str = "ruth", **body: str) -> str:
        """Make an ingress draft; return its id."""
        answer = self.client.post(
            f"{API}/requests", json={"project_id": self.world.project.id, **body}, headers=self.of(handle)
        )
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def put(self, request_id: str, name: str, data: bytes, handle: str = "ruth") -> Any:
        """Send a file in one stream."""
        return self.client.put(
            f"{API}/requests/{request_id}/files/{name}",
            content=data,
            headers={**self.of(handle), "Content-Type": "application/octet-stream"},
        )

    def read(self, request_id: str, handle: str = "ruth") -> dict[str, Any]:
        """Read a request."""
        answer = self.client.get(f"{API}/requests/{request_id}", headers=self.of(handle))
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def submit(self, request_id: str, handle: str = "ruth", **changes: Any) -> Any:
        """Submit what is there."""
        files = [
            {"file_id": file["id"], "sha256": file["sha256"]}
            for file in self.read(request_id, handle)["file_list"]
        ]
        body = {"purpose": "Table 2", "description": "Counts.", "files": files, **changes}
        return self.client.post(f"{API}/requests/{request_id}/submit", json=body, headers=self.of(handle))

    def begin_upload(self, request_id: str, name: str, length: int, handle: str = "ruth") -> Any:
        """Create a tus upload."""
        encoded = base64.b64encode(name.encode("utf-8", "surrogatepass")).decode()
        return self.client.post(
            f"{API}/requests/{request_id}/uploads",
            headers={
                **self.of(handle),
                **TUS,
                "Upload-Length": str(length),
                "Upload-Metadata": f"filename {encoded}",
            },
        )

    def patch(self, url: str, offset: int, data: bytes, handle: str = "ruth") -> Any:
        """Send a part of a tus upload."""
        return self.client.patch(
            url,
            content=data,
            headers={
                **self.of(handle),
                **TUS,
                "Upload-Offset": str(offset),
                "Content-Type": "application/offset+octet-stream",
            },
        )

    def workspace(self, handle: str = "ruth", **changes: Any) -> dict[str, str]:
        """Start a workspace in the database; return the headers for the door."""
        token = f"door-token-of-{handle}-{len(self.headers)}"
        row = {
            "project_id": self.world.project.id,
            "person_id": self.world.people[handle].id,
            "status": WorkspaceStatus.RUNNING,
            "deadline_at": utc_now() + self.settings.workspace_lifetime,
            "door_token_hash": token_hash(token),
            **changes,
        }
        self.world.add(Workspace(**row))
        return {"Authorization": f"Bearer {token}"}

    def egress(self, data: bytes = b"a,b\n1,2\n", name: str = "table2.csv", handle: str = "ruth") -> str:
        """Make an egress draft with one file through the door."""
        headers = self.workspace(handle)
        draft = self.door.post("/door/v1/drafts", json={"purpose": "Table 2"}, headers=headers).json()["id"]
        answer = self.door.put(
            f"/door/v1/drafts/{draft}/files/{name}",
            content=data,
            headers={**headers, "Content-Type": "application/octet-stream"},
        )
        assert answer.status_code == 201, answer.text
        return str(draft)

    def move(self, request_id: str, event: AirlockEvent) -> None:
        """Move a request as the review would."""
        with self.world.store.write() as change:
            request = find_request(change.session, EVERYTHING, request_id)
            change.advance(AIRLOCK, request, event)
            audit_move(change, SYSTEM, "airlock:test", request)

    def status(self, request_id: str) -> AirlockStatus:
        """Return the state in the database."""
        with self.world.store.read() as session:
            request = session.get(AirlockRequest, request_id)
            assert request is not None
            return request.status

    def kept(self, class_: BlobClass, data: bytes) -> bool:
        """Tell whether bytes lie in a class of the project."""
        sha256 = hashlib.sha256(data).hexdigest()
        return self.blobs.path(self.world.project.id, class_, sha256).exists()


def make_intake(folder: Path, url: str | None = None, **settings: Any) -> Intake:
    """Make a world with the intake on it; small limits unless told."""
    world = make_world(folder, url)
    limits = {"airlock_file_bytes": 1 << 20, "airlock_request_files": 5, "airlock_drafts": 3}
    limits["airlock_request_bytes"] = 3 << 20
    chosen = Settings(folder=folder, demo=True, **{**limits, "upload_chunk_bytes": 1 << 16, **settings})
    blobs, zones, scan = FolderBlobs(folder / "blobs"), FolderZones(folder / "zones"), FakeScan()
    taken: list[FileUnderCheck] = []
    services = assembly_intake.make_services(world.store, chosen, blobs, zones, scan, taken.append)
    pages = Pages(world.sessions, ["broch_airlock"], nav=assembly_intake.nav(), banner=None, facts={})
    app = make_app(
        "Airlock",
        "Test.",
        assembly_intake.routers(),
        services={**services, Sessions: world.sessions, DenialLog: DenialLog(world.store), Pages: pages},
        shell_origin=BASE,
        docs_prefix=API,
    )
    shell = ShellHeaders(
        app, hosts=["broch.localhost:8000"], policy=shell_policy("http://hub.localhost", BASE)
    )
    return Intake(
        world,
        chosen,
        blobs,
        zones,
        scan,
        services,
        TestClient(shell, base_url=BASE),
        TestClient(make_door_app({**services, Settings: chosen}), base_url="http://door"),
        OutboxWorker(world.store, assembly_intake.outbox_handlers(services)),
        taken,
    )
