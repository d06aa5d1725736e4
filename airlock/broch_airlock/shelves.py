"""Which class the bytes of requests lie in, and when they may leave it.

Within a project two requests may hold the same bytes, so nothing is moved: bytes are copied to the next class (a link
on one machine) and leave the one before when no request needs them there. A lock per project keeps "place the bytes,
then write the row" and "nobody needs them, so delete" apart; one process owns the blobs (architecture).
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlmodel import col, select

from broch_airlock.tables import AirlockFile, AirlockRequest
from broch_core import faults
from broch_core.blobs import BlobClass, FolderBlobs
from broch_core.errors import NotFound
from broch_core.lifecycles import AirlockStatus as Status
from broch_core.store.unit import Store

NEEDED_IN: dict[BlobClass, frozenset[Status]] = {
    BlobClass.DRAFT: frozenset({Status.DRAFT, Status.SUBMITTED, Status.CHECKING, Status.RETURNED}),
    BlobClass.HELD: frozenset(
        {
            Status.RETURNED,
            Status.SUBMITTED,
            Status.CHECKING,
            Status.IN_REVIEW,
            Status.APPROVED,
            Status.RELEASING,
            Status.FAILED,
        }
    ),
    BlobClass.QUARANTINED: frozenset({Status.QUARANTINED}),
}
"""States in which a request needs its bytes in a class. Released bytes go by their retention alone."""


class Shelves:
    """The bytes of requests by class."""

    def __init__(self, store: Store, blobs: FolderBlobs) -> None:
        self._store = store
        self.blobs = blobs
        self._locks: defaultdict[str, threading.RLock] = defaultdict(threading.RLock)
        self._guard = threading.Lock()

    @contextmanager
    def steady(self, project_id: str) -> Iterator[None]:
        """Keep everybody else from deleting bytes of the project."""
        with self._guard:
            lock = self._locks[project_id]
        with lock:
            yield

    def locate(self, project_id: str, sha256: str) -> BlobClass:
        """Return where bytes of a request that is not yet released lie.

        Raises:
            NotFound: they are gone.
        """
        for class_ in (BlobClass.DRAFT, BlobClass.HELD):
            if self.blobs.path(project_id, class_, sha256).exists():
                return class_
        raise NotFound("The bytes of this file are no longer kept.")

    def path(self, project_id: str, sha256: str) -> Path:
        """Return the path of bytes that are to be checked.

        Raises:
            NotFound: they are gone.
        """
        return self.blobs.path(project_id, self.locate(project_id, sha256), sha256)

    def shelve(self, project_id: str, sha256: str, target: BlobClass) -> None:
        """Put bytes of a request into `target` too; done already is done.

        Raises:
            NotFound: they are gone.
        """
        if not self.blobs.path(project_id, target, sha256).exists():
            self.blobs.copy(project_id, sha256, self.locate(project_id, sha256), target)

    def tidy(self, project_id: str, sha256: str) -> None:
        """Delete bytes from the classes in which no request needs them; call it after the change is committed."""
        with self.steady(project_id):
            for class_, states in NEEDED_IN.items():
                if not self._needed(project_id, sha256, states):
                    self.blobs.delete(project_id, class_, sha256)

    def place(self, project_id: str, put: Callable[[], str], record: Callable[[str], None]) -> None:
        """Make bytes durable by `put`, which returns their SHA-256, then `record` them; nothing stays when that fails."""
        with self.steady(project_id):
            sha256 = put()
            try:
                faults.point("shelf.put")
                record(sha256)
            except BaseException:
                self.tidy(project_id, sha256)
                raise

    def _needed(self, project_id: str, sha256: str, states: frozenset[Status]) -> bool:
        with self._store.read() as session:
            found = session.exec(
                select(AirlockFile.id)
                .join(AirlockRequest, col(AirlockRequest.id) == AirlockFile.request_id)
                .where(
                    AirlockRequest.project_id == project_id,
                    AirlockFile.sha256 == sha256,
                    col(AirlockRequest.status).in_(states),
                )
                .limit(1)
            ).first()
        return found is not None
