"""Taking the log away, record by record, in constant memory. That it was taken is a record itself."""

from __future__ import annotations

import json
from collections.abc import Iterator

from sqlmodel import col, select

from broch_api.audit.ocsf import ocsf_event
from broch_api.audit.schemas import AuditRecordView, ExportFormat, RecordFilter
from broch_api.audit.service import conditions, joined_records
from broch_core.actions import Action
from broch_core.actors import Actor
from broch_core.audit.exports.sources import DatabaseSource
from broch_core.audit.log import AuditLog
from broch_core.audit.record import AuditSubject
from broch_core.audit.tables import AuditCheckpoint, AuditRecord
from broch_core.errors import Invalid
from broch_core.rules import require
from broch_core.store.unit import Store

_PIECE = 500


class AuditExports:
    """Streams of records."""

    def __init__(self, store: Store, log: AuditLog) -> None:
        self._store = store
        self._log = log

    def stream(
        self, actor: Actor, wanted: RecordFilter, form: ExportFormat, first: int | None, end: int | None
    ) -> Iterator[bytes]:
        """Return records, one a line.

        Args:
            actor: who takes them.
            wanted: which; not for leaves, which come whole.
            form: how they are written.
            first: number to begin with; for OCSF and leaves, so that a collector goes on where it was.
            end: number before which to stop, for leaves.

        Raises:
            Denied: the actor is no platform admin.
            Invalid: form, filter and numbers do not go together.
        """
        require(actor, Action.AUDIT_READ)
        facts = {name: str(value) for name, value in vars(wanted).items() if value is not None}
        if form is ExportFormat.LEAVES and facts:
            raise Invalid("Leaves come whole.", remedy="Leave the filters away, or ask for another format.")
        if (form is ExportFormat.RECORDS and first is not None) or (
            form is not ExportFormat.LEAVES and end is not None
        ):
            raise Invalid(
                "This format takes no numbers.", remedy="Filter by time, or ask for OCSF or leaves."
            )
        with self._store.write() as change:
            change.audit(
                actor.person_id,
                Action.AUDIT_READ,
                AuditSubject("audit_log"),
                facts={"export": str(form)} | ({} if first is None else {"first": first}),
                personal=facts or None,
            )
        if form is ExportFormat.RECORDS:
            return self._views(wanted)
        if form is ExportFormat.OCSF:
            return self._events(wanted, first or 0)
        return self._leaves(first or 0, end)

    def _views(self, wanted: RecordFilter) -> Iterator[bytes]:
        before: str | None = None
        while True:
            with self._store.read() as session:
                rows = joined_records(session, wanted, before=before, limit=_PIECE)
            for row in rows:
                yield AuditRecordView.of(*row).model_dump_json().encode() + b"\n"
            if len(rows) < _PIECE:
                return
            before = rows[-1][0].id

    def _events(self, wanted: RecordFilter, first: int) -> Iterator[bytes]:
        query = select(AuditRecord).where(*conditions(wanted)).order_by(col(AuditRecord.seq)).limit(_PIECE)
        while True:
            with self._store.read() as session:
                rows = session.exec(query.where(col(AuditRecord.seq) >= first)).all()
            for record in rows:
                yield json.dumps(ocsf_event(record, self._log.origin), separators=(",", ":")).encode() + b"\n"
            if len(rows) < _PIECE:
                return
            first = (rows[-1].seq or 0) + 1

    def _leaves(self, first: int, end: int | None) -> Iterator[bytes]:
        with self._store.read() as session:
            size = session.exec(
                select(AuditCheckpoint.size).order_by(col(AuditCheckpoint.size).desc()).limit(1)
            ).first()
        last = min(size or 0, end if end is not None else size or 0)
        for leaf in DatabaseSource(self._store.engine).leaves(first, last):
            yield leaf + b"\n"
