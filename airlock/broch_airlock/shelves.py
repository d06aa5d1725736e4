"""Which class the bytes of requests lie in, and when they may leave it.

Within a project two requests may hold the same bytes, so nothing is moved: bytes are copied to the next class (a link
on one machine) and leave the one before when no request needs them there. A lock per project keeps "place the bytes,
then write the row" and "nobody needs them, so delete" apart; one process owns the blobs (architecture).
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

import structlog
from sqlmodel import col, select

from broch_airlock.tables import AirlockFile, AirlockRequest, Deletion
from broch_core import faults
from broch_core.blobs import BlobClass, Blobs
from broch_core.errors import DomainError, NotFound
from broch_core.ids import new_id
from broch_core.lifecycles import AirlockStatus as Status
from broch_core.store.unit import Change, Store

log = structlog.get_logger()

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
_RELEASED = frozenset({Status.RELEASING, Status.RELEASED, Status.RECALLED})
_QUERY = 500
"""Digests in one query."""


TIDY = "airlock.tidy"


def tidy_later(change: Change, project_id: str, sha256: str) -> None:
    """Have bytes tidied after this change, however often that fails: afterwards no row may name them any more."""
    change.later(TIDY, f"{TIDY}:{new_id()}", {"project_id": project_id, "sha256": sha256})


class Shelves:
    """The bytes of requests by class."""

    def __init__(self, store: Store, blobs: Blobs) -> None:
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
            if self.blobs.exists(project_id, class_, sha256):
                return class_
        raise NotFound("The bytes of this file are no longer kept.")

    def local(self, project_id: str, sha256: str) -> AbstractContextManager[Path]:
        """Show bytes that are to be checked as a file, for as long as the context lasts.

        Raises:
            NotFound: they are gone.
        """
        return self.blobs.local(project_id, self.locate(project_id, sha256), sha256)

    def shelve(
        self, project_id: str, sha256s: Iterable[str], target: BlobClass, *, missing_ok: bool = False
    ) -> None:
        """Put bytes of a request into `target` too; done already is done.

        Raises:
            NotFound: some are gone.
        """
        sources: dict[str, BlobClass] = {}
        for sha256 in sha256s:
            if not self.blobs.exists(project_id, target, sha256):
                with suppress(NotFound) if missing_ok else nullcontext():
                    sources[sha256] = self.locate(project_id, sha256)
        self.blobs.copy(project_id, sources, target)

    def tidy(self, project_id: str, *sha256s: str) -> None:
        """Delete bytes from the classes in which no request needs them; call it after the change is committed."""
        with self.steady(project_id):
            states_of = self._states_of(project_id, sha256s)
            for class_, needing in NEEDED_IN.items():
                unneeded = [sha256 for sha256 in sha256s if needing.isdisjoint(states_of[sha256])]
                self.blobs.delete(project_id, class_, *unneeded)

    def tidy_now(self, project_id: str, sha256: str) -> None:
        """Tidy where the change that made it needful has asked for it (`tidy_later`): what fails now is done later."""
        try:
            self.tidy(project_id, sha256)
        except (DomainError, OSError) as error:
            log.warning("shelves.tidied_later", project=project_id, reason=str(error))

    def erase(self, project_id: str, sha256s: Sequence[str]) -> set[str]:
        """Delete bytes whose retention is over, released ones too, wherever no request needs them.

        Returns:
            Those that are gone; the others some other request of the project needs in some class.
        """
        with self.steady(project_id):
            states_of = self._states_of(project_id, sha256s)
            gone = set(sha256s)
            for class_, needing in {**NEEDED_IN, BlobClass.RELEASED: _RELEASED}.items():
                unneeded = [sha256 for sha256 in sha256s if needing.isdisjoint(states_of[sha256])]
                self.blobs.delete(project_id, class_, *unneeded)
                gone &= set(unneeded)
        return gone

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

    def _states_of(self, project_id: str, sha256s: Sequence[str]) -> Mapping[str, set[Status]]:
        """Return the states of the project's requests that hold these bytes."""
        found: defaultdict[str, set[Status]] = defaultdict(set)
        with self._store.read() as session:
            for start in range(0, len(sha256s), _QUERY):
                rows = session.exec(
                    select(AirlockFile.sha256, AirlockRequest.status)
                    .join(AirlockRequest, col(AirlockRequest.id) == AirlockFile.request_id)
                    .where(
                        AirlockRequest.project_id == project_id,
                        col(AirlockFile.sha256).in_(sha256s[start : start + _QUERY]),
                        # what retention ended needs nothing any more
                        col(AirlockRequest.id).not_in(select(Deletion.request_id)),
                    )
                    .distinct()
                )
                for sha256, status in rows:
                    found[sha256].add(Status(status))
        return found
