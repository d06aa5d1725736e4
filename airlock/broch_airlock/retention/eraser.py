"""Deletes bytes whose retention is over: a timer that begins, an outbox handler that can be cut off anywhere.

Steps, each idempotent: begin (one row for a request, for good; a draft is withdrawn in the same transaction); delete
the bytes that no other request needs; record what was deleted with the signed statement; wait for the log and write
the certificate. Digests, names and records stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from sqlmodel import Session, col, select, update

from broch_airlock.facts import audit_move, files_of, find_request, subject_of
from broch_airlock.retention.policy import RESTING, WITHDRAWN_FIRST, Term, retention, term_of
from broch_airlock.shelves import Shelves
from broch_airlock.tables import AirlockFile, AirlockRequest, DeletedFile, Deletion
from broch_core import faults
from broch_core.actors import SYSTEM
from broch_core.audit.log import AuditLog
from broch_core.clock import utc_now
from broch_core.errors import Conflict
from broch_core.lifecycles import AIRLOCK, AirlockEvent, AirlockStatus
from broch_core.outbox.worker import TemporaryError
from broch_core.proof import (
    DELETION_ACTION,
    DeletionStatement,
    Envelope,
    KeyFolder,
    Purpose,
    ReleasedFile,
    build_certificate,
    statement_digest,
)
from broch_core.scope import EVERYTHING
from broch_core.settings import Settings
from broch_core.store.unit import Store

log = structlog.get_logger()

RETENTION_OVER = "airlock:retention"
MOST = 50
"""Requests that one sweep begins with; the next one goes on."""
LATER_SECONDS = 60.0
"""When others turn out to need all bytes after all, look again after a minute: they may be about to go too."""
_NO_BYTES = (AirlockStatus.WITHDRAWN, AirlockStatus.REJECTED)
_WITHDRAWN = "Nobody went on with it for {days} days: Broch withdrew it and deleted its files."


class Eraser:
    """Finds requests whose bytes are no longer kept, and deletes them."""

    def __init__(
        self, store: Store, shelves: Shelves, audit_log: AuditLog, keys: KeyFolder, settings: Settings
    ) -> None:
        self._store = store
        self._shelves = shelves
        self._log = audit_log
        self._keys = keys
        self._settings = settings

    def sweep(self) -> int:
        """Begin to delete what is due; return how many requests that were."""
        begun = 0
        for request_id in self._overdue():
            try:
                begun += self._begin(request_id)
            except Conflict:
                continue  # it moved on at this moment
        return begun

    def erase(self, payload: Mapping[str, Any]) -> None:
        """Delete the bytes of a request, or go on with it; the handler of `airlock.erase`.

        Raises:
            TemporaryError: other requests need all of them by now.
        """
        with self._store.read() as session:
            deletion = session.get_one(Deletion, str(payload["deletion_id"]))
            request = find_request(session, EVERYTHING, deletion.request_id)
            files = files_of(session, request.id)
        if deletion.record_id is None:
            gone = self._shelves.erase(request.project_id, sorted({file.sha256 for file in files}))
            faults.point("retention.deleted")
            if not gone:
                raise TemporaryError("other requests hold all bytes of this one", LATER_SECONDS)
            self._record(deletion, request, files, gone)
        faults.point("retention.recorded")
        self._certify(deletion.id)

    def _overdue(self) -> Sequence[str]:
        """Return requests that may be due; the exact term is judged under the lock."""
        now = utc_now()
        found: list[str] = []
        with self._store.read() as session:
            for class_, kept in retention(self._settings).items():
                states = [status for status, in_class in RESTING.items() if in_class is class_]
                found += session.exec(
                    select(AirlockRequest.id)
                    .where(
                        col(AirlockRequest.status).in_(states),
                        col(AirlockRequest.moved_at) <= now - kept,
                        col(AirlockRequest.id).not_in(select(Deletion.request_id)),
                    )
                    .order_by(col(AirlockRequest.moved_at))
                    .limit(MOST)
                ).all()
        return found

    def _begin(self, request_id: str) -> bool:
        with self._store.write() as change:
            session = change.session
            request = find_request(session, EVERYTHING, request_id, lock=True)
            term = term_of(session, request, self._settings)
            files = files_of(session, request_id)
            if term is None or term.ends_at > utc_now():
                change.exempt = True
                return False
            if files and all(self._held_elsewhere(session, request, file) for file in files):
                change.exempt = True
                return False  # they go with the request that still needs them
            if request.status in WITHDRAWN_FIRST:
                message = _WITHDRAWN.format(days=term.kept.days)
                change.advance(AIRLOCK, request, AirlockEvent.WITHDRAW, check_deadline=None, message=message)
                audit_move(change, SYSTEM, RETENTION_OVER, request)
            elif files:
                change.audit(
                    SYSTEM,
                    RETENTION_OVER,
                    subject_of(request),
                    facts={"class": term.blob_class.value, "turn": request.turn},
                )
            else:
                change.exempt = True
            if files:
                deletion = _new(request, term)
                session.add(deletion)
                change.later("airlock.erase", f"airlock.erase:{request.id}", {"deletion_id": deletion.id})
        log.info("airlock.retention_over", request=request_id, blob_class=term.blob_class.value)
        return True

    def _held_elsewhere(self, session: Session, request: AirlockRequest, file: AirlockFile) -> bool:
        """Tell whether another request of the project, whose own time is not over, has the same bytes."""
        others = session.exec(
            select(AirlockRequest)
            .join(AirlockFile, col(AirlockFile.request_id) == AirlockRequest.id)
            .where(
                AirlockRequest.project_id == request.project_id,
                AirlockRequest.id != request.id,
                AirlockFile.sha256 == file.sha256,
                col(AirlockRequest.status).not_in(_NO_BYTES),
                col(AirlockRequest.id).not_in(select(Deletion.request_id)),
            )
        )
        terms = (term_of(session, other, self._settings) for other in others)
        return any(term is None or term.ends_at > utc_now() for term in terms)

    def _record(
        self,
        deletion: Deletion,
        request: AirlockRequest,
        files: Sequence[AirlockFile],
        gone: set[str],
    ) -> None:
        """Sign and record what was deleted, in one transaction."""
        at = utc_now()
        deleted = [file for file in files if file.sha256 in gone]
        kept = tuple(sorted({file.sha256 for file in files} - gone))
        statement = DeletionStatement(
            deletion_id=deletion.id,
            project_id=deletion.project_id,
            request_id=request.id,
            storage_class=deletion.blob_class.value,
            at_rest_since=deletion.at_rest_since,
            retention_seconds=deletion.retention_seconds,
            deleted_at=at,
            origin=self._log.origin,
            files=tuple(ReleasedFile(file.name, file.sha256) for file in deleted),
            kept=kept,
        )
        envelope = statement.sign([self._keys.signer(Purpose.STATEMENT, at)])
        with self._store.write() as change:
            session = change.session
            find_request(session, EVERYTHING, request.id, lock=True)
            row = session.get_one(Deletion, deletion.id)
            session.refresh(row)
            if row.record_id is not None:
                change.exempt = True
                return  # another worker was faster
            row.record_id = change.audit(
                SYSTEM,
                DELETION_ACTION,
                subject_of(request),
                facts={
                    "deletion": deletion.id,
                    "class": deletion.blob_class.value,
                    "statement_sha256": statement_digest(envelope.payload),
                    "files": [{"file": file.id, "sha256": file.sha256} for file in deleted],
                    "kept": list(kept),
                },
                personal={f"name of {file.id}": file.name for file in deleted},
            )
            session.flush()
            row.deleted_at, row.envelope = at, envelope.dump()
            session.add(row)
            session.add_all(
                DeletedFile(deletion_id=deletion.id, file_id=file.id, sha256=file.sha256) for file in deleted
            )
        log.info("airlock.deleted", request=request.id, files=len(deleted), kept=len(kept))

    def _certify(self, deletion_id: str) -> None:
        with self._store.read() as session:
            row = session.get_one(Deletion, deletion_id)
        if row.certificate is not None or row.record_id is None:
            return
        self._log.sequence()
        proof = self._log.proof(row.record_id)
        certificate = build_certificate(
            Envelope.parse(row.envelope),
            proof.leaf,
            index=proof.index,
            hashes=proof.hashes,
            checkpoint=proof.checkpoint,
        ).decode()
        with self._store.write(housekeeping=True) as change:
            change.session.exec(
                update(Deletion)
                .where(col(Deletion.id) == deletion_id, col(Deletion.certificate).is_(None))
                .values(certificate=certificate)
            )


def _new(request: AirlockRequest, term: Term) -> Deletion:
    return Deletion(
        request_id=request.id,
        project_id=request.project_id,
        blob_class=term.blob_class,
        at_rest_since=term.since,
        retention_seconds=int(term.kept.total_seconds()),
    )
