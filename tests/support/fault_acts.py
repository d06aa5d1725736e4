"""Acts of the airlock that can be cut off at any point, what must hold after the cut, and a process to be killed.

An act is told to `ack` what a client would have been answered; whatever was acknowledged before the cut must be there
after it. Acts can be done again, as a person would press the button again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlmodel import col, func, select, update

from broch_airlock.tables import Direction, FileDecision, Opinion, Ticket
from broch_core import faults
from broch_core.audit.tables import AuditCheckpoint, AuditRecord
from broch_core.blobs import BlobClass
from broch_core.clock import utc_now
from broch_core.lifecycles import AirlockStatus as Status
from broch_core.outbox.tables import OutboxEntry
from broch_core.proof import RELEASE_ACTION, verify_receipt
from support.crossing import Crossing, sha256

DATA = {"a.csv": b"age,count\n40,12\n" * 3000, "b.csv": b"x\n"}
Ack = Callable[[str], None]
Act = Callable[[Crossing, str, Ack], None]


def _upload(here: Crossing, request: str, ack: Ack) -> None:
    for name, data in DATA.items():
        here.put(request, name, data)
        ack(f"file {name}")


def _submit(here: Crossing, request: str, ack: Ack) -> None:
    if here.request(request).status is Status.DRAFT:
        here.submit(request)
    ack("submitted")
    here.work()


def _decide(here: Crossing, request: str, ack: Ack) -> None:
    for who in ("rita", "ravi"):
        if here.request(request).status is Status.IN_REVIEW:
            here.decide(who, request, Opinion.APPROVE)
        ack(f"decided {who}")


def _release(here: Crossing, request: str, ack: Ack) -> None:
    here.work()
    if here.request(request).status is Status.RELEASED:
        ack("released")


def _download(here: Crossing, request: str, ack: Ack) -> None:
    for file in here.files(request):
        actor = here.actor("ruth")
        ticket = here.downloads.ticket(actor, request, file.id).ticket
        ack(f"ticket {sha256(ticket.encode())}")
        got = b"".join(here.downloads.redeem(actor, ticket).pieces())
        assert got == DATA[file.name]
        ack(f"downloaded {sha256(ticket.encode())}")


def _sequence(here: Crossing, _request: str, ack: Ack) -> None:
    here.actor("robin")  # a new session is a new record
    here.world.audit_log.sequence()
    ack(f"log {size_of_log(here)}")


@dataclass(frozen=True)
class Stage:
    """An act, and where its request stands before."""

    act: Act
    before: tuple[Act, ...]
    direction: Direction = Direction.EGRESS


_TO_REVIEW = (_upload, _submit)
_TO_RELEASE = (*_TO_REVIEW, _decide)
STAGES = {
    "upload": Stage(_upload, ()),
    "submit": Stage(_submit, (_upload,)),
    "decide": Stage(_decide, _TO_REVIEW),
    "release": Stage(_release, _TO_RELEASE),
    "release of an import": Stage(_release, _TO_RELEASE, Direction.INGRESS),
    "download": Stage(_download, (*_TO_RELEASE, _release)),
    "sequencer": Stage(_sequence, (*_TO_RELEASE, _release)),
}


def prepare(folder: Path, stage: Stage) -> str:
    """Bring a request to where an act begins; return its id."""
    here = Crossing(folder)
    request = here.draft(stage.direction)
    for act in stage.before:
        act(here, request, lambda _: None)
    here.close()
    return request


def points(folder: Path, stage: Stage, request: str) -> list[str]:
    """Return the points that an act passes, in their order."""
    passed: list[str] = []
    here = Crossing(folder)
    faults.arm(passed.append)
    try:
        stage.act(here, request, lambda _: None)
    finally:
        faults.arm(None)
        here.close()
    return passed


def striking(after: int, strike: Callable[[str], None]) -> Callable[[str], None]:
    """Return what strikes at the point number `after`, counted from 0, and never again."""
    left = after

    def passing(name: str) -> None:
        nonlocal left
        left -= 1
        if left == -1:
            strike(name)

    return passing


def be_killed(folder: str, stage: str, request: str, after: int | None) -> None:
    """Do an act until the process kills itself at a point; without `after`, until somebody kills it. For a child."""
    acks = os.open(f"{folder}/acks", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    here = Crossing(Path(folder))
    if after is not None:
        faults.arm(striking(after, lambda _: os.kill(os.getpid(), signal.SIGKILL)))
    os.write(acks, b"begun\n")
    STAGES[stage].act(here, request, lambda text: (os.write(acks, f"{text}\n".encode()), None)[1])
    os.write(acks, b"ended\n")
    if after is None:
        time.sleep(60)


def acknowledged(folder: Path) -> list[str]:
    """Return what the killed process had answered."""
    path = folder / "acks"
    return path.read_text().splitlines() if path.exists() else []


def assert_nothing_half_visible(folder: Path) -> None:
    """Every byte that somebody could be given is whole: its name is its digest, or it is the whole import."""
    for class_ in BlobClass:
        for path in (folder / "blobs" / class_.value).rglob("*"):
            if path.is_file():
                assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name, path
    for path in folder.glob("zones/*/imports/*"):
        assert path.read_bytes() == DATA[path.name], path


def recover(folder: Path, stage: Stage, request: str, acks: list[str]) -> None:
    """Open the folder anew, as a restarted process does, and see that nothing is lost, then that all can go on."""
    here = Crossing(folder)
    try:
        assert list((folder / "blobs" / "tmp").iterdir()) == []
        for ack in acks:
            assert_there(here, request, ack)
        hurry(here)
        here.work()
        stage.act(here, request, lambda _: None)
        for act in (_upload, _submit, _decide, _release):
            if here.request(request).status is Status.RELEASED:
                break
            if act is not _upload or here.request(request).status is Status.DRAFT:
                act(here, request, lambda _: None)
        here.world.audit_log.sequence()
        assert_released_once(here, request, stage.direction)
    finally:
        here.close()


def hurry(here: Crossing) -> None:
    """Make everything in the outbox due, as the start of the worker does."""
    with here.store.write(housekeeping=True) as change:
        change.session.exec(
            update(OutboxEntry).where(col(OutboxEntry.done_at).is_(None)).values(due_at=utc_now())
        )


def assert_there(here: Crossing, request: str, ack: str) -> None:
    """See that what was acknowledged is there."""
    kind, _, what = ack.partition(" ")
    status = here.request(request).status
    with here.store.read() as session:
        if kind == "file":
            file = next(file for file in here.files(request) if file.name == what)
            assert file.sha256 == sha256(DATA[what])
            assert any(
                here.blobs.path(here.world.project.id, class_, file.sha256).exists() for class_ in BlobClass
            )
        elif kind == "submitted":
            assert status is not Status.DRAFT
        elif kind == "decided":
            found = session.exec(
                select(FileDecision).where(FileDecision.reviewer_id == here.world.people[what].id)
            ).all()
            assert len(found) == len(DATA)
        elif kind == "released":
            assert status is Status.RELEASED
        elif kind == "ticket":
            assert session.get(Ticket, what) is not None
        elif kind == "downloaded":
            used = session.get_one(Ticket, what)
            assert used.used_at is not None
        elif kind == "log":
            assert size_of_log(here) >= int(what)


def size_of_log(here: Crossing) -> int:
    """Return how many records the newest checkpoint covers."""
    with here.store.read() as session:
        return int(session.exec(select(func.max(AuditCheckpoint.size))).one() or 0)


def assert_released_once(here: Crossing, request: str, direction: Direction) -> None:
    """See one release, one record of it, one receipt that verifies, a sound log, and the right bytes."""
    assert here.request(request).status is Status.RELEASED
    [(release, files)] = here.releases(request)
    assert files == {name: sha256(data) for name, data in DATA.items()}
    with here.store.read() as session:
        records = session.exec(
            select(AuditRecord.id).where(
                AuditRecord.action == RELEASE_ACTION, AuditRecord.subject_id == request
            )
        ).all()
        decided = session.exec(
            select(FileDecision.reviewer_id, FileDecision.file_id).where(
                col(FileDecision.superseded_at).is_(None)
            )
        ).all()
    assert list(records) == [release.record_id]
    assert len(decided) == len(set(decided)) == 2 * len(DATA)
    assert verify_receipt((release.receipt or "").encode(), files, here.world.keys.trust()).ok
    assert here.world.audit_log.verify().ok
    if direction is Direction.EGRESS:
        assert here.download(request) == DATA
    else:
        imports = here.zones.imports(here.world.project.id)
        assert {path.name: path.read_bytes() for path in imports.iterdir()} == DATA
        assert list((imports.parent / "inbox").iterdir()) == []


def fresh(template: Path, folder: Path) -> Path:
    """Copy a prepared folder for one trial."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template, folder, symlinks=True)
    return folder
