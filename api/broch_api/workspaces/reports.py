"""What the hub's side reports of workspaces."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Literal

import structlog
from sqlmodel import and_, col, or_, select

from broch_api.workspaces.effects import LONGEST_MESSAGE, settle
from broch_api.workspaces.entrants import end_stays, stays
from broch_api.workspaces.rows import find_principal
from broch_core.actions import Action
from broch_core.actors import SYSTEM
from broch_core.audit.record import AuditSubject
from broch_core.clock import utc_now
from broch_core.lifecycles import WORKSPACE, WorkspaceEvent, WorkspaceStatus
from broch_core.settings import Settings
from broch_core.store.unit import Store
from broch_core.tables.people import Person, UserSession
from broch_core.tables.projects import Membership
from broch_core.tables.workspaces import Entrant, Workspace
from broch_core.web.texts import hidden_character

log = structlog.get_logger()

STEP = 64 << 20
"""Bytes between two audit records of what one start showed."""
_HAS_PAGES = frozenset({WorkspaceStatus.RUNNING, WorkspaceStatus.STARTING})

Reported = Literal["running", "waiting", "stopped", "failed"]

_EVENTS: dict[str, WorkspaceEvent] = {
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
        if reported == "waiting":
            return self._waits(principal, detail, start)
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

    def _waits(self, principal: str, detail: str, start: str) -> bool:
        """Note what a start waits for, for its page; the start goes on."""
        with self._store.write(housekeeping=True) as change:
            row = find_principal(change.session, principal, lock=True)
            if row.status is not WorkspaceStatus.STARTING or row.door_token_hash is None:
                return False
            if start and start != start_of(row.door_token_hash):
                return False
            row.message = readable(detail) or None
            change.session.add(row)
        return True

    def idle(self, principal: str, stop_at: datetime | None, start: str) -> bool:
        """Note when an idle workspace will be stopped, for its page; None: something goes on in it again.

        Raises:
            NotFound: nobody has this principal.
        """
        with self._store.write(housekeeping=True) as change:
            row = find_principal(change.session, principal, lock=True)
            if row.status is not WorkspaceStatus.RUNNING or row.door_token_hash is None:
                return False
            if start != start_of(row.door_token_hash) or row.idle_stop_at == stop_at:
                return False
            row.idle_stop_at = stop_at
            change.session.add(row)
        return True

    def left(self, principal: str) -> bool:
        """End the stay of who has had no page of a shared workspace open for a while; return whether there was one."""
        with self._store.write() as change:
            found = stays(change.session, principal=principal, lock=True)
            end_stays(change, found, SYSTEM, "no page is open")
        return bool(found)

    def standing(self, principals: Collection[str]) -> list[str]:
        """Return which stays in shared workspaces go on, of those that the hub lets in.

        Judged by what each hangs on now, and not by whether somebody has ended it yet.
        """
        now = utc_now()
        found = (
            select(Entrant.principal)
            .join(UserSession, col(UserSession.id) == Entrant.session_id)
            .join(Person, col(Person.id) == Entrant.person_id)
            .join(Workspace, col(Workspace.id) == Entrant.workspace_id)
            .join(
                Membership,
                and_(
                    col(Membership.project_id) == Workspace.project_id,
                    col(Membership.person_id) == Entrant.person_id,
                ),
            )
            .where(
                col(Entrant.principal).in_(principals),
                col(Entrant.left_at).is_(None),
                col(UserSession.ended_at).is_(None),
                UserSession.expires_at > now,
                col(Person.disabled_at).is_(None),
                or_(col(Membership.until).is_(None), col(Membership.until) > now),
                Workspace.status == WorkspaceStatus.RUNNING,
            )
        )
        with self._store.read() as session:
            return sorted({*session.exec(found)})

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
