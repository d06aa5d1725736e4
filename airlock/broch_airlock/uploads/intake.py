"""The one way by which bytes become a file of a request, wherever they come from."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from sqlalchemy import delete, func
from sqlmodel import Session, col, select

from broch_airlock.checks.model import FileUnderCheck
from broch_airlock.checks.names import BadName, accept_name
from broch_airlock.facts import reach_request, subject_of
from broch_airlock.shelves import Shelves, tidy_later
from broch_airlock.tables import AirlockBytes, AirlockFile, AirlockRequest, Direction, Upload
from broch_airlock.uploads.errors import NoSpace
from broch_airlock.uploads.space import require_space
from broch_core.actions import Action
from broch_core.actors import Actor
from broch_core.blobs import BlobClass, Incoming
from broch_core.clock import utc_now
from broch_core.errors import Conflict, Denied, Invalid, TooLarge
from broch_core.lifecycles import AirlockStatus
from broch_core.scope import EVERYTHING, find_project, require_running
from broch_core.settings import Settings
from broch_core.store.unit import Change, Store

OPEN_STATES = frozenset({AirlockStatus.DRAFT, AirlockStatus.RETURNED})
"""States in which the files of a request may change."""


class Source(StrEnum):
    """Which side of the boundary bytes come from."""

    OUTSIDE = "outside"
    INSIDE = "inside"


@dataclass(frozen=True)
class Admission:
    """A file that may come into a request, judged by what is known before its bytes are there."""

    request_id: str
    project_id: str
    name: str
    source: Source
    limit: int
    """Bytes at most."""


def checked_name(name: str) -> str:
    """Return a name that may cross the boundary.

    Raises:
        Invalid: it may not; the reason is named.
    """
    try:
        return accept_name(name)
    except BadName as error:
        raise Invalid(str(error), remedy="Rename the file.", rule=error.rule) from None


def require_open(request: AirlockRequest, source: Source) -> None:
    """Raise unless files may come into the request from this side now.

    Raises:
        Denied: bytes would cross the boundary by the way in.
        Conflict: the request is past the states in which files change.
    """
    wanted = Source.OUTSIDE if request.direction is Direction.INGRESS else Source.INSIDE
    if source is not wanted:
        raise Denied(
            "Files that leave a project come from inside its workspaces only."
            if wanted is Source.INSIDE
            else "Files that come in are sent from outside, not from a workspace.",
            remedy="Submit from a notebook, or choose files from the project's folder."
            if wanted is Source.INSIDE
            else None,
        )
    if request.status not in OPEN_STATES:
        raise Conflict(
            f"The files of a request that is {request.status.value.replace('_', ' ')} cannot be changed.",
            state=request.status.value,
        )


def next_turn(request: AirlockRequest) -> int:
    """Return the turn that new bytes belong to: a returned request is being prepared for its next one."""
    return request.turn + 1 if request.status is AirlockStatus.RETURNED else request.turn


class IntakeWriter:
    """A writer that tells a full disk from a defect, and stops before it is full."""

    def __init__(self, writer: Incoming, folder: Path) -> None:
        self._writer = writer
        self._folder = folder

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self._writer.size

    def write(self, data: bytes) -> None:
        """Take some bytes.

        Raises:
            NoSpace: the disk is nearly full.
            TooLarge: more has come than the limit.
        """
        require_space(self._folder)
        with space_errors():
            self._writer.write(data)

    def seal(self) -> None:
        """Make the bytes durable, still without a name.

        Raises:
            NoSpace: the disk is full.
        """
        with space_errors():
            self._writer.seal()

    def commit(self, class_: BlobClass) -> str:
        """Make the bytes durable; return their SHA-256.

        Raises:
            NoSpace: the disk is full.
        """
        with space_errors():
            return self._writer.commit(class_)


@contextmanager
def space_errors() -> Iterator[None]:
    """Say in plain words that the disk is full.

    Raises:
        NoSpace: it is.
    """
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise NoSpace("The disk of the airlock is full. Nothing was taken.") from error
        raise


class FileIntake:
    """Takes files into requests."""

    def __init__(
        self,
        store: Store,
        shelves: Shelves,
        settings: Settings,
        on_taken: Callable[[FileUnderCheck], None] = lambda _file: None,
    ) -> None:
        self._store = store
        self.shelves = shelves
        self._settings = settings
        self._on_taken = on_taken
        """Told of every file that was taken; must only make a note of it."""

    @property
    def limit(self) -> int:
        """Largest file, bytes."""
        return self._settings.airlock_file_bytes

    def admit(
        self, actor: Actor, request_id: str, name: str, *, source: Source, size: int | None = None
    ) -> Admission:
        """Judge a file before its bytes come.

        Args:
            actor: who sends it.
            request_id: the request it is for.
            name: as the client wrote it.
            source: which side it comes from.
            size: bytes, if known already.

        Raises:
            Invalid: the name may not cross the boundary.
            TooLarge: the file, or the number of files.
            NoSpace: the disk is nearly full.
        """
        with self._store.read() as session:
            request, _ = self.judge(session, actor, request_id, name, source=source, size=size)
        require_space(self.shelves.blobs.temporary, size or 0)
        return Admission(request.id, request.project_id, name, source, self.limit)

    def judge(
        self,
        session: Session,
        actor: Actor,
        request_id: str,
        name: str,
        *,
        source: Source,
        size: int | None = None,
        lock: bool = False,
    ) -> tuple[AirlockRequest, AirlockFile | None]:
        """Judge a file within a transaction, see `admit`; return the request, and the file of this name in it."""
        request = reach_request(session, actor, Action.AIRLOCK_UPLOAD, request_id, lock=lock)
        require_open(request, source)
        require_running(find_project(session, EVERYTHING, request.project_id), utc_now())
        checked_name(name)
        if size is not None and size > self.limit:
            raise TooLarge(
                f"The file has {size:,} bytes; at most {self.limit:,} may cross the airlock.",
                remedy="Split it, or ask your administrator how larger data come in.",
            )
        file = _named(session, request.id, name)
        if file is None:
            self._require_room(session, request)
        self._require_bytes(session, request, name, size or 0)
        return request, file

    @contextmanager
    def writer(self, admission: Admission) -> Iterator[IntakeWriter]:
        """Open a writer for the bytes of an admitted file."""
        with self.shelves.blobs.writer(admission.project_id, admission.limit) as writer:
            yield IntakeWriter(writer, self.shelves.blobs.temporary)

    def take(
        self,
        actor: Actor,
        admission: Admission,
        put: Callable[[], str],
        size: int,
        also: Callable[[Change, AirlockFile], None] | None = None,
    ) -> AirlockFile:
        """Make admitted bytes durable as a draft and put them into the request; return the file.

        Args:
            actor: who sends it, with the rights of now.
            admission: what was judged before.
            put: makes the bytes durable in class `draft` and returns their SHA-256.
            size: bytes.
            also: what else belongs into the same transaction.

        Raises:
            Conflict: the request or the project has moved on meanwhile.
        """
        taken: list[tuple[AirlockFile, str | None]] = []

        def record(sha256: str) -> None:
            with self._store.write() as change:
                taken.append(self._record(change, actor, admission, sha256, size))
                if (before := taken[0][1]) is not None:
                    tidy_later(change, admission.project_id, before)
                if also is not None:
                    also(change, taken[0][0])

        self.shelves.place(admission.project_id, put, record)
        file, replaced = taken[0]
        if replaced is not None:
            self.shelves.tidy_now(admission.project_id, replaced)
        path = self.shelves.blobs.lasting(admission.project_id, BlobClass.DRAFT, file.sha256)
        if path is not None:
            self._on_taken(
                FileUnderCheck(file.name, file.size, file.sha256, path, project_id=admission.project_id)
            )
        return file

    def _record(
        self, change: Change, actor: Actor, admission: Admission, sha256: str, size: int
    ) -> tuple[AirlockFile, str | None]:
        session = change.session
        request, file = self.judge(
            session,
            actor,
            admission.request_id,
            admission.name,
            source=admission.source,
            size=size,
            lock=True,
        )
        turn = next_turn(request)
        before = file.sha256 if file else None
        if file is not None and before == sha256:
            return file, None
        if file is None:
            file = AirlockFile(
                request_id=request.id, name=admission.name, size=size, sha256=sha256, turn=turn
            )
        else:
            if file.turn == turn:
                # Bytes that were never submitted leave no trace: nobody has seen them.
                session.exec(
                    delete(AirlockBytes).where(
                        col(AirlockBytes.file_id) == file.id, col(AirlockBytes.turn) == turn
                    )
                )
            file.sha256, file.size = sha256, size
            file.turn = _submitted_before(session, file.id, sha256) or turn
        session.add(file)
        session.flush()
        if file.turn == turn:
            session.add(AirlockBytes(file_id=file.id, sha256=sha256, turn=turn, size=size))
        change.audit(
            actor.person_id,
            Action.AIRLOCK_UPLOAD,
            subject_of(request),
            facts={
                "file": file.id,
                "sha256": sha256,
                "size": size,
                "turn": turn,
                "source": admission.source.value,
                "replaced": before,
            },
            personal={"name": file.name},
        )
        return file, before

    def _require_room(self, session: Session, request: AirlockRequest) -> None:
        files = session.exec(
            select(func.count()).select_from(AirlockFile).where(AirlockFile.request_id == request.id)
        ).one()
        if files >= self._settings.airlock_request_files:
            raise TooLarge(
                f"A request holds at most {self._settings.airlock_request_files} files.",
                remedy="Pack what belongs together, or make another request.",
            )

    def _require_bytes(self, session: Session, request: AirlockRequest, name: str, size: int) -> None:
        others = select(func.coalesce(func.sum(AirlockFile.size), 0)).where(
            AirlockFile.request_id == request.id, AirlockFile.name != name
        )
        together = session.exec(others).one() + size
        if together > self._settings.airlock_request_bytes:
            raise TooLarge(
                f"The files of this request would have {together:,} bytes together; "
                f"at most {self._settings.airlock_request_bytes:,} can be checked in one request.",
                remedy="Make another request for the rest.",
            )


def _named(session: Session, request_id: str, name: str) -> AirlockFile | None:
    return session.exec(
        select(AirlockFile).where(AirlockFile.request_id == request_id, AirlockFile.name == name)
    ).first()


def _submitted_before(session: Session, file_id: str, sha256: str) -> int | None:
    """Return the last turn in which the file had these very bytes: then it has not changed after all."""
    return session.exec(
        select(AirlockBytes.turn)
        .where(AirlockBytes.file_id == file_id, AirlockBytes.sha256 == sha256)
        .order_by(col(AirlockBytes.turn).desc())
        .limit(1)
    ).first()


def open_uploads(session: Session, request_id: str) -> int:
    """Count the uploads of a request that have not become a file."""
    return session.exec(
        select(func.count())
        .select_from(Upload)
        .where(Upload.request_id == request_id, col(Upload.file_id).is_(None))
    ).one()
