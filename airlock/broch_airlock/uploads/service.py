"""Resumable uploads: tus 1.0.0 core with creation, expiration and termination (https://tus.io/protocols/resumable-upload)."""

from __future__ import annotations

import base64
import binascii
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from sqlalchemy import delete, update
from sqlmodel import Session, col, select

from broch_airlock.facts import reach_request
from broch_airlock.tables import AirlockFile, Upload
from broch_airlock.uploads.errors import InUse
from broch_airlock.uploads.intake import FileIntake, Source, open_uploads
from broch_airlock.uploads.partials import Partials
from broch_core.actions import Action
from broch_core.actors import Actor
from broch_core.blobs import BlobClass
from broch_core.clock import utc_now
from broch_core.errors import Conflict, Gone, Invalid, NotFound, TooLarge
from broch_core.ids import existing_id, new_id
from broch_core.settings import Settings
from broch_core.store.unit import Change, Store

LIFETIME = timedelta(days=1)
"""How long an unfinished upload waits for its next part: over night, not over the week-end."""
_LONGEST_METADATA = 4096


@dataclass(frozen=True)
class UploadStatus:
    """How far an upload is."""

    id: str
    offset: int
    """Bytes that are safe on disk."""
    length: int
    expires_at: datetime


def file_name_of(metadata: str) -> str:
    """Return the file name of an `Upload-Metadata` header.

    Raises:
        Invalid: it is malformed or names no file.
    """
    if len(metadata) > _LONGEST_METADATA:
        raise Invalid("Upload-Metadata is too long.")
    found: dict[str, str] = {}
    for pair in metadata.split(",") if metadata else ():
        key, _, value = pair.strip().partition(" ")
        if not key or key in found:
            raise Invalid("Upload-Metadata has an empty or repeated key.")
        found[key] = value.strip()
    try:
        return base64.b64decode(found["filename"], validate=True).decode("utf-8")
    except KeyError:
        raise Invalid("Upload-Metadata must give the `filename`.") from None
    except (binascii.Error, ValueError):
        raise Invalid("The `filename` in Upload-Metadata is not UTF-8 in base 64.") from None


class UploadDesk:
    """Creates, continues, finishes and drops uploads."""

    def __init__(self, store: Store, intake: FileIntake, settings: Settings) -> None:
        self._store = store
        self.intake = intake
        self._settings = settings
        self.partials = Partials(intake.shelves.blobs.uploads)

    def create(self, actor: Actor, request_id: str, length: int, metadata: str) -> UploadStatus:
        """Begin an upload of a file into a request.

        Raises:
            Invalid: length or metadata are malformed, or the name may not cross the boundary.
            TooLarge: the file, or the number of files and open uploads.
            NoSpace: the disk is nearly full.
        """
        if length < 0:
            raise Invalid("Upload-Length cannot be negative.")
        name = file_name_of(metadata)
        upload = Upload(
            id=new_id(), request_id=request_id, name=name, length=length, expires_at=utc_now() + LIFETIME
        )
        self.intake.admit(actor, request_id, name, source=Source.OUTSIDE, size=length)
        self.partials.create(upload.id)
        try:
            # Housekeeping: nothing has crossed yet; the file that it becomes is the audited change.
            with self._store.write(housekeeping=True) as change:
                self.intake.judge(
                    change.session, actor, request_id, name, source=Source.OUTSIDE, size=length, lock=True
                )
                self._require_slot(change.session, request_id)
                change.session.add(upload)
        except BaseException:
            self.partials.drop(upload.id)
            raise
        if length == 0:
            with self.begin(actor, upload.id, 0) as writing:
                writing.finish()
        return UploadStatus(upload.id, 0, length, upload.expires_at)

    def status(self, actor: Actor, upload_id: str) -> UploadStatus:
        """Return how far an upload is; one whose bytes are all there but was cut off before its end is finished.

        Raises:
            NotFound: there is none, or it is not the actor's.
            Gone: it has expired.
        """
        upload = self._reach(actor, upload_id)
        if upload.received == upload.length and upload.file_id is None:
            with self.begin(actor, upload_id, upload.received) as writing:
                writing.finish()
        return _status(upload)

    def begin(self, actor: Actor, upload_id: str, offset: int, declared: int | None = None) -> Writing:
        """Claim an upload for writing from `offset` on.

        Args:
            actor: who sends.
            upload_id: which.
            offset: where the client believes it stands.
            declared: bytes that it is about to send, if it says.

        Raises:
            Conflict: it stands elsewhere.
            InUse: another request is writing it.
            TooLarge: more would come than was announced.
        """
        with ExitStack() as claims:
            claims.enter_context(self.partials.claim(existing_id(upload_id)))
            upload = self._reach(actor, upload_id)
            if upload.file_id is not None or offset != upload.received:
                raise Conflict(
                    f"The upload stands at {upload.received} bytes, not at {offset}.", offset=upload.received
                )
            if declared is not None and offset + declared > upload.length:
                raise TooLarge("That is more than the upload was announced to have.")
            return Writing(self, actor, upload, claims.pop_all())

    def terminate(self, actor: Actor, upload_id: str) -> None:
        """Drop an upload and its bytes.

        Raises:
            InUse: another request is writing it.
        """
        with self.partials.claim(existing_id(upload_id)):
            self._reach(actor, upload_id)
            with self._store.write(housekeeping=True) as change:
                change.session.exec(delete(Upload).where(col(Upload.id) == upload_id))
            self.partials.drop(upload_id)

    def expire(self) -> int:
        """Drop uploads whose time is over; return how many."""
        with self._store.read() as session:
            over = session.exec(select(Upload.id).where(Upload.expires_at < utc_now())).all()
        dropped = 0
        for upload_id in over:
            try:
                with self.partials.claim(upload_id):
                    dropped += self._drop_if_over(upload_id)
            except InUse:
                continue  # it is moving after all
        return dropped

    def recover(self) -> None:
        """Drop bytes that no open upload knows; for the start, before anybody writes."""
        with self._store.read() as session:
            known = set(session.exec(select(Upload.id).where(col(Upload.file_id).is_(None))))
        for name in self.partials.names():
            if name not in known:
                self.partials.drop(name)

    def save(self, upload_id: str, received: int) -> None:
        """Note how many bytes are safe on disk."""
        with self._store.write(housekeeping=True) as change:
            change.session.exec(
                update(Upload)
                .where(col(Upload.id) == upload_id)
                .values(received=received, expires_at=utc_now() + LIFETIME)
            )

    @property
    def stride(self) -> int:
        """Bytes after which a long part is synced and noted."""
        return self._settings.upload_chunk_bytes

    def _drop_if_over(self, upload_id: str) -> int:
        """Drop a claimed upload unless it went on a moment ago; return how many were dropped."""
        with self._store.write(housekeeping=True) as change:
            gone = change.session.exec(
                delete(Upload).where(col(Upload.id) == upload_id, col(Upload.expires_at) < utc_now())
            ).rowcount
        if gone:
            self.partials.drop(upload_id)
        return gone

    def _require_slot(self, session: Session, request_id: str) -> None:
        if open_uploads(session, request_id) >= self._settings.airlock_request_files:
            raise TooLarge(
                f"A request has at most {self._settings.airlock_request_files} uploads at a time.",
                remedy="Finish or remove uploads first.",
            )

    def _reach(self, actor: Actor, upload_id: str) -> Upload:
        with self._store.read() as session:
            upload = session.get(Upload, existing_id(upload_id))
            if upload is None:
                raise NotFound
            reach_request(session, actor, Action.AIRLOCK_UPLOAD, upload.request_id)
            if upload.file_id is None and upload.expires_at <= utc_now():
                raise Gone("This upload has expired.", remedy="Send the file again.")
            return upload


class Writing:
    """One claimed upload being written; leaving it keeps what is safe."""

    def __init__(self, desk: UploadDesk, actor: Actor, upload: Upload, claim: ExitStack) -> None:
        self._desk = desk
        self._actor = actor
        self._upload = upload
        self._claim = claim
        try:
            self._appender = desk.partials.open(upload.id, upload.received)
        except BaseException:
            claim.close()
            raise
        self._saved = upload.received

    @property
    def offset(self) -> int:
        """Bytes that are safe on disk."""
        return self._saved

    def write(self, data: bytes) -> None:
        """Append bytes.

        Raises:
            TooLarge: more came than was announced.
            NoSpace: the disk is full.
        """
        if self._appender.offset + len(data) > self._upload.length:
            raise TooLarge("More came than the upload was announced to have.")
        self._appender.write(data)
        if self._appender.offset - self._saved >= self._desk.stride:
            self._save()

    def finish(self) -> UploadStatus:
        """Make what came safe; the last byte makes the upload a file of the request."""
        self._save()
        upload = self._upload
        if self._saved == upload.length:
            intake = self._desk.intake
            admission = intake.admit(
                self._actor, upload.request_id, upload.name, source=Source.OUTSIDE, size=upload.length
            )
            sha256 = self._appender.hexdigest()

            def put() -> str:
                path = self._desk.partials.path(upload.id)
                intake.shelves.blobs.adopt(path, admission.project_id, BlobClass.DRAFT, sha256)
                return sha256

            intake.take(self._actor, admission, put, upload.length, also=self._became)
            self._desk.partials.drop(upload.id)
        return UploadStatus(upload.id, self._saved, upload.length, utc_now() + LIFETIME)

    def close(self) -> None:
        """Make safe what came, and let others write."""
        try:
            if self._desk.partials.path(self._upload.id).exists():
                self._save()
        finally:
            self._appender.__exit__(None, None, None)
            self._claim.close()

    def _became(self, change: Change, file: AirlockFile) -> None:
        change.session.exec(update(Upload).where(col(Upload.id) == self._upload.id).values(file_id=file.id))
        # An unchanged file writes no record of its own; the upload's end is housekeeping then.
        change.exempt = True

    def _save(self) -> None:
        synced = self._appender.sync()
        if synced != self._saved:
            self._desk.save(self._upload.id, synced)
            self._saved = synced

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _status(upload: Upload) -> UploadStatus:
    return UploadStatus(upload.id, upload.received, upload.length, upload.expires_at)
