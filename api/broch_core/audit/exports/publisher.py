"""Exporting by the instance itself, again and again; what came of the last time is for whoever asks how it does."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import structlog

from broch_core.audit.exports.exporter import bring_up_to_date
from broch_core.audit.exports.places import ExportPlace, open_place
from broch_core.audit.exports.sources import DatabaseSource
from broch_core.audit.log import AuditLog
from broch_core.clock import utc_now
from broch_core.errors import DomainError
from broch_core.store.unit import Store

log = structlog.get_logger()


@dataclass(frozen=True)
class Published:
    """What came of an export."""

    at: datetime
    ok: bool
    why: str
    remedy: str | None = None


class LogPublisher:
    """Brings one place up to date."""

    def __init__(self, store: Store, audit_log: AuditLog, address: str, scratch: Path) -> None:
        """Name the place; nothing is opened yet.

        Args:
            store: the database.
            audit_log: its log.
            address: of the place (`open_place`).
            scratch: a folder for working copies.
        """
        self._source = DatabaseSource(store.engine)
        self._log = audit_log
        self._address = address
        self._scratch = scratch
        self._place: ExportPlace | None = None
        self._lock = threading.Lock()
        self._known = 0
        """Records that the place held when it was last looked at."""
        self.last: Published | None = None

    def publish(self) -> int:
        """Add what is new; return how many records that were. A failure is kept for `last` and tried again."""
        with self._lock:
            try:
                if self._place is None:
                    self._place = open_place(self._address, scratch=self._scratch)
                done = bring_up_to_date(self._source, self._place, self._log.keys.trust(), known=self._known)
            except DomainError as error:
                log.error("audit_export.failed", why=error.detail)  # noqa: TRY400 - the sentence says all
                return self._failed(error.detail, error.remedy)
            except Exception as error:
                log.exception("audit_export.failed")
                kind = type(error).__name__
                return self._failed(
                    f"It broke off ({kind}).", "Look for 'audit_export.failed' in the log of web."
                )
            self._known = done.size
            self.last = Published(utc_now(), ok=True, why=f"It holds {done.size} records.")
            return done.added

    def _failed(self, why: str, remedy: str | None) -> int:
        self._place = None
        self._known = 0
        self.last = Published(utc_now(), ok=False, why=why, remedy=remedy)
        return 0
