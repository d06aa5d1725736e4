"""Asking every part, and saying the result in the form that each reader needs."""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from pydantic import BaseModel, Field
from sqlmodel import col, func, select

from broch_api.revocations.service import counts as revocation_counts
from broch_api.status.parts import HealthPart, PartHealth, name_of
from broch_core.actions import Action
from broch_core.actors import Actor
from broch_core.audit.log import AuditLog
from broch_core.clock import utc_now
from broch_core.errors import NotFound
from broch_core.lifecycles import WorkspaceStatus
from broch_core.outbox.tables import OutboxEntry
from broch_core.rules import require
from broch_core.settings import Settings
from broch_core.store.unit import Store
from broch_core.tables.workspaces import Workspace

log = structlog.get_logger()

LATE_SECONDS = 5.0
"""A record waits a second for its number; from this age on something is wrong."""


class PartView(BaseModel):
    """How one part is doing."""

    name: str = Field(examples=["hub"])
    title: str = Field(examples=["Workspace hub"])
    ok: bool
    needed: bool = Field(description="Without it no work is possible.")
    why: str = Field(examples=["JupyterHub 6.1 answers."])
    remedy: str | None

    @classmethod
    def of(cls, health: PartHealth) -> PartView:
        """Make one from an answer."""
        title = health.title or health.name.replace("_", " ").capitalize()
        return cls(
            name=health.name,
            title=title,
            ok=health.ok,
            needed=health.needed,
            why=health.why,
            remedy=health.remedy,
        )


class Readiness(BaseModel):
    """Whether work is possible, part by part."""

    ready: bool
    parts: list[PartView]


class StatusDesk:
    """Asks the parts."""

    def __init__(
        self, store: Store, audit_log: AuditLog, settings: Settings, parts: Sequence[HealthPart]
    ) -> None:
        self._store = store
        self._audit_log = audit_log
        self._settings = settings
        self._parts = tuple(parts)

    def readiness(self) -> Readiness:
        """Ask every part. A part that cannot be asked is not well."""
        parts = [PartView.of(_asked(part)) for part in self._parts]
        return Readiness(ready=all(part.ok for part in parts if part.needed), parts=parts)

    def overview(self, actor: Actor) -> Readiness:
        """Ask every part, for an administrator.

        Raises:
            Denied: the actor is no platform admin.
        """
        require(actor, Action.STATUS_READ)
        return self.readiness()

    def metrics(self) -> str:
        """Return gauges in the Prometheus text format 0.0.4.

        Raises:
            NotFound: they are switched off.
        """
        if not self._settings.metrics:
            raise NotFound("Metrics are switched off here.")
        oldest = self._audit_log.oldest_unnumbered()
        age = (utc_now() - oldest).total_seconds() if oldest else 0.0
        # Anybody may read this page: neither how many records there are nor that one was written just now is told, or
        # an author could watch reviewers decide. The number of records is on the page of the audit log, for admins.
        late = age if age > LATE_SECONDS else 0.0
        with self._store.read() as session:
            waiting = select(func.count()).select_from(OutboxEntry).where(col(OutboxEntry.done_at).is_(None))
            stuck = session.exec(waiting.where(col(OutboxEntry.stuck_at).is_not(None))).one()
            pending = session.exec(waiting.where(col(OutboxEntry.stuck_at).is_(None))).one()
            counted = {
                WorkspaceStatus(status): count
                for status, count in session.exec(
                    select(Workspace.status, func.count()).group_by(Workspace.status)
                )
            }
            revocations = revocation_counts(session)
        parts = self.readiness().parts
        lines = [
            *_gauge(
                "broch_audit_unnumbered_age_seconds",
                "Age of the oldest record without a number, from 5 seconds on.",
                [("", late)],
            ),
            *_gauge(
                "broch_outbox_entries",
                "Side effects that are not done.",
                [('{state="pending"}', pending), ('{state="stuck"}', stuck)],
            ),
            *_gauge(
                "broch_workspaces",
                "Workspaces by state.",
                [(f'{{state="{status.value}"}}', counted.get(status, 0)) for status in WorkspaceStatus],
            ),
            *_gauge(
                "broch_revocations",
                "Rights that ended and whose end was not seen in full; late: after 60 seconds.",
                [(f'{{state="{state}"}}', count) for state, count in revocations.items()],
            ),
            *_gauge(
                "broch_part_ok",
                "Whether a part is well.",
                [(f'{{part="{part.name}"}}', int(part.ok)) for part in parts],
            ),
        ]
        return "\n".join(lines) + "\n"


def _asked(part: HealthPart) -> PartHealth:
    try:
        return part()
    except Exception:
        name = name_of(part)
        log.exception("status.part_failed", part=name)
        return PartHealth(
            name,
            ok=False,
            why="It could not be asked.",
            remedy="Look for 'status.part_failed' in logs/web.log.",
        )


def _gauge(name: str, says: str, samples: Sequence[tuple[str, float]]) -> list[str]:
    return [
        f"# HELP {name} {says}",
        f"# TYPE {name} gauge",
        *(f"{name}{label} {value:g}" for label, value in samples),
    ]
