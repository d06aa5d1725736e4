"""The audit log for people who answer for the platform."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlmodel import Session, col, func, or_, select

from broch_api.audit.schemas import (
    AuditRecordView,
    CheckpointPage,
    CheckpointView,
    ConsistencyView,
    ProofView,
    RecordFilter,
    SignedCheckpoint,
    VerifyView,
)
from broch_core.actions import Action
from broch_core.actors import Actor
from broch_core.audit.log import AuditLog
from broch_core.audit.record import AuditSubject
from broch_core.audit.tables import AuditCheckpoint, AuditPersonal, AuditRecord
from broch_core.audit.verification import verify_database
from broch_core.clock import utc_now
from broch_core.errors import Invalid
from broch_core.proof import InvalidProof
from broch_core.rules import Resource, require
from broch_core.store.unit import Store
from broch_core.tables.people import Person
from broch_core.tables.projects import Project
from broch_core.web.paging import Page, page_of

HOURS = 24
"""How far back the chart looks."""


class AuditDesk:
    """Shows, proves and verifies."""

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
            rows = joined_records(session, wanted, before=before, limit=limit + 1)
            return page_of(rows, limit, lambda row: AuditRecordView.of(*row), lambda row: row[0].id)

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

    def checkpoints(self, actor: Actor, *, below: int | None, limit: int) -> CheckpointPage:
        """Return signed checkpoints, newest first.

        Raises:
            Denied: the actor is no platform admin.
        """
        require(actor, Action.AUDIT_READ)
        query = select(AuditCheckpoint).order_by(col(AuditCheckpoint.size).desc()).limit(limit)
        if below is not None:
            query = query.where(AuditCheckpoint.size < below)
        with self._store.read() as session:
            rows = session.exec(query).all()
        items = [SignedCheckpoint(size=row.size, at=row.at, note=row.note) for row in rows]
        return CheckpointPage(items=items, next=items[-1].size if len(items) == limit else None)

    def consistency(self, actor: Actor, old: int, new: int) -> ConsistencyView:
        """Prove that the log of `new` records continues the one of `old`.

        Raises:
            Denied: the actor is no platform admin.
            Invalid: the log never had these sizes.
        """
        require(actor, Action.AUDIT_READ)
        try:
            hashes = self._log.consistency(old, new)
        except InvalidProof as error:
            raise Invalid(
                str(error), remedy="Name two sizes that the log had, the older one first."
            ) from error
        return ConsistencyView(old=old, new=new, hashes=[b64encode(node).decode() for node in hashes])

    def verify(self, actor: Actor, trusted: str | None = None) -> VerifyView:
        """Recompute the whole log from its records, and record what came of it.

        Args:
            actor: who asks.
            trusted: a checkpoint that was kept elsewhere; the log has to continue it.

        Raises:
            Denied: the actor is no platform admin.
        """
        require(actor, Action.AUDIT_VERIFY)
        result = verify_database(
            self._store.engine, self._log.keys.trust(), trusted=trusted, live_at=utc_now()
        )
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


def _count(session: Session, hour: datetime) -> int:
    return session.exec(
        select(func.count())
        .select_from(AuditRecord)
        .where(AuditRecord.at >= hour, AuditRecord.at < hour + timedelta(hours=1))
    ).one()


def conditions(wanted: RecordFilter) -> list[Any]:
    """Return the conditions of a filter."""
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


def joined_records(
    session: Session, wanted: RecordFilter, *, before: str | None, limit: int
) -> Sequence[tuple[AuditRecord, AuditPersonal | None, str | None, str | None]]:
    """Return records with their texts, the handle of who acted and the slug of the project, newest first."""
    query = (
        select(AuditRecord, AuditPersonal, Person.handle, Project.slug)
        .join(AuditPersonal, col(AuditPersonal.record_id) == AuditRecord.id, isouter=True)
        .join(Person, col(Person.id) == AuditRecord.actor_id, isouter=True)
        .join(Project, col(Project.id) == AuditRecord.project_id, isouter=True)
        .where(*conditions(wanted))
        .order_by(col(AuditRecord.id).desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(AuditRecord.id < before)
    return session.exec(query).all()
