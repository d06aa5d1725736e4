"""Both halves of the airlock on one small world: files go the whole way, step by step, by the services themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlmodel import select

from broch_airlock import assembly_intake, assembly_review
from broch_airlock.release.downloads import DownloadDesk
from broch_airlock.release.overseer import ReleaseOverseer
from broch_airlock.release.schemas import RecallNew
from broch_airlock.release.service import Releaser
from broch_airlock.requests.schemas import ConfirmedFile, NewRequest, Submission
from broch_airlock.requests.service import RequestDesk
from broch_airlock.review.schemas import DecisionNew
from broch_airlock.review.service import ReviewDesk
from broch_airlock.shelves import Shelves
from broch_airlock.tables import AirlockFile, AirlockRequest, Direction, Opinion, Release, ReleasedFile
from broch_airlock.uploads.intake import FileIntake, Source
from broch_core.actors import Actor
from broch_core.blobs import BlobClass, FolderBlobs
from broch_core.outbox.worker import OutboxWorker
from broch_core.settings import Settings
from broch_workspaces.zones import FolderZones
from support.intake import FakeScan
from support.reviews import POLICY, PlainRenderer
from support.worlds import World, make_world, open_world


class Crossing:
    """The airlock of a world; opening it again in another process goes on where that one was cut off."""

    def __init__(self, folder: Path, *, world: World | None = None, **settings: Any) -> None:
        limits = {"airlock_request_files": 5, "airlock_drafts": 1000}
        self.settings = Settings(folder=folder, demo=True, **{**limits, **settings})
        if world is None:
            there = (folder / "broch.sqlite").exists()
            world = open_world(self.settings) if there else make_world(folder)
        self.world = world
        self.store = world.store
        self.blobs = FolderBlobs(folder / "blobs")
        self.blobs.sweep()
        self.zones = FolderZones(folder / "zones")
        self.zones.sweep()
        self.scan = FakeScan()
        services = assembly_intake.make_services(self.store, self.settings, self.blobs, self.zones, self.scan)
        services |= assembly_review.make_services(
            self.store,
            services[Shelves],
            world.audit_log,
            world.keys,
            self.zones,
            self.settings,
            PlainRenderer(),
            policy_digest=POLICY,
        )
        self.services: dict[type, Any] = services
        self.desk: RequestDesk = services[RequestDesk]
        self.intake: FileIntake = services[FileIntake]
        self.review: ReviewDesk = services[ReviewDesk]
        self.downloads: DownloadDesk = services[DownloadDesk]
        self.overseer: ReleaseOverseer = services[ReleaseOverseer]
        self.releaser: Releaser = services[Releaser]
        handlers = assembly_intake.outbox_handlers(services) | assembly_review.outbox_handlers(services)
        self.outbox = OutboxWorker(self.store, handlers)
        self._actors: dict[str, Actor] = {}

    def actor(self, handle: str) -> Actor:
        """Return somebody with a session."""
        if handle not in self._actors:
            session = self.world.sessions.start(handle, kind="cli").session_id
            self._actors[handle] = replace(self.world.actor(handle), session_id=session)
        return self._actors[handle]

    def draft(self, direction: Direction = Direction.EGRESS, author: str = "ruth") -> str:
        """Begin a request; return its id."""
        actor, project = self.actor(author), self.world.project.id
        if direction is Direction.INGRESS:
            return self.desk.create(actor, NewRequest(project_id=project)).id
        return self.desk.create_egress(actor, project, by="door").id

    def put(self, request_id: str, name: str, data: bytes, author: str = "ruth") -> AirlockFile:
        """Send bytes for a file."""
        inside = self.request(request_id).direction is Direction.EGRESS
        source = Source.INSIDE if inside else Source.OUTSIDE
        admission = self.intake.admit(self.actor(author), request_id, name, source=source, size=len(data))
        with self.intake.writer(admission) as writer:
            for start in range(0, len(data), 1 << 16):
                writer.write(data[start : start + (1 << 16)])
            return self.intake.take(
                self.actor(author), admission, lambda: writer.commit(BlobClass.DRAFT), len(data)
            )

    def submit(self, request_id: str, author: str = "ruth") -> None:
        """Confirm what is there."""
        seen = [ConfirmedFile(file_id=file.id, sha256=file.sha256) for file in self.files(request_id)]
        body = Submission(purpose="Table 2", description="Counts.", files=seen)
        self.desk.submit(self.actor(author), request_id, body)

    def work(self) -> None:
        """Do what waits in the outbox."""
        self.outbox.run_due()

    def decide(self, handle: str, request_id: str, opinion: Opinion, names: Sequence[str] = ()) -> None:
        """Let a reviewer decide on the present bytes of files; all of them, if none is named."""
        turn = self.request(request_id).turn
        for file in self.files(request_id):
            if not names or file.name in names:
                comment = "" if opinion is Opinion.APPROVE else "Because."
                body = DecisionNew(opinion=opinion, sha256=file.sha256, turn=turn, comment=comment)
                self.review.decide(self.actor(handle), request_id, file.id, body)

    def download(self, request_id: str, handle: str = "ruth") -> dict[str, bytes]:
        """Download every file of a release."""
        found = {}
        for file in self.files(request_id):
            download = self.downloads.download(self.actor(handle), request_id, file.id)
            with closing(download.file):
                found[download.name] = b"".join(download.pieces())
        return found

    def recall(self, request_id: str) -> None:
        """Let the admin recall a release."""
        self.overseer.recall(self.actor("ada"), request_id, RecallNew(reason="Single patients."))

    def request(self, request_id: str) -> AirlockRequest:
        """Return the present row of a request."""
        with self.store.read() as session:
            return session.get_one(AirlockRequest, request_id)

    def files(self, request_id: str) -> list[AirlockFile]:
        """Return the files of a request by name."""
        with self.store.read() as session:
            return list(
                session.exec(
                    select(AirlockFile).where(AirlockFile.request_id == request_id).order_by(AirlockFile.name)
                )
            )

    def releases(self, request_id: str) -> list[tuple[Release, Mapping[str, str]]]:
        """Return the releases of a request (there may be one) with name and SHA-256 of their files."""
        with self.store.read() as session:
            found = session.exec(select(Release).where(Release.request_id == request_id)).all()
            return [
                (
                    release,
                    {
                        file.name: file.sha256
                        for file in session.exec(
                            select(ReleasedFile).where(ReleasedFile.release_id == release.id)
                        )
                    },
                )
                for release in found
            ]

    def close(self) -> None:
        """Let go of the database."""
        self.store.engine.dispose()


def sha256(data: bytes) -> str:
    """Return the digest of bytes as the tables hold it."""
    return hashlib.sha256(data).hexdigest()
