"""Reading every byte of a sealed version again. What does not fit suspends the version and its grants at once."""

from __future__ import annotations

import errno
import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import structlog
from sqlmodel import col, or_, select, update

from broch_api.datasets.catalogue import files_of, find_version, manifest_of
from broch_api.datasets.folder import VersionFolders
from broch_api.datasets.schemas import VerifyView
from broch_api.revocations.begin import EndedRight, revoke
from broch_core.actions import Action
from broch_core.actors import SYSTEM, Actor
from broch_core.audit.record import AuditSubject
from broch_core.blobs import CHUNK
from broch_core.clock import utc_now
from broch_core.errors import Conflict, Unavailable
from broch_core.lifecycles import VERSION, VersionEvent, VersionStatus
from broch_core.revocations import RevocationCause
from broch_core.rules import Resource, require
from broch_core.store.unit import Store
from broch_core.tables.datasets import Dataset, DatasetFile, DatasetVersion, Grant, GrantKind

log = structlog.get_logger()

VERIFIED = "version:verified"
SUSPENDED = "version:suspended"
"""Audit actions of what Broch does by itself."""
REST = timedelta(days=1)
"""How long the schedule leaves a version that fitted: each reading is a record of the audit log, kept for ever."""
AGAIN_SECONDS = 600.0
"""How long the schedule leaves a version that could not be read."""
_LONGEST_REASON = 500
_ANOTHER_FILE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENXIO})
"""What there is, is not the file that was sealed. Any other error is the disk's or the network's, and says nothing of it."""


class VersionVerifier:
    """Reads versions again: by a schedule, or because a steward asks."""

    def __init__(self, store: Store, folders: VersionFolders) -> None:
        self._store = store
        self._folders = folders
        self._busy: set[str] = set()
        self._lock = threading.Lock()
        self._unread: dict[str, tuple[float, str]] = {}
        """Versions that could not be read: when that was, and why."""
        self._ending = threading.Event()

    def verify(self, actor: Actor, version_id: str) -> VerifyView:
        """Read a version again because somebody asks.

        Raises:
            Denied: the actor is no data steward.
            NotFound: there is no such version.
            Conflict: it is not sealed, or is being read at this moment.
            Unavailable: it cannot be read at this moment; nothing is known of it.
        """
        require(actor, Action.VERSION_SEAL, Resource("version", version_id))
        return self.verify_version(version_id, actor_id=actor.person_id)

    def verify_version(self, version_id: str, *, actor_id: str = SYSTEM) -> VerifyView:
        """Read every byte of a sealed version again; on a mismatch suspend it and stop the workspaces that see it.

        Args:
            version_id: which.
            actor_id: who asked for it.

        Raises:
            NotFound: there is no such version.
            Conflict: it is not sealed, or is being read at this moment.
            Unavailable: it cannot be read at this moment; nothing is known of it.
        """
        with self._alone(version_id):
            with self._store.read() as session:
                row = find_version(session, version_id)
                if row.status is not VersionStatus.SEALED:
                    raise Conflict(
                        f"Version {row.number} is {row.status.value}: only a sealed one is verified."
                    )
                files = files_of(session, version_id)
            try:
                result = self._compare(row, list(files))
            except Unavailable as problem:
                self._unread[version_id] = (time.monotonic(), problem.detail)
                raise
            self._unread.pop(version_id, None)
            self._note(row, result, actor_id)
            return result

    def sweep(self) -> int:
        """Read the one version that is due most, for the schedule; return how many were read.

        One that could not be read lets the others go first for a while.
        """
        for version_id in self.due(1 + len(self._unread)):
            since, _ = self._unread.get(version_id, (-AGAIN_SECONDS, ""))
            if time.monotonic() - since < AGAIN_SECONDS:
                continue
            try:
                self.verify_version(version_id)
            except (Unavailable, Conflict) as problem:
                log.warning("datasets.unread", version=version_id, reason=problem.detail)
            else:
                return 1
        return 0

    def unread(self) -> dict[str, str]:
        """Return the versions that could not be read when that was last tried, and why."""
        return {version_id: why for version_id, (_, why) in sorted(self._unread.items())}

    def end(self) -> None:
        """Let go of what is being read: reading a large version takes hours, and a service must end in seconds."""
        self._ending.set()

    def due(self, limit: int = 10, *, rest: timedelta = REST) -> list[str]:
        """Return the sealed versions that the schedule reads next: those read longest ago, never read ones first.

        Args:
            limit: how many at most.
            rest: one that was read within this time is not due yet.
        """
        with self._store.read() as session:
            return list(
                session.exec(
                    select(DatasetVersion.id)
                    .where(
                        DatasetVersion.status == VersionStatus.SEALED,
                        or_(
                            col(DatasetVersion.verified_at).is_(None),
                            col(DatasetVersion.verified_at) <= utc_now() - rest,
                        ),
                    )
                    .order_by(
                        col(DatasetVersion.verified_at).asc().nulls_first(), col(DatasetVersion.id).asc()
                    )
                    .limit(limit)
                )
            )

    @contextmanager
    def _alone(self, version_id: str) -> Iterator[None]:
        with self._lock:
            if version_id in self._busy:
                raise Conflict("The version is being verified at this moment.", remedy="Wait for its result.")
            self._busy.add(version_id)
        try:
            yield
        finally:
            with self._lock:
                self._busy.discard(version_id)

    def _compare(self, row: DatasetVersion, files: list[DatasetFile]) -> VerifyView:
        read, size = 0, 0
        problem: str | None = None
        if hashlib.sha256(manifest_of(files)).hexdigest() != row.manifest_sha256:
            problem = "The list of files is not the one that was sealed."
        for file in sorted(files, key=lambda one: one.path):
            if problem is not None:
                break
            problem, got = self._read(row.id, file)
            read, size = read + 1, size + got
        if problem is None:
            try:
                strays = set(self._folders.files(row.id)) - {file.path for file in files}
            except OSError as error:
                raise _unreadable("Its folder", error) from None
            if strays:
                problem = f"The file '{min(strays)}' was never part of the version."
        return VerifyView(ok=problem is None, files=read, bytes=size, problem=problem)

    def _read(self, version_id: str, file: DatasetFile) -> tuple[str | None, int]:
        digest, size = hashlib.sha256(), 0
        try:
            with self._folders.open(version_id, file.path) as opened:
                while data := opened.read(CHUNK):
                    if self._ending.is_set():
                        raise Unavailable("Broch is ending.")
                    digest.update(data)
                    size += len(data)
        except FileNotFoundError:
            return f"The file '{file.path}' is gone.", size
        except OSError as error:
            if error.errno not in _ANOTHER_FILE:
                raise _unreadable(f"The file '{file.path}'", error) from None
            return f"The file '{file.path}' cannot be read: {error.strerror}.", size
        if size != file.size:
            return f"The file '{file.path}' has {size:,} bytes, not {file.size:,}.", size
        if digest.hexdigest() != file.sha256:
            return f"The file '{file.path}' has other bytes than those that were sealed.", size
        return None, size

    def _note(self, row: DatasetVersion, result: VerifyView, actor_id: str) -> None:
        facts = {"files": result.files, "bytes": str(result.bytes), "asked_by": actor_id}
        with self._store.write() as change:
            session = change.session
            if result.problem is None:
                session.exec(
                    update(DatasetVersion)
                    .where(col(DatasetVersion.id) == row.id)
                    .values(verified_at=utc_now())
                    .execution_options(synchronize_session=False)
                )
                change.audit(SYSTEM, VERIFIED, AuditSubject("version", row.id), facts=facts)
                return
            session.add(row)
            change.advance(
                VERSION, row, VersionEvent.SUSPEND, suspended_reason=result.problem[:_LONGEST_REASON]
            )
            change.audit(
                SYSTEM,
                SUSPENDED,
                AuditSubject("version", row.id),
                facts=facts,
                personal={"problem": result.problem},
            )
            slug = session.exec(select(Dataset.slug).where(Dataset.id == row.dataset_id)).one()
            mounted = session.exec(
                select(Grant.project_id)
                .where(
                    Grant.version_id == row.id,
                    Grant.kind == GrantKind.MOUNT,
                    col(Grant.revoked_at).is_(None),
                    Grant.until >= utc_now().date(),
                )
                .distinct()
            ).all()
            for project_id in mounted:
                revoke(
                    change,
                    EndedRight(
                        RevocationCause.DATA_SUSPENDED,
                        project_id,
                        SYSTEM,
                        f"The data in /data/{slug} no longer are what was sealed. A data steward looks into it.",
                        version_ids=[row.id],
                    ),
                )


def _unreadable(what: str, error: OSError) -> Unavailable:
    return Unavailable(
        f"{what} cannot be read now: {error.strerror}.",
        remedy="Look at the disk or the share that holds datasets. The version is tried again by itself.",
    )
