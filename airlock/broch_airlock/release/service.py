"""The release of approved requests: an outbox handler that can be cut off anywhere and run again.

Steps, each idempotent: begin; hash the bytes once more; record (release, files, audit record, signed statement, in one
transaction); wait for the log and write the receipt; place the bytes; deliver; tidy up. A release that was recorded
is never recorded again: the row is unique for its request and later runs find it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Protocol

import structlog
from sqlmodel import col, select, update

from broch_airlock.facts import audit_move, files_of, find_request, subject_of
from broch_airlock.release.statement import NotApproved, make_statement
from broch_airlock.shelves import Shelves
from broch_airlock.tables import (
    AirlockFile,
    AirlockRequest,
    Direction,
    ImportedName,
    Release,
    ReleasedFile,
)
from broch_core import faults
from broch_core.actors import SYSTEM
from broch_core.audit.log import AuditLog
from broch_core.blobs import BlobClass, sha256_of
from broch_core.clock import utc_now
from broch_core.errors import Conflict, NotFound
from broch_core.lifecycles import AIRLOCK, AirlockEvent, AirlockStatus, ProjectStatus
from broch_core.outbox.worker import PermanentError, TemporaryError
from broch_core.proof import (
    RELEASE_ACTION,
    Envelope,
    KeyFolder,
    Purpose,
    build_receipt,
    statement_digest,
)
from broch_core.scope import EVERYTHING, find_project
from broch_core.store.unit import Store
from broch_core.tables.projects import Project

log = structlog.get_logger()

RELEASING = "airlock:releasing"
DELIVERED = "airlock:delivered"
FAILED = "airlock:release-failed"
RELEASE_DEADLINE = timedelta(hours=1)
"""A release that takes longer fails visibly; an admin can try it again."""
FROZEN_SECONDS = 30.0
"""How long a release waits before it looks again whether its project is still frozen."""
_ALTERED = "The bytes of '{name}' are not those that were approved. Nothing was released; your administrator was told."
_OVER = "The project ended before the files were released, and its right to results with it. Nothing was released."
_UNAPPROVED = "The approvals of this request do not hold. Nothing was released; your administrator was told."


class _ProjectOver(Exception):
    """The project has ended: nothing crosses in its name any more."""


class Zones(Protocol):
    """Where imports are placed."""

    def place_import(self, project_id: str, name: str, file: Any) -> None:
        """Put released bytes into `/imports`; the same bytes may come twice."""

    def remove_import(self, project_id: str, name: str, sha256: str) -> None:
        """Take bytes out of `/imports` again; done already is done."""


class Releaser:
    """Releases approved requests."""

    def __init__(
        self,
        store: Store,
        shelves: Shelves,
        audit_log: AuditLog,
        keys: KeyFolder,
        zones: Zones,
        *,
        policy_digest: str,
    ) -> None:
        self._store = store
        self._shelves = shelves
        self._log = audit_log
        self._keys = keys
        self._zones = zones
        self._policy_digest = policy_digest

    def release(self, payload: Mapping[str, Any]) -> None:
        """Release a request, or go on with it; the handler of `airlock.release`.

        Raises:
            TemporaryError: the project is frozen; the release goes on after the thaw.

        A project that has ended releases nothing more: the request fails. What was recorded before the end is delivered.
        """
        request_id = str(payload["request_id"])
        request, files = self._begin(request_id)
        faults.point("release.begun")
        if request.status is AirlockStatus.RELEASING:
            if self._recorded(request_id) is None and not self._record(request, files):
                return
            faults.point("release.recorded")
            self._write_receipt(request_id)
            faults.point("release.proved")
            self._place(request, files)
            faults.point("release.placed")
            self._deliver(request_id)
            faults.point("release.delivered")
        elif request.status is not AirlockStatus.RELEASED:
            return  # withdrawn meanwhile, or failed
        self._shelves.tidy(request.project_id, *{file.sha256 for file in files})

    def _begin(self, request_id: str) -> tuple[AirlockRequest, Sequence[AirlockFile]]:
        with self._store.write() as change:
            request = find_request(change.session, EVERYTHING, request_id, lock=True)
            files = files_of(change.session, request.id)
            if request.status in {AirlockStatus.APPROVED, AirlockStatus.RELEASING}:
                _require_thawed(find_project(change.session, EVERYTHING, request.project_id))
            if request.status is AirlockStatus.APPROVED:
                deadline = utc_now() + RELEASE_DEADLINE
                change.advance(AIRLOCK, request, AirlockEvent.RELEASE, check_deadline=deadline)
                audit_move(change, SYSTEM, RELEASING, request)
            return request, files

    def _recorded(self, request_id: str) -> Release | None:
        with self._store.read() as session:
            return session.exec(select(Release).where(Release.request_id == request_id)).first()

    def _record(self, request: AirlockRequest, files: Sequence[AirlockFile]) -> bool:
        """Hash the bytes once more, sign, and record; return whether there is a release now."""
        for file in files:
            if not self._intact(request, file):
                self._fail(request.id, _ALTERED.format(name=file.name[:120]), file=file.id)
                return False
        at = utc_now()
        release = Release(
            request_id=request.id, project_id=request.project_id, direction=request.direction, at=at,
            envelope={}, record_id="",
        )  # fmt: skip
        try:
            with self._store.read() as session:
                statement = make_statement(
                    session,
                    request,
                    files,
                    release_id=release.id,
                    at=at,
                    policy_digest=self._policy_digest,
                    origin=self._log.origin,
                )
        except NotApproved as error:
            self._fail(request.id, _UNAPPROVED, file=str(error))
            return False
        faults.point("release.hashed")
        envelope = statement.sign([self._keys.signer(Purpose.STATEMENT, at)])
        release.envelope = envelope.dump()
        try:
            self._write(request, files, release, statement_digest(envelope.payload))
        except _ProjectOver:
            self._fail(request.id, _OVER)
            return False
        return True

    def _write(
        self, request: AirlockRequest, files: Sequence[AirlockFile], release: Release, digest: str
    ) -> None:
        """Record the release, while nobody can freeze or end the project.

        Raises:
            TemporaryError: the project is frozen.
            _ProjectOver: it has ended.
        """
        with self._store.write() as change:
            find_request(change.session, EVERYTHING, request.id, lock=True)
            project = find_project(change.session, EVERYTHING, request.project_id, lock=True)
            _require_thawed(project)
            if project.status is ProjectStatus.ENDED or project.ends_on < release.at.date():
                raise _ProjectOver
            release.record_id = change.audit(
                SYSTEM,
                RELEASE_ACTION,
                subject_of(request),
                facts={
                    "release": release.id,
                    "statement_sha256": digest,
                    "files": [{"file": file.id, "sha256": file.sha256} for file in files],
                },
                personal={f"name of {file.id}": file.name for file in files},
            )
            change.session.flush()
            change.session.add(release)
            change.session.flush()
            change.session.add_all(
                ReleasedFile(
                    release_id=release.id,
                    file_id=file.id,
                    name=file.name,
                    sha256=file.sha256,
                    size=file.size,
                )
                for file in files
            )

    def _intact(self, request: AirlockRequest, file: AirlockFile) -> bool:
        try:
            with self._shelves.blobs.open(request.project_id, BlobClass.HELD, file.sha256) as held:
                return sha256_of(held) == file.sha256
        except NotFound:
            return False

    def _fail(self, request_id: str, message: str, **facts: str) -> None:
        log.error("airlock.release_refused", request=request_id, **facts)
        with self._store.write() as change:
            request = find_request(change.session, EVERYTHING, request_id, lock=True)
            change.advance(AIRLOCK, request, AirlockEvent.FAIL, message=message, check_deadline=None)
            audit_move(change, SYSTEM, FAILED, request, facts=facts)

    def _write_receipt(self, request_id: str) -> None:
        release = self._recorded(request_id)
        if release is None or release.receipt is not None:
            return
        self._log.sequence()
        faults.point("release.sequenced")
        proof = self._log.proof(release.record_id)
        receipt = build_receipt(
            Envelope.parse(release.envelope),
            proof.leaf,
            index=proof.index,
            hashes=proof.hashes,
            checkpoint=proof.checkpoint,
        ).decode()
        with self._store.write(housekeeping=True) as change:
            change.session.exec(
                update(Release)
                .where(col(Release.id) == release.id, col(Release.receipt).is_(None))
                .values(receipt=receipt)
            )

    def _place(self, request: AirlockRequest, files: Sequence[AirlockFile]) -> None:
        with self._shelves.steady(request.project_id):
            self._shelves.shelve(request.project_id, {file.sha256 for file in files}, BlobClass.RELEASED)
        if request.direction is not Direction.INGRESS:
            return
        waiting: TemporaryError | None = None
        for file in files:
            with self._shelves.blobs.open(request.project_id, BlobClass.RELEASED, file.sha256) as bytes_:
                try:
                    self._zones.place_import(request.project_id, file.name, bytes_)
                except Conflict as error:  # the name was reserved: only a defect gets here
                    raise PermanentError(error.detail) from error
                except TemporaryError as error:  # one zone can be given many files at once
                    waiting = error
        if waiting is not None:
            raise waiting

    def _deliver(self, request_id: str) -> None:
        with self._store.write() as change:
            request = find_request(change.session, EVERYTHING, request_id, lock=True)
            if request.status is not AirlockStatus.RELEASING:
                return
            if request.direction is Direction.INGRESS:
                for file in files_of(change.session, request_id):
                    change.session.exec(
                        update(ImportedName)
                        .where(
                            col(ImportedName.project_id) == request.project_id,
                            col(ImportedName.name) == file.name,
                            col(ImportedName.file_id) == file.id,
                        )
                        .values(placed_at=utc_now())
                    )
            change.advance(AIRLOCK, request, AirlockEvent.DELIVER, check_deadline=None)
            audit_move(change, SYSTEM, DELIVERED, request)


def _require_thawed(project: Project) -> None:
    if project.status is ProjectStatus.FROZEN:
        raise TemporaryError("the project is frozen", FROZEN_SECONDS)
