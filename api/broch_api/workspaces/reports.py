"""What the hub's side reports of workspaces."""

from __future__ import annotations

from typing import Literal

from sqlmodel import col, update

from broch_api.workspaces.effects import LONGEST_MESSAGE, settle
from broch_api.workspaces.rows import find_principal
from broch_core.lifecycles import WORKSPACE, WorkspaceEvent, WorkspaceStatus
from broch_core.store.unit import Store
from broch_core.tables.workspaces import Workspace
from broch_core.web.texts import hidden_character

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


class WorkspaceReports:
    """Takes reports of the spawner and of the proxy."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def event(self, principal: str, reported: Reported, detail: str) -> bool:
        """Move a workspace by what was reported; return whether that changed anything.

        A report that does not fit the state (it came twice, or late) changes nothing.

        Raises:
            NotFound: nobody has this principal.
        """
        event = _EVENTS[reported]
        with self._store.write() as change:
            row = find_principal(change.session, principal, lock=True)
            if row.status is WorkspaceStatus.STARTING and row.door_token_hash is None:
                return False  # this start has no plan yet, so the report is of an earlier one
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

        Raises:
            NotFound: nobody has this principal.
        """
        with self._store.write(housekeeping=True) as change:
            row = find_principal(change.session, principal)
            change.session.exec(
                update(Workspace)
                .where(col(Workspace.id) == row.id)
                .values(browser_bytes=Workspace.browser_bytes + size)
            )
