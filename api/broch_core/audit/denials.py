"""Denials of known actors are records, coalesced per actor and action: a loop of refused calls cannot flood the log."""

from __future__ import annotations

import threading
import time

from broch_core.audit.record import AuditSubject, new_record
from broch_core.rules import Resource
from broch_core.store.unit import Store

WINDOW_SECONDS = 60.0
_MOST_KEYS = 10_000


class DenialLog:
    """Writes the first denial of (actor, action) in a window at once, and how many followed with the next one."""

    def __init__(self, store: Store, window_seconds: float = WINDOW_SECONDS) -> None:
        self._store = store
        self._window = window_seconds
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}
        self._lock = threading.Lock()

    def note(self, actor_id: str, action: str, resource: Resource) -> None:
        """Record a denial, or count it."""
        now = time.monotonic()
        key = (actor_id, action)
        with self._lock:
            began, coalesced = self._seen.get(key, (-self._window, 0))
            if now - began < self._window:
                self._seen[key] = (began, coalesced + 1)
                return
            if len(self._seen) >= _MOST_KEYS:
                self._seen.clear()
            self._seen[key] = (now, 0)
        record, _ = new_record(
            actor_id,
            action,
            AuditSubject(resource.kind, resource.id, resource.project_id),
            facts={"coalesced_before": coalesced},
            personal={},
            outcome="denied",
        )
        with self._store.write(housekeeping=True) as change:
            change.session.add(record)
