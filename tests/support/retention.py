"""Requests that have come to rest, made older, and what must hold when their retention is over."""

from __future__ import annotations

import os
import signal
from datetime import timedelta
from pathlib import Path

from sqlmodel import col, select, update

from broch_airlock.retention.eraser import Eraser
from broch_airlock.retention.policy import RESTING
from broch_airlock.shelves import Shelves
from broch_airlock.tables import AirlockBytes, AirlockRequest, DeletedFile, Deletion, Direction
from broch_core import faults
from broch_core.audit.log import AuditLog
from broch_core.audit.tables import AuditRecord
from broch_core.blobs import BlobClass, FolderBlobs
from broch_core.clock import utc_now
from broch_core.lifecycles import AirlockStatus as Status
from broch_core.outbox.tables import OutboxEntry
from broch_core.outbox.worker import OutboxWorker
from broch_core.proof import DELETION_ACTION, KeyFolder, verify_certificate
from broch_core.settings import Settings
from broch_core.store.engine import make_engine
from broch_core.store.unit import Store
from support.reviews import ReviewWorld
from support.worlds import ORIGIN

YEARS = timedelta(days=4000)


def at_rest(place: ReviewWorld, status: Status, data: bytes, *, name: str = "table.csv") -> AirlockRequest:
    """Add a request in this state, its bytes where they lie then."""
    if status in {Status.RELEASED, Status.RECALLED}:
        request = place.released(files={name: data})
        return place.recall(request) if status is Status.RECALLED else request
    author = place.world.people["ruth"].id
    request = AirlockRequest(
        project_id=place.world.project.id, direction=Direction.EGRESS, author_id=author, purpose="Table 2"
    )
    place.world.add(request)
    file = place.give(request, name, data)
    class_ = RESTING.get(status, BlobClass.HELD)
    place.shelves.shelve(request.project_id, [file.sha256], class_)
    place.move(request, status, submitted_at=None if status is Status.DRAFT else utc_now())
    if class_ is not BlobClass.HELD:
        place.shelves.tidy(request.project_id, file.sha256)
    return place.request(request.id)


def sweep_alone(folder: Path, url: str, point: str, passes: int) -> None:
    """Sweep as a process of its own would that dies when it passes a point for the n-th time (kill -9)."""
    settings = Settings(folder=folder, demo=True)
    store = Store(make_engine(url))
    keys = KeyFolder(folder / "keys", ORIGIN)
    shelves = Shelves(store, FolderBlobs(folder / "blobs"))
    service = Eraser(store, shelves, AuditLog(store, keys, ORIGIN), keys, settings)
    left = passes

    def strike(name: str) -> None:
        nonlocal left
        left -= name == point
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    faults.arm(strike)
    service.sweep()
    OutboxWorker(store, {"airlock.erase": service.erase}).run_due()


def take_up_claims(place: ReviewWorld) -> None:
    """Let what a dead process had claimed come due now; it does by itself at the next start, or after some minutes."""
    with place.store.write(housekeeping=True) as change:
        change.session.exec(
            update(OutboxEntry).where(col(OutboxEntry.done_at).is_(None)).values(due_at=utc_now())
        )


def age(place: ReviewWorld, request: AirlockRequest, by: timedelta = YEARS) -> None:
    """Let a request have come to rest so long ago."""
    now = place.request(request.id)
    place.move(now, now.status, moved_at=utc_now() - by)
    ids = [file.id for file in place.files(request)]
    with place.store.write(housekeeping=True) as change:
        change.session.exec(
            update(AirlockBytes).where(col(AirlockBytes.file_id).in_(ids)).values(added_at=utc_now() - by)
        )


def eraser(place: ReviewWorld) -> Eraser:
    """Return the service."""
    found: Eraser = place.services[Eraser]
    return found


def end_retention(place: ReviewWorld) -> int:
    """Sweep and let the outbox work; return how many deletions began."""
    begun = eraser(place).sweep()
    place.outbox.run_due()
    return begun


def classes_of(place: ReviewWorld, data_sha256: str) -> set[BlobClass]:
    """Return the classes in which bytes lie."""
    project = place.world.project.id
    return {class_ for class_ in BlobClass if place.blobs.path(project, class_, data_sha256).exists()}


def deletion(place: ReviewWorld, request: AirlockRequest) -> Deletion | None:
    """Return the deletion of a request."""
    with place.store.read() as session:
        return session.exec(select(Deletion).where(Deletion.request_id == request.id)).first()


def assert_deleted(place: ReviewWorld, request: AirlockRequest, *, kept: int = 0) -> None:
    """The bytes are gone, once and for all; digest, names and record are there; the certificate verifies."""
    found = deletion(place, request)
    assert found is not None
    assert found.certificate is not None
    files = place.files(request)
    report = verify_certificate(found.certificate.encode(), {}, place.world.keys.trust())
    assert report.ok, "\n".join(map(str, report.steps))
    with place.store.read() as session:
        gone = session.exec(select(DeletedFile).where(DeletedFile.deletion_id == found.id)).all()
        records = session.exec(
            select(AuditRecord).where(
                AuditRecord.action == DELETION_ACTION, AuditRecord.subject_id == request.id
            )
        ).all()
    assert len(records) == 1
    assert records[0].id == found.record_id
    assert len(gone) == len(files) - kept
    for file in gone:
        assert classes_of(place, file.sha256) == set()
    assert place.world.audit_log.verify().ok
