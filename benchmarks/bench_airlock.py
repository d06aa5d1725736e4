"""Intake and checks of a request beside raw clamd on the same bytes (docs/benchmarks.md)."""

from __future__ import annotations

import os
import pickle
import socket
import statistics
import struct
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sqlmodel import select

from broch import doctor, run_folder
from broch.dev.bench import Result
from broch.instance import Instance
from broch_airlock.checking.runner import CheckRunner
from broch_airlock.checks.clamd_process import prepare_clamd, start_clamd, wait_for_clamd
from broch_airlock.requests.schemas import ConfirmedFile, NewRequest, Submission
from broch_airlock.requests.service import RequestDesk
from broch_airlock.uploads.intake import FileIntake, Source
from broch_core.actors import Actor
from broch_core.blobs import CHUNK, BlobClass, chunks
from broch_core.clock import utc_now
from broch_core.lifecycles import AirlockStatus, ProjectStatus
from broch_core.settings import Settings
from broch_core.store.unit import Store
from broch_core.tables.people import Person
from broch_core.tables.projects import Membership, Project
from broch_core.web.sessions import actor_of
from broch_workspaces.sandbox.account import drop_privileges
from broch_workspaces.sandbox.runtime import interpreter_folders
from corpus import make_corpus

NAME = "airlock"
GOAL = 0.9
ROUNDS = 3
UPLOADS = 2
"""Files taken in at once: as many as the page sends (`PARALLEL` in upload.js)."""


@dataclass(frozen=True)
class Round:
    """Seconds of one round."""

    raw: float
    by_descriptor: float
    intake: float
    checks: float


def run() -> Iterator[Result]:
    """Measure both ways in a child that gives up root first, as Broch does."""
    size, rounds = _in_child(_measure)
    megabytes = size / 1e6
    raw = megabytes / statistics.median(r.raw for r in rounds)
    whole = megabytes / statistics.median(r.intake + r.checks for r in rounds)
    yield Result.beside("airlock/intake and checks", whole, "MB/s", baseline=raw, at_least=GOAL)
    checks = megabytes / statistics.median(r.checks for r in rounds)
    yield Result("airlock/checks of bytes taken in", checks, "MB/s", baseline=raw, ratio=checks / raw)
    by_descriptor = megabytes / statistics.median(r.by_descriptor for r in rounds)
    yield Result(
        "airlock/raw clamd by descriptor", by_descriptor, "MB/s", baseline=raw, ratio=by_descriptor / raw
    )
    yield Result.measured("airlock/bytes", megabytes, "MB")
    yield Result.measured("airlock/raw clamd", statistics.median(r.raw for r in rounds), "s")
    yield Result.measured("airlock/intake alone", statistics.median(r.intake for r in rounds), "s")
    yield Result.measured("airlock/checks alone", statistics.median(r.checks for r in rounds), "s")


def _measure(folder: Path) -> tuple[int, list[Round]]:
    settings = Settings(folder=folder / "state", demo=True)
    settings.folder.mkdir(mode=0o700)
    run_folder.prepare(settings.run)
    setup = prepare_clamd(settings.folder / "clamd", settings.run / "clamd")
    corpus = folder / "corpus"
    corpus.mkdir()
    clamd = start_clamd(setup)
    try:
        files = make_corpus(corpus)
        instance = Instance(settings)
        instance.seed()
        wait_for_clamd(setup, clamd)
        rounds = []
        for number in range(ROUNDS):
            began = time.monotonic()
            _raw(setup.socket, files)
            scanned = time.monotonic()
            _raw_by_descriptor(setup.socket, files)
            looked = time.monotonic()
            request = _intake(instance, files, number)
            taken = time.monotonic()
            _check(instance, request)
            checked = time.monotonic()
            rounds.append(Round(scanned - began, looked - scanned, taken - looked, checked - taken))
        return sum(file.stat().st_size for file in files), rounds
    finally:
        clamd.terminate()
        clamd.wait(30)


def _raw(path: Path, files: Sequence[Path]) -> None:
    """Stream every file to clamd, one after another, and read its answer: the least that anybody can do."""
    for file in files:
        with socket.socket(socket.AF_UNIX) as connection, file.open("rb") as source:
            connection.connect(str(path))
            connection.sendall(b"zINSTREAM\0")
            for piece in chunks(source, CHUNK):
                connection.sendall(struct.pack(">I", len(piece)))
                connection.sendall(piece)
            connection.sendall(struct.pack(">I", 0))
            answer = connection.recv(4096)
        if not answer.startswith(b"stream: OK"):
            raise RuntimeError(f"clamd says {answer!r} of {file.name}")


def _raw_by_descriptor(path: Path, files: Sequence[Path]) -> None:
    """Hand every open file to clamd, one after another, as the checks do: nothing is sent, and nothing hashed."""
    for file in files:
        with socket.socket(socket.AF_UNIX) as connection, file.open("rb") as source:
            connection.connect(str(path))
            connection.sendall(b"zFILDES\0")
            socket.send_fds(connection, [b"\0"], [source.fileno()])
            answer = connection.recv(4096)
        if not answer.endswith(b": OK\0"):
            raise RuntimeError(f"clamd says {answer!r} of {file.name}")


def _researcher(store: Store) -> tuple[Actor, str]:
    """Return somebody and a running project of theirs."""
    with store.read() as session:
        person, project_id = session.exec(
            select(Person, Project.id)
            .join(Membership, Membership.person_id == Person.id)  # type: ignore[arg-type]
            .join(Project, Project.id == Membership.project_id)  # type: ignore[arg-type]
            .where(Project.status == ProjectStatus.ACTIVE)
        ).first() or (None, "")
        if person is None:
            raise RuntimeError("the demo has no running project")
        return actor_of(session, person, utc_now()), project_id


def _intake(instance: Instance, files: Sequence[Path], number: int) -> str:
    """Take all files into a fresh request as `PUT` does, less HTTP, and submit it; return its id."""
    desk: RequestDesk = instance.services[RequestDesk]
    intake: FileIntake = instance.services[FileIntake]
    actor, project_id = _researcher(instance.services[Store])
    request = desk.create(actor, NewRequest(project_id=project_id, purpose="Benchmark"))

    def take(file: Path) -> ConfirmedFile:
        name = f"{number}-{file.name}"  # a name is taken for good
        admission = intake.admit(actor, request.id, name, source=Source.OUTSIDE, size=file.stat().st_size)
        with intake.writer(admission) as writer, file.open("rb") as source:
            for piece in chunks(source, CHUNK):
                writer.write(piece)
            writer.seal()
            row = intake.take(actor, admission, partial(writer.commit, BlobClass.DRAFT), writer.size)
        return ConfirmedFile(file_id=row.id, sha256=row.sha256)

    with ThreadPoolExecutor(UPLOADS) as pool:
        taken = list(pool.map(take, files))
    desk.submit(actor, request.id, Submission(purpose="Benchmark", files=taken))
    return request.id


def _check(instance: Instance, request_id: str) -> None:
    """Check the request as the outbox does; it must end in review."""
    runner: CheckRunner = instance.services[CheckRunner]
    desk: RequestDesk = instance.services[RequestDesk]
    runner.check({"request_id": request_id, "turn": 1})
    actor, _ = _researcher(instance.services[Store])
    view = desk.read(actor, request_id)
    if view.status is not AirlockStatus.IN_REVIEW:
        raise RuntimeError(f"the request is {view.status.value}: {view.message}")


def _in_child(action: Callable[[Path], Any]) -> Any:
    """Run `action` in a child of its own, not as root; what it returns or raises comes back."""
    with tempfile.TemporaryDirectory(prefix="broch-bench-") as name:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            answer: tuple[bool, Any]
            try:
                drop_privileges([*interpreter_folders(), *doctor.source_folders()], [Path(name)])
                answer = (True, action(Path(name)))
            except BaseException:  # noqa: BLE001 - a forked child reports everything and never returns
                answer = (False, traceback.format_exc())
            with os.fdopen(writing, "wb") as pipe:
                pickle.dump(answer, pipe)
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            content = pipe.read()
        os.waitpid(child, 0)
    done, value = pickle.loads(content)
    if not done:
        raise RuntimeError(f"the child failed:\n{value}")
    return value
