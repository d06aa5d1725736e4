"""Keeps rows and hub alike, and stops what may no longer run: expiry acts within 60 seconds (design, rule 8)."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import datetime, timedelta

import structlog
from sqlmodel import col, select

from broch_api.workspaces.effects import WorkspaceEffects, settle, stop_later
from broch_api.workspaces.hub import HubAway, HubClient, HubRefused, Server
from broch_api.workspaces.rights import should_run
from broch_api.workspaces.rows import standing_of
from broch_core.actors import SYSTEM
from broch_core.clock import utc_now
from broch_core.errors import Conflict
from broch_core.lifecycles import WorkspaceEvent, WorkspaceStatus
from broch_core.rules import Decision
from broch_core.store.unit import Store
from broch_core.tables.workspaces import Workspace

log = structlog.get_logger()

EVERY_SECONDS = 5.0
START_LIMIT = timedelta(seconds=120)
"""How long a start may take before it has failed. JupyterHub's own limit is 60 s, and the hub may be busy."""

_LIVE = (WorkspaceStatus.STARTING, WorkspaceStatus.RUNNING)
_VANISHED = "It ended unexpectedly. Open it again; if this repeats, tell your administrator."
_TOO_SLOW = "It did not start in time. Try again; if this repeats, tell your administrator."


def repair(row: Workspace, server: Server | None, now: datetime) -> tuple[WorkspaceEvent, str | None] | None:
    """Return what happened to a workspace, judging by what the hub has. Pure.

    Args:
        row: the workspace, read before the hub was asked.
        server: what the hub has, if anything.
        now: the moment.
    """
    status = row.status
    if status is WorkspaceStatus.RUNNING and server is None:
        return WorkspaceEvent.GONE, _VANISHED
    if status is WorkspaceStatus.STOPPING and server is None:
        return WorkspaceEvent.GONE, None
    if status is WorkspaceStatus.STARTING:
        # Without a plan of this start, what is ready there is a server from before.
        if row.door_token_hash and server is not None and server.ready and server.pending is None:
            return WorkspaceEvent.READY, None
        if row.opened_at is None or now - row.opened_at > START_LIMIT:
            return WorkspaceEvent.FAIL, _TOO_SLOW
    return None


class Reconciler:
    """Compares the rows with the hub's view every few seconds, in a thread of its own."""

    def __init__(
        self, store: Store, hub: HubClient, effects: WorkspaceEffects, *, every_seconds: float = EVERY_SECONDS
    ) -> None:
        self._store = store
        self._hub = hub
        self._effects = effects
        self._every = every_seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="reconciler", daemon=True)
        self.hub_seen_at: datetime | None = None
        """When the hub last told what it has."""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the round in hand."""
        self._stopping.set()
        self._thread.join(timeout=30)

    def round(self) -> None:
        """Do one round. Rights end also while the hub is away; what it has is judged only when it answers."""
        self._end_rights(utc_now())
        # Rows first: a workspace that starts between the two questions is not in this list, so it is left alone.
        with self._store.read() as session:
            rows = {row.principal: row for row in session.exec(select(Workspace)).all()}
        try:
            servers = self._hub.servers()
        except (HubAway, HubRefused) as error:
            log.warning("reconciler.hub_away", error=str(error))
            return
        self.hub_seen_at = utc_now()
        for row in rows.values():
            self._repair(row, servers.get(row.principal))
        self._stop_strays(rows, servers)

    def _loop(self) -> None:
        while not self._stopping.is_set():
            try:
                self.round()
            except Exception:
                log.exception("reconciler.failed")
            self._stopping.wait(self._every)

    def _decision(self, workspace_id: str, now: datetime) -> Decision:
        with self._store.read() as session:
            row = session.get(Workspace, workspace_id)
            if row is None or row.status not in _LIVE:
                return Decision(allowed=True)
            return should_run(standing_of(session, row, now).facts(), now)

    def _end_rights(self, now: datetime) -> None:
        with self._store.read() as session:
            live = session.exec(select(Workspace.id).where(col(Workspace.status).in_(_LIVE))).all()
        for workspace_id in live:
            decision = self._decision(workspace_id, now)
            if decision.allowed:
                continue
            with self._store.write() as change:
                row = change.session.get(Workspace, workspace_id, with_for_update=True)
                if row is not None and row.status in _LIVE:
                    log.info("workspace.expired", workspace=workspace_id)
                    stop_later(change, row, SYSTEM, decision.reason)

    def _repair(self, row: Workspace, server: Server | None) -> None:
        found = repair(row, server, utc_now())
        if found is None:
            return
        event, message = found
        try:
            with self._store.write() as change:
                fresh = change.session.get(Workspace, row.id, with_for_update=True)
                if fresh is not None and fresh.version == row.version:
                    settle(change, fresh, event, message or fresh.message)
                    log.info("workspace.repaired", workspace=row.id, happened=event.value)
        except Conflict:
            log.info("workspace.moved_meanwhile", workspace=row.id)

    def _stop_strays(self, rows: Mapping[str, Workspace], servers: Mapping[str, Server]) -> None:
        """Stop servers that no row allows: of workspaces that do not run, or of nobody."""
        for principal in servers:
            known = rows.get(principal)
            if known is not None and not self._stray(known):
                continue
            try:
                gone = self._hub.stop(principal)
            except (HubAway, HubRefused) as error:
                log.warning("reconciler.stray_stays", principal=principal, error=str(error))
                continue
            log.warning("reconciler.stray_stopped", principal=principal, gone=gone)
            if gone and known is not None:
                self._effects.gone(known)

    def _stray(self, known: Workspace) -> bool:
        with self._store.read() as session:
            fresh = session.get(Workspace, known.id)
        return fresh is None or fresh.status not in _LIVE
