"""`/imports` of zones on a cluster: what shall happen is entered, the controller's importer does it, and says so.

Nothing here waits: who asks is told to come again (the release is an outbox handler that can be run again anywhere).
One delivery at a time for each name, so that a later one never overtakes an earlier one.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from enum import Enum
from typing import BinaryIO

from sqlmodel import Session, col, select

from broch_core.blobs import chunks
from broch_core.clock import utc_now
from broch_core.errors import Conflict
from broch_core.lifecycles import ProjectStatus
from broch_core.outbox.worker import PermanentError, TemporaryError
from broch_core.scope import EVERYTHING, find_project
from broch_core.store.unit import Store
from broch_core.tables.projects import Project
from broch_core.tables.zones import DeliveryOp, ZoneDelivery

_SOON = timedelta(minutes=2)
"""How long a delivery is looked for every second; a pod takes a few. Later the outbox's own growing delays do."""
_SOON_SECONDS = 1.0
_OVER = (
    "The project has ended, and no importer reaches its folder of imports any more: it is set aside in the volume with the "
    "label broch.dev/archived-of={}. What is to be done there, an administrator does."
)


class Step(Enum):
    """What is to be done next."""

    DONE = "done"
    WAIT = "wait"
    ENTER = "enter"
    FAILED = "failed"
    """It did, and nobody was told yet."""


def next_step(op: DeliveryOp, sha256: str, last: ZoneDelivery | None) -> Step:
    """Say what is next for one name, by the last delivery that it had. Pure.

    Args:
        op: what is wanted.
        sha256: of the bytes that it is about.
        last: the newest delivery of this project and name, if there is one.
    """
    if last is None:
        return Step.ENTER
    same = last.op is op and last.sha256 == sha256
    if last.failure is None:
        if last.done_at is None:
            return Step.WAIT
        return Step.DONE if same else Step.ENTER
    return Step.FAILED if same and last.done_at is None else Step.ENTER


class ClusterZones:
    """Enters deliveries, and tells how they ended."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def place_import(self, project_id: str, name: str, file: BinaryIO) -> None:
        """Have released bytes put into `/imports`; done already is done.

        Raises:
            TemporaryError: it is on its way.
            Conflict: the name is taken by other bytes; asked again, it is tried again.
        """
        if self._under_way(project_id, name):
            raise self._wait(project_id, name)  # before the bytes are read: that may take a while
        digest, size = hashlib.sha256(), 0
        for data in chunks(file):
            digest.update(data)
            size += len(data)
        if failure := self._go_on(project_id, DeliveryOp.PLACE, name, digest.hexdigest(), size):
            raise Conflict(failure)

    def remove_import(self, project_id: str, name: str, sha256: str) -> None:
        """Have bytes taken out of `/imports` again; done already is done, and other bytes of that name stay.

        Raises:
            TemporaryError: it is on its way.
            PermanentError: it cannot be done; a person must look.
        """
        if failure := self._go_on(project_id, DeliveryOp.REMOVE, name, sha256, 0):
            raise PermanentError(failure)

    def _go_on(self, project_id: str, op: DeliveryOp, name: str, sha256: str, size: int) -> str | None:
        """Take the next step; return why it failed, if it did.

        Raises:
            TemporaryError: it is on its way.
        """
        # Housekeeping: the record of the release, or of the recall, is what this follows from.
        with self._store.write(housekeeping=True) as change:
            session = change.session
            project = find_project(
                session, EVERYTHING, project_id, lock=True
            )  # two at once would both enter it
            last = _last(session, project_id, name)
            step = next_step(op, sha256, last)
            if step is Step.DONE:
                return None
            if _is_over(project):
                return _OVER.format(project_id.lower())
            if step is Step.ENTER:
                session.add(ZoneDelivery(project_id=project_id, op=op, name=name, sha256=sha256, size=size))
            if step is Step.FAILED and last is not None:
                last.done_at = utc_now()  # told: who asks again wants it tried again
                session.add(last)
                return last.failure
        raise self._wait(project_id, name)

    def _under_way(self, project_id: str, name: str) -> bool:
        with self._store.read() as session:
            last = _last(session, project_id, name)
            over = _is_over(find_project(session, EVERYTHING, project_id))
        return last is not None and last.done_at is None and last.failure is None and not over

    def _wait(self, project_id: str, name: str) -> TemporaryError:
        with self._store.read() as session:
            last = _last(session, project_id, name)
        soon = last is None or utc_now() - last.created_at < _SOON
        return TemporaryError("the zone has not confirmed it yet", _SOON_SECONDS if soon else None)


def _is_over(project: Project) -> bool:
    return project.status is ProjectStatus.ENDED or project.ends_on < utc_now().date()


def _last(session: Session, project_id: str, name: str) -> ZoneDelivery | None:
    return session.exec(
        select(ZoneDelivery)
        .where(ZoneDelivery.project_id == project_id, ZoneDelivery.name == name)
        .order_by(col(ZoneDelivery.created_at).desc(), col(ZoneDelivery.id).desc())
        .limit(1)
    ).first()
