"""What the hub's side reports of workspaces."""

from __future__ import annotations

from typing import Literal

import structlog

from broch_api.workspaces.effects import LONGEST_MESSAGE, settle
from broch_api.workspaces.rows import find_principal
from broch_core.actions import Action
from broch_core.actors import SYSTEM
from broch_core.audit.record import AuditSubject
from broch_core.clock import utc_now
from broch_core.lifecycles import WORKSPACE, WorkspaceEvent, WorkspaceStatus
from broch_core.settings import Settings
from broch_core.store.unit import Store
from broch_core.web.texts import hidden_character

log = structlog.get_logger()

STEP = 64 << 20
"""Bytes between two audit records of what one start showed."""
_HAS_PAGES = frozenset({WorkspaceStatus.RUNNING, WorkspaceStatus.STARTING})

Reported = Literal["running", "stopped", "failed"]

_EVENTS: dict[Reported, WorkspaceEvent] = {
    "running": WorkspaceEvent.READY,
    "stopped": WorkspaceEvent.GONE,
    "failed": WorkspaceEvent.FAIL,
}

_LINE = frozenset("\n")


def readable(text: str) -> str:
    """Return a report with nothing hidden in it, its first line and as much of its end as there is room for.

    The end of a report is what a process in a workspace wrote last: hostile.
    """
    shown = "".join(
        "\N{REPLACEMENT CHARACTER}" if hidden_character(c, allowed=_LINE) else c
        for c in text.replace("\r\n", "\n").replace("\t", "    ").strip()
    )
    if len(shown) <= LONGEST_MESSAGE:
        return shown
    first = shown.partition("\n")[0][: LONGEST_MESSAGE // 2]
    return f"{first}\n{shown[-(LONGEST_MESSAGE - len(first) - 1) :]}"


def start_of(door_token_hash: str) -> str:
    """Return what names a start in reports: the beginning of the digest of its own random token."""
    return door_token_hash[:16]


class WorkspaceReports:
    """Takes reports of the spawner and of the proxy."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings

    def event(self, principal: str, reported: Reported, detail: str, start: str = "") -> bool:
        """Move a workspace by what was reported; return whether that changed anything.

        A report that does not fit the state (it came twice, or late), or is of an earlier start, changes nothing.

        Raises:
            NotFound: nobody has this principal.
        """
        event = _EVENTS[reported]
        with self._store.write() as change:
            row = find_principal(change.session, principal, lock=True)
            if row.status is WorkspaceStatus.STARTING and row.door_token_hash is None:
                return False  # this start has no plan yet, so the report is of an earlier one
            if start and row.door_token_hash is not None and start != start_of(row.door_token_hash):
                return False
            if row.status is WorkspaceStatus.STOPPING and event is WorkspaceEvent.FAIL:
                event = WorkspaceEvent.GONE  # a start that was cut short by the stop
            if event not in WORKSPACE.events(row.status):
                return False
            # Why it was stopped stands there already; that it ended adds nothing.
            known = row.message if row.status is WorkspaceStatus.STOPPING else None
            settle(change, row, event, known or readable(detail) or None)
        return True

    def shown(self, principal: str, size: int) -> None:
        """Add bytes that a workspace's pages sent to the browser.

        Recorded when a start passes another `STEP`, when it passes the limit for an alarm, when it ends, and when a count
        comes in after that.

        Raises:
            NotFound: nobody has this principal.
        """
        limit = self._settings.browser_alarm_bytes
        with self._store.write(housekeeping=True) as change:
            row = find_principal(change.session, principal, lock=True)
            before, after = row.start_bytes, row.start_bytes + size
            row.browser_bytes += size
            row.start_bytes = after
            alarm = before <= limit < after
            if alarm:
                row.alarm_at = utc_now()
                log.warning("workspace.alarm", workspace=row.id, start_bytes=after, limit=limit)
            change.session.add(row)
            late = size > 0 and row.status not in _HAS_PAGES
            if alarm or late or after // STEP > before // STEP:
                change.audit(
                    SYSTEM,
                    Action.HUB_EVENT,
                    AuditSubject("workspace", row.id, row.project_id),
                    facts={
                        "event": "shown",
                        "start_bytes": after,
                        "all_bytes": row.browser_bytes,
                        "alarm": alarm,
                    },
                )
