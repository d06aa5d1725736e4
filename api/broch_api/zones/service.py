"""Answers the controller, and remembers what it says."""

from __future__ import annotations

import threading
import time
from collections import Counter
from datetime import datetime

from sqlmodel import col, select

from broch_api.revocations.confirming import take_sight
from broch_api.zones.specs import ZoneDefaults, read_facts, spec_of, whole
from broch_core.actions import Action
from broch_core.actors import SYSTEM
from broch_core.audit.record import AuditSubject
from broch_core.clock import utc_now
from broch_core.errors import Conflict, NotFound
from broch_core.revocations import Sight
from broch_core.store.unit import Change, Store
from broch_core.tables.datasets import DatasetVersion, Grant
from broch_core.tables.people import Person
from broch_core.tables.projects import Membership, Project
from broch_core.tables.revocations import Revocation
from broch_core.tables.zones import Zone, ZoneDelivery, ZonePhase
from broch_core.web.texts import hidden_character
from broch_workspaces.cluster.spec import ZoneReport, ZoneSpec, ZoneSpecs

LONGEST_WAIT = 30.0
"""Seconds that a question may wait for a change."""
_LOOK_SECONDS = 5.0
"""How often rights that end by themselves are looked at while nobody changes anything."""
_MADE_OF = (Project, Membership, Grant, DatasetVersion, Person, ZoneDelivery, Revocation)
"""Starts are not among them: one that begins is listed by the next look, and one that loses its right is a revocation."""


class ZoneRegister:
    """Desired and reported state of all zones."""

    def __init__(self, store: Store, defaults: ZoneDefaults) -> None:
        self._store = store
        self._defaults = defaults
        self._changed = threading.Condition()
        self.asked_at: datetime | None = None
        """When the controller last asked."""
        for table in _MADE_OF:
            store.after_commit(str(table.__tablename__), self._wake)

    def specs(self, now: datetime | None = None) -> ZoneSpecs:
        """Return what every zone shall be, less those that ended, are gone, and of which nothing is waited for."""
        now = now or utc_now()
        with self._store.read() as session:
            gone = set(session.exec(select(Zone.project_id).where(Zone.phase == ZonePhase.GONE)))
            facts = read_facts(session, now)
        specs = (spec_of(one, self._defaults, now) for one in facts)
        return whole(
            spec for spec in specs if spec.state != "ended" or spec.project_id not in gone or spec.revocations
        )

    def wait(self, after: str, seconds: float) -> ZoneSpecs:
        """Return the desired state once its digest is another than `after`; after `seconds` its digest alone."""
        self.asked_at = utc_now()
        ends = time.monotonic() + min(seconds, LONGEST_WAIT)
        while True:
            found = self.specs()
            left = ends - time.monotonic()
            if found.digest != after:
                return found
            if left <= 0:
                return ZoneSpecs(digest=after, items=())
            with self._changed:
                self._changed.wait(min(left, _LOOK_SECONDS))

    def spec(self, project_id: str) -> ZoneSpec:
        """Return what one zone shall be.

        Raises:
            NotFound: the project has none.
        """
        now = utc_now()
        with self._store.read() as session:
            found = read_facts(session, now, project_id)
        if not found:
            raise NotFound
        return spec_of(found[0], self._defaults, now)

    def lacks(self, project_id: str) -> str | None:
        """Return what a workspace has to wait for: the zone as it shall be now, confirmed. Nothing when it is there.

        Raises:
            Conflict: it cannot be made, with the reason.
        """
        digest = self.spec(project_id).digest()
        with self._store.read() as session:
            zone = session.get(Zone, project_id)
        if zone is None or zone.digest != digest:
            return "The project's zone is being made."
        if zone.phase is ZonePhase.FAILED:
            raise Conflict(
                f"The project's zone could not be made: {zone.message}", remedy="Ask a platform admin."
            )
        return None if zone.phase is ZonePhase.READY else "The project's zone is being made."

    def overview(self) -> tuple[dict[str, int], list[str]]:
        """Return how many zones are in each phase, and whose could not be made or has an import that waits, and why."""
        with self._store.read() as session:
            rows = session.exec(
                select(Zone, Project.slug)
                .join(Project, col(Project.id) == Zone.project_id)
                .order_by(Project.slug)
            ).all()
        phases = Counter(zone.phase.value for zone, _ in rows if zone.phase is not ZonePhase.GONE)
        return dict(phases), [
            f"{slug}: {zone.message}"
            for zone, slug in rows
            if zone.phase is ZonePhase.FAILED or (zone.phase is ZonePhase.READY and zone.message)
        ]

    def report(self, project_id: str, report: ZoneReport) -> bool:
        """Take the controller's word about one zone; return whether it is new.

        Raises:
            NotFound: there is no such project.
        """
        now = utc_now()
        phase = ZonePhase(report.phase.value)
        message = "".join("\N{REPLACEMENT CHARACTER}" if hidden_character(c) else c for c in report.message)
        with self._store.write(housekeeping=True) as change:
            if change.session.get(Project, project_id) is None:
                raise NotFound
            zone = change.session.get(Zone, project_id, with_for_update=True)
            before = (zone.phase, zone.digest, zone.message) if zone else None
            zone = zone or Zone(project_id=project_id)
            zone.phase, zone.digest, zone.message, zone.seen_at = phase, report.digest, message, now
            if phase is ZonePhase.READY and (before is None or before[0] is not phase):
                zone.ready_at = now
            change.session.add(zone)
            delivered = _settle_deliveries(change, project_id, report, now)
            sight = Sight(report.pods, report.volumes)
            seen = take_sight(change, project_id, report.after, sight, now)
            changed = before != (zone.phase, zone.digest, zone.message)
            if changed:
                change.audit(
                    SYSTEM,
                    Action.ZONE_REPORT,
                    AuditSubject("zone", project_id, project_id),
                    facts={"phase": phase.value, "digest": report.digest},
                    personal={"message": message} if message else None,
                )
        return changed or delivered or seen

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()


def _settle_deliveries(change: Change, project_id: str, report: ZoneReport, now: datetime) -> bool:
    named = [*report.delivered, *report.undelivered]
    rows = change.session.exec(
        select(ZoneDelivery).where(
            ZoneDelivery.project_id == project_id,
            col(ZoneDelivery.id).in_(named),
            col(ZoneDelivery.done_at).is_(None),
            col(ZoneDelivery.failure).is_(None),
        )
    ).all()
    for row in rows:
        failure = report.undelivered.get(row.id)
        if failure is None:
            row.done_at = now
        else:
            row.failure = failure[:500] or "It could not be placed."
        change.session.add(row)
        change.audit(
            SYSTEM,
            Action.ZONE_REPORT,
            AuditSubject("zone_delivery", row.id, project_id),
            facts={"op": row.op.value, "sha256": row.sha256, "done": failure is None},
        )
    return bool(rows)
