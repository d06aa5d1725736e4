"""The picker reads a zone that hostile code may be writing to: beneath the folder, no links, a copy that is hashed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from broch_airlock.checks.model import display
from broch_airlock.checks.names import name_findings
from broch_airlock.facts import KIND, reach_request
from broch_airlock.picker.schemas import Area, Pick, ZoneEntry, ZoneListing
from broch_airlock.requests.schemas import RequestView
from broch_airlock.requests.service import RequestDesk
from broch_airlock.tables import Direction
from broch_airlock.uploads.intake import Admission, FileIntake, Source, checked_name, space_errors
from broch_core.actions import Action
from broch_core.actors import Actor
from broch_core.blobs import BlobClass
from broch_core.clock import utc_now
from broch_core.errors import Conflict, Invalid, NotFound, TooLarge
from broch_core.ids import existing_id, new_id
from broch_core.rules import Resource, require
from broch_core.scope import EVERYTHING, find_project, require_running
from broch_core.store.unit import Store
from broch_core.tables.projects import Project
from broch_workspaces.sandbox.safe_open import (
    Entry,
    FileTooLarge,
    UnsafePath,
    copy_beneath,
    list_beneath,
    open_beneath,
)
from broch_workspaces.zones import FolderZones

ENTRIES_MOST = 1000
_NANOSECONDS = 1_000_000_000


class ZonePicker:
    """Lists a zone's folders to its own people, and copies what they choose into a draft."""

    def __init__(self, store: Store, zones: FolderZones, desk: RequestDesk, intake: FileIntake) -> None:
        self._store = store
        self._zones = zones
        self._desk = desk
        self._intake = intake

    def list(self, actor: Actor, project_id: str, area: Area, path: str) -> ZoneListing:
        """Return what a folder of the zone holds.

        Raises:
            NotFound: the actor is no member, or there is no such folder.
        """
        project = self._project(actor, Action.ZONE_BROWSE, project_id)
        try:
            found = list_beneath(self._root(actor, project.id, area), path, limit=ENTRIES_MOST)
        except OSError:
            raise NotFound("There is no such folder.") from None
        return ZoneListing(
            project_id=project.id,
            project_name=project.name,
            area=area,
            path=path,
            entries=[self._entry(path, entry) for entry in found.entries],
            left_out=found.left_out,
            truncated=found.truncated,
        )

    def pick(self, actor: Actor, body: Pick) -> RequestView:
        """Copy files of the zone into an egress draft; one that cannot be taken stops the pick, with its reason.

        Raises:
            Invalid: two files of one name, or a name that may not cross.
            NotFound: there is no such file.
            Conflict: the project does not run, or the request is past its draft.
        """
        project = self._project(actor, Action.AIRLOCK_CREATE, body.project_id)
        require_running(project, utc_now())
        names = [checked_name(PurePosixPath(path).name) for path in body.paths]
        if len(set(names)) != len(names):
            raise Invalid("Two of the files have the same name.", remedy="Rename one of them first.")
        root = self._root(actor, project.id, body.area)
        # Before anything is made; the copy judges again.
        sizes = [self._takable(root, path, name) for path, name in zip(body.paths, names, strict=True)]
        if body.request_id is None:
            request_id = self._desk.create_egress(
                actor, project.id, purpose=body.purpose, description=body.description, by="picker"
            ).id
        else:
            request_id = self._open_request(actor, project.id, body.request_id)
        for path, name, size in zip(body.paths, names, sizes, strict=True):
            admission = self._intake.admit(actor, request_id, name, source=Source.INSIDE, size=size)
            self._copy(actor, root, path, admission)
        return self._desk.read(actor, request_id)

    def _open_request(self, actor: Actor, project_id: str, request_id: str) -> str:
        with self._store.read() as session:
            request = reach_request(session, actor, Action.AIRLOCK_UPLOAD, request_id)
        if request.project_id != project_id:
            raise NotFound
        if request.direction is not Direction.EGRESS:
            raise Conflict("Files of the zone go into requests that leave the project.")
        return request.id

    def _copy(self, actor: Actor, root: Path, path: str, admission: Admission) -> None:
        blobs = self._intake.shelves.blobs
        waiting = blobs.temporary / new_id()
        descriptor = os.open(waiting, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with space_errors(), zone_errors(admission.name, admission.limit):
                copied = copy_beneath(root, path, descriptor, max_bytes=admission.limit)
                os.fsync(descriptor)

            def put() -> str:
                blobs.adopt(waiting, admission.project_id, BlobClass.DRAFT, copied.sha256)
                return copied.sha256

            self._intake.take(actor, admission, put, copied.size)
        finally:
            os.close(descriptor)
            waiting.unlink(missing_ok=True)

    def _takable(self, root: Path, path: str, name: str) -> int:
        """Return the size of a file that may be taken, bytes."""
        with zone_errors(name, self._intake.limit):
            descriptor = open_beneath(root, path)
            try:
                size = os.fstat(descriptor).st_size
                if size > self._intake.limit:
                    raise FileTooLarge
            finally:
                os.close(descriptor)
        return size

    def _project(self, actor: Actor, action: Action, project_id: str) -> Project:
        require(actor, action, Resource(kind=KIND, project_id=existing_id(project_id)))
        with self._store.read() as session:
            return find_project(session, EVERYTHING, project_id)

    def _root(self, actor: Actor, project_id: str, area: Area) -> Path:
        if area is Area.HOME:
            return self._zones.home(project_id, actor.person_id)
        return self._zones.project(project_id)

    def _entry(self, folder: str, entry: Entry) -> ZoneEntry:
        refusal = None
        if not entry.is_folder:
            findings = name_findings(entry.name)
            if findings:
                refusal = findings[0].message
            elif entry.size > self._intake.limit:
                refusal = f"Larger than {self._intake.limit:,} bytes, which is the most for one file."
        return ZoneEntry(
            name=display(entry.name),
            path=f"{folder}/{entry.name}" if folder else entry.name,
            is_folder=entry.is_folder,
            size=entry.size,
            modified_at=_moment(entry.modified_ns),
            refusal=refusal,
        )


@contextmanager
def zone_errors(name: str, limit: int) -> Iterator[None]:
    """Say in plain words why a file of a zone cannot be taken.

    Raises:
        TooLarge: it has more bytes than one file may have.
        Invalid: it is a link, a device or anything but a plain file.
        NotFound: it is not there.
    """
    try:
        yield
    except FileTooLarge:
        raise TooLarge(f"'{name}' has more than {limit:,} bytes, the most for one file.") from None
    except UnsafePath:
        raise Invalid(f"'{name}' is not a plain file of this folder.") from None
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        raise NotFound(f"'{name}' is not there or cannot be read.") from None


def _moment(nanoseconds: int) -> datetime | None:
    """Return a time that a zone claims; one that no calendar has is not shown."""
    try:
        return datetime.fromtimestamp(nanoseconds // _NANOSECONDS, UTC)
    except (OverflowError, ValueError, OSError):
        return None
