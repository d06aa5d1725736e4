"""Keeps rows and hub alike, and stops what may no longer run: expiry acts within 60 seconds (design, rule 8)."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta

import structlog
from sqlmodel import Session, col, select

from broch_api.revocations.begin import EndedRight, revoke
from broch_api.workspaces.effects import WorkspaceEffects, settle, stop_later
from broch_api.workspaces.entrants import end_stays, stay_facts, stays
from broch_api.workspaces.hub import HubAway, HubClient, HubRefused, Server
from broch_api.workspaces.rights import End, first_end, stay_end
from broch_api.workspaces.rows import standing_of
from broch_core.actors import SYSTEM
from broch_core.clock import utc_now
from broch_core.errors import Conflict
from broch_core.lifecycles import WorkspaceEvent, WorkspaceStatus
from broch_core.revocations import RevocationCause
from broch_core.store.unit import Change, Store
from broch_core.tables.datasets import Grant
from broch_core.tables.projects import Project
from broch_core.tables.workspaces import Entrant, Workspace

log = structlog.get_logger()

EVERY_SECONDS = 5.0
STRAY_SECONDS = 10.0
"""How long one round stops strays, one after the other: the hub takes up to ten seconds for each, and a freeze makes all
that runs one. What ends by a date must not wait for the last of them; others ask the hub for the same."""
START_LIMIT = timedelta(seconds=120)
"""How long a start may take that the hub does not have in hand, before it has failed: the hub may be busy."""
_UNDER_WAY = frozenset({"spawn", "check"})
"""What the hub calls a start, and one that it found again."""

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
        if row.door_token_hash and server is not None and server.pending in _UNDER_WAY:
            return None  # the hub has a clock for each thing that a start can wait for, and says what it waited for
        if row.opened_at is None or now - row.opened_at > START_LIMIT:
            return WorkspaceEvent.FAIL, _TOO_SLOW
    return None


class Reconciler:
    """Compares the rows with the hub's view every few seconds, in a thread of its own."""

    def __init__(
        self,
        store: Store,
        hub: HubClient,
        effects: WorkspaceEffects,
        *,
        every_seconds: float = EVERY_SECONDS,
        stray_seconds: float = STRAY_SECONDS,
    ) -> None:
        self._store = store
        self._hub = hub
        self._effects = effects
        self._every = every_seconds
        self._stray_seconds = stray_seconds
        self._last_stray = ""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="reconciler", daemon=True)
        self.hub_seen_at: datetime | None = None
        """When the hub last told what it has."""
        self.failing: Collection[str] = ()
        """Workspaces and stays that the last round could not judge."""
        self._failing: set[str] = set()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the round in hand."""
        self._stopping.set()
        self._thread.join(timeout=30)

    def round(self) -> None:
        """Do one round. Rights end also while the hub is away; what it has is judged only when it answers."""
        self._failing = set()
        try:
            self._judge_all()
        finally:
            self.failing = self._failing

    def _judge_all(self) -> None:
        self._end_rights(utc_now())
        self._end_stays(utc_now())
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
            with self._alone(row.id):
                self._repair(row, servers.get(row.principal))
        self._stop_strays(rows, servers)

    def _loop(self) -> None:
        while not self._stopping.is_set():
            try:
                self.round()
            except Exception:
                log.exception("reconciler.failed")
            self._stopping.wait(self._every)

    @contextmanager
    def _alone(self, which: str) -> Iterator[None]:
        """Judge one workspace or stay: what goes wrong with it is told, and tried again; the others go on."""
        try:
            yield
        except Exception:
            log.exception("reconciler.row_failed", which=which)
            self._failing.add(which)

    def _end_rights(self, now: datetime) -> None:
        with self._store.read() as session:
            live = session.exec(select(Workspace.id).where(col(Workspace.status).in_(_LIVE))).all()
        for workspace_id in live:
            with self._alone(workspace_id):
                self._end_right(workspace_id, now)

    def _end_right(self, workspace_id: str, now: datetime) -> None:
        with self._store.read() as session:
            row = session.get(Workspace, workspace_id)
            if row is None or _over(session, row, now) is None:
                return
        with self._store.write() as change:
            # The project first, as all who end rights do: two in another order would wait for each other for ever.
            change.session.get(Project, row.project_id, with_for_update=True)
            fresh = change.session.get(Workspace, workspace_id, with_for_update=True)
            end = _over(change.session, fresh, now) if fresh is not None else None
            if fresh is not None and end is not None:
                log.info("workspace.expired", workspace=workspace_id)
                _take_away(change, fresh, end, now)

    def _end_stays(self, now: datetime) -> None:
        with self._store.read() as session:
            ids = [row.id for row in stays(session)]
        for stay_id in ids:
            with self._alone(stay_id):
                self._end_stay(stay_id, now)

    def _end_stay(self, stay_id: str, now: datetime) -> None:
        with self._store.read() as session:
            row = session.get_one(Entrant, stay_id)
            if row.left_at is not None or stay_end(stay_facts(session, row, now)) is None:
                return
            project_id = session.get_one(Workspace, row.workspace_id).project_id
        with self._store.write() as change:
            change.session.get(Project, project_id, with_for_update=True)
            fresh = change.session.get_one(Entrant, stay_id)
            facts = stay_facts(change.session, fresh, now)
            reason = stay_end(facts)
            if fresh.left_at is not None or reason is None:
                return
            if facts.member:
                own = stays(change.session, principal=fresh.principal, lock=True)
                end_stays(change, own, SYSTEM, reason)
                return
            # All that a person whose membership is over has in the project, as a revocation.
            cause, why = RevocationCause.MEMBER_EXPIRED, "You are no longer a member of this project."
            revoke(change, EndedRight(cause, project_id, SYSTEM, why, person_id=fresh.person_id))

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
        """Stop servers that no row allows, of workspaces that do not run or of nobody: as many as there is time for."""
        until = time.monotonic() + self._stray_seconds
        # On from where the last round had to end.
        for principal in sorted(servers, key=lambda name: (name <= self._last_stray, name)):
            if time.monotonic() >= until:
                return
            known = rows.get(principal)
            if known is not None and not self._stray(known):
                continue
            self._last_stray = principal
            with self._alone(principal):
                self._stop_stray(principal, known)

    def _stop_stray(self, principal: str, known: Workspace | None) -> None:
        try:
            gone = self._hub.stop(principal)
        except (HubAway, HubRefused) as error:
            log.warning("reconciler.stray_stays", principal=principal, error=str(error))
            return
        log.warning("reconciler.stray_stopped", principal=principal, gone=gone)
        if gone and known is not None:
            self._effects.gone(known)

    def _stray(self, known: Workspace) -> bool:
        with self._store.read() as session:
            fresh = session.get(Workspace, known.id)
        return fresh is None or fresh.status not in _LIVE


def _over(session: Session, row: Workspace, now: datetime) -> End | None:
    """Return why a workspace that runs may not go on."""
    return first_end(standing_of(session, row, now).facts(), now) if row.status in _LIVE else None


def _take_away(change: Change, row: Workspace, end: End, now: datetime) -> None:
    """End one workspace by itself: as a revocation where a right is over, plainly where only its time is."""
    if end.cause is None:
        stop_later(change, row, SYSTEM, end.reason)
        return
    live = {version.id for _, version, _ in standing_of(change.session, row, now).grants}
    mounted = change.session.exec(select(Grant.version_id).where(col(Grant.id).in_(row.grant_ids))).all()
    revoke(
        change,
        EndedRight(
            end.cause,
            row.project_id,
            SYSTEM,
            end.reason,
            person_id=row.person_id,
            workspace_id=row.id if row.person_id is None else None,
            version_ids=[one for one in {*mounted} if one not in live],
        ),
    )
