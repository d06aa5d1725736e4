"""The audit log for people who answer for the platform."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlmodel import Session, col, func, or_, select

from broch_api.audit.schemas import (
    AuditRecordView,
    CheckpointView,
    ProofView,
    RecordFilter,
    VerifyView,
)
from broch_core.actions import Action
from broch_core.actors import Actor
from broch_core.audit.log import AuditLog
from broch_core.audit.record import AuditSubject
from broch_core.audit.tables import AuditPersonal, AuditRecord
from broch_core.clock import utc_now
from broch_core.rules import Resource, require
from broch_core.store.unit import Store
from broch_core.tables.people import Person
from broch_core.tables.projects import Project
from broch_core.web.paging import Page, page_of

_PIECE = 500
HOURS = 24
"""How far back the chart looks."""


class AuditDesk:
    """Shows, exports, proves and verifies."""

    def __init__(self, store: Store, log: AuditLog) -> None:
        self._store = store
        self._log = log

    def records(
        self, actor: Actor, wanted: RecordFilter, *, before: str | None, limit: int
    ) -> Page[AuditRecordView]:
        """Return records, newest first.

        Raises:
            Denied: the actor is no platform admin.
        """
        require(actor, Action.AUDIT_READ)
        with self._store.read() as session:
            rows = _records(session, wanted, before=before, limit=limit + 1)
            return page_of(rows, limit, lambda row: AuditRecordView.of(*row), lambda row: row[0].id)

    def export(self, actor: Actor, wanted: RecordFilter) -> Iterator[bytes]:
        """Return records as JSON lines, newest first; that they were taken away is a record itself.

        Raises:
            Denied: the actor is no platform admin.
        """
        require(actor, Action.AUDIT_READ)
        facts = {name: str(value) for name, value in vars(wanted).items() if value is not None}
        with self._store.write() as change:
            change.audit(
                actor.person_id,
                Action.AUDIT_READ,
                AuditSubject("audit_log"),
                facts={"export": True},
                personal=facts or None,
            )
        return self._lines(wanted)

    def checkpoint(self, actor: Actor) -> CheckpointView:
        """Return the newest signed checkpoint.

        Raises:
            Denied: the actor is no platform admin.
        """
        require(actor, Action.AUDIT_READ)
        return CheckpointView(origin=self._log.origin, note=self._log.latest())

    def proof(self, actor: Actor, record_id: str) -> ProofView:
        """Prove that a record is in the log.

        Raises:
            Denied: the actor is no platform admin.
            NotFound: there is no such record.
            Conflict: it has no number yet.
        """
        require(actor, Action.AUDIT_READ, Resource("audit_record", record_id))
        return ProofView.of(self._log.proof(record_id))

    def verify(self, actor: Actor) -> VerifyView:
        """Recompute the whole log from its records, and record what came of it.

        Raises:
            Denied: the actor is no platform admin.
        """
        require(actor, Action.AUDIT_VERIFY)
        result = self._log.verify()
        with self._store.write() as change:
            change.audit(
                actor.person_id,
                Action.AUDIT_VERIFY,
                AuditSubject("audit_log"),
                facts={"ok": result.ok, "size": result.size, "first_bad": result.first_bad},
            )
        return VerifyView.of(result)

    def per_hour(self, actor: Actor) -> Sequence[tuple[str, int]]:
        """Return how many records each of the last 24 hours brought, oldest first, named by its beginning in UTC.

        Raises:
            Denied: the actor is no platform admin.
        """
        require(actor, Action.AUDIT_READ)
        last = utc_now().replace(minute=0, second=0, microsecond=0)
        hours = [last - timedelta(hours=back) for back in reversed(range(HOURS))]
        with self._store.read() as session:
            return [(f"{hour:%H:00}", _count(session, hour)) for hour in hours]

    def _lines(self, wanted: RecordFilter) -> Iterator[bytes]:
        before: str | None = None
        while True:
            with self._store.read() as session:
                rows = _records(session, wanted, before=before, limit=_PIECE)
            for row in rows:
                yield AuditRecordView.of(*row).model_dump_json().encode() + b"\n"
            if len(rows) < _PIECE:
                return
            before = rows[-1][0].id


def _count(session: Session, hour: datetime) -> int:
    return session.exec(
        select(func.count())
        .select_from(AuditRecord)
        .where(AuditRecord.at >= hour, AuditRecord.at < hour + timedelta(hours=1))
    ).one()


def _conditions(wanted: RecordFilter) -> list[Any]:
    conditions: list[Any] = []
    if wanted.actor is not None:
        named = select(Person.id).where(Person.handle == wanted.actor)
        conditions.append(
            or_(col(AuditRecord.actor_id) == wanted.actor, col(AuditRecord.actor_id).in_(named))
        )
    if wanted.project is not None:
        called = select(Project.id).where(Project.slug == wanted.project)
        conditions.append(
            or_(col(AuditRecord.project_id) == wanted.project, col(AuditRecord.project_id).in_(called))
        )
    if wanted.action is not None:
        conditions.append(AuditRecord.action == wanted.action)
    if wanted.outcome is not None:
        conditions.append(AuditRecord.outcome == wanted.outcome)
    if wanted.since is not None:
        conditions.append(AuditRecord.at >= _aware(wanted.since))
    if wanted.until is not None:
        conditions.append(AuditRecord.at < _aware(wanted.until))
    return conditions


def _aware(moment: datetime) -> datetime:
    """Read a moment without a zone as UTC, as forms send it."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _records(
    session: Session, wanted: RecordFilter, *, before: str | None, limit: int
) -> Sequence[tuple[AuditRecord, AuditPersonal | None, str | None, str | None]]:
    query = (
        select(AuditRecord, AuditPersonal, Person.handle, Project.slug)
        .join(AuditPersonal, col(AuditPersonal.record_id) == AuditRecord.id, isouter=True)
        .join(Person, col(Person.id) == AuditRecord.actor_id, isouter=True)
        .join(Project, col(Project.id) == AuditRecord.project_id, isouter=True)
        .where(*_conditions(wanted))
        .order_by(col(AuditRecord.id).desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(AuditRecord.id < before)
    return session.exec(query).all()
