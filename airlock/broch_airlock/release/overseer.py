"""What a platform admin does with releases: see them, try a failed one again, recall one.

An admin sees no names, no content and no decisions: ids, states, counts and times only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import func
from sqlmodel import Session, col, select

from broch_airlock.facts import audit_move, files_of, find_request, reach_request
from broch_airlock.release.schemas import RecallNew, ReleaseEntry
from broch_airlock.release.service import RELEASE_DEADLINE, Zones
from broch_airlock.tables import AirlockFile, AirlockRequest, Direction, Recall, Release
from broch_core.actions import Action
from broch_core.actors import Actor
from broch_core.clock import utc_now
from broch_core.lifecycles import AIRLOCK, AirlockEvent, AirlockStatus
from broch_core.proof import KeyFolder, Purpose, RecallList
from broch_core.rules import require
from broch_core.scope import EVERYTHING
from broch_core.store.unit import Store
from broch_core.tables.projects import Project
from broch_core.web.paging import Page

_SHOWN = (
    AirlockStatus.RELEASING,
    AirlockStatus.FAILED,
    AirlockStatus.RELEASED,
    AirlockStatus.RECALLED,
)


class ReleaseOverseer:
    """Lists, retries and recalls releases."""

    def __init__(self, store: Store, keys: KeyFolder, zones: Zones, origin: str) -> None:
        self._store = store
        self._keys = keys
        self._zones = zones
        self._origin = origin

    def list(self, actor: Actor, *, before: str | None, limit: int) -> Page[ReleaseEntry]:
        """Return requests that are released, recalled, on their way or failed; newest first."""
        require(actor, Action.AIRLOCK_OVERSEE)
        query = select(AirlockRequest).where(col(AirlockRequest.status).in_(_SHOWN))
        if before is not None:
            query = query.where(AirlockRequest.id < before)
        with self._store.read() as session:
            rows = session.exec(query.order_by(col(AirlockRequest.id).desc()).limit(limit + 1)).all()
            shown = rows[:limit]
            entries = [_entry(session, row) for row in shown]
        return Page(items=entries, next=shown[-1].id if len(rows) > limit else None)

    def retry(self, actor: Actor, request_id: str) -> ReleaseEntry:
        """Try a failed release again. What was recorded of it stays; it is never recorded twice.

        Raises:
            NotFound: there is no such request, or the actor may not know that there is.
            Conflict: it has not failed.
        """
        with self._store.write() as change:
            request = reach_request(change.session, actor, Action.AIRLOCK_RETRY, request_id, lock=True)
            deadline = utc_now() + RELEASE_DEADLINE
            change.advance(AIRLOCK, request, AirlockEvent.RETRY, message=None, check_deadline=deadline)
            audit_move(change, actor.person_id, Action.AIRLOCK_RETRY, request)
            change.later(
                "airlock.release",
                f"airlock.release:{request.id}:retry:{request.version}",
                {"request_id": request.id},
            )
            return _entry(change.session, request)

    def recall(self, actor: Actor, request_id: str, body: RecallNew) -> ReleaseEntry:
        """End a release: no more downloads, imports are taken back, and the list of recalls names it.

        Raises:
            NotFound: there is no such request, or the actor may not know that there is.
            Conflict: it is not released.
        """
        with self._store.write() as change:
            session = change.session
            request = reach_request(session, actor, Action.AIRLOCK_RECALL, request_id, lock=True)
            AIRLOCK.after(request.status, AirlockEvent.RECALL)
            release = session.exec(select(Release).where(Release.request_id == request.id)).one()
            facts = {"status": AirlockStatus.RECALLED.value, "turn": request.turn, "release": release.id}
            record = audit_move(
                change,
                actor.person_id,
                Action.AIRLOCK_RECALL,
                request,
                facts=facts,
                personal={"reason": body.reason},
            )
            session.flush()
            session.add(Recall(release_id=release.id, record_id=record))
            change.advance(AIRLOCK, request, AirlockEvent.RECALL, message=f"Recalled: {body.reason}")
            change.later("airlock.recall", f"airlock.recall:{request.id}", {"request_id": request.id})
            return _entry(session, request)

    def require(self, actor: Actor, request_id: str) -> None:
        """Raise unless the actor may recall this release, whatever its state."""
        with self._store.read() as session:
            reach_request(session, actor, Action.AIRLOCK_RECALL, request_id)

    def take_back(self, payload: Mapping[str, Any]) -> None:
        """Take the files of a recalled import out of `/imports`; the handler of `airlock.recall`, done already is done."""
        with self._store.read() as session:
            request = find_request(session, EVERYTHING, str(payload["request_id"]))
            files = files_of(session, request.id)
        if request.status is AirlockStatus.RECALLED and request.direction is Direction.INGRESS:
            for file in files:
                self._zones.remove_import(request.project_id, file.name, file.sha256)

    def recalls(self) -> str:
        """Return the signed list of all recalls up to now, for `broch verify`. It holds opaque ids alone."""
        at = utc_now()
        with self._store.read() as session:
            rows = session.exec(select(Recall).order_by(col(Recall.at), col(Recall.release_id))).all()
        listed = RecallList(self._origin, at, {row.release_id: row.at for row in rows})
        return listed.sign([self._keys.signer(Purpose.STATEMENT, at)])


def _entry(session: Session, request: AirlockRequest) -> ReleaseEntry:
    project = session.get_one(Project, request.project_id)
    release = session.exec(select(Release).where(Release.request_id == request.id)).first()
    recall = session.get(Recall, release.id) if release else None
    files = session.exec(
        select(func.count()).select_from(AirlockFile).where(AirlockFile.request_id == request.id)
    ).one()
    events = AIRLOCK.events(request.status)
    return ReleaseEntry(
        id=request.id,
        project=project.name,
        direction=request.direction,
        status=request.status,
        files=files,
        release=release.id if release else None,
        released_at=release.at if release else None,
        recalled_at=recall.at if recall else None,
        message=request.message,
        may_retry=AirlockEvent.RETRY in events,
        may_recall=AirlockEvent.RECALL in events,
    )
