"""Side effects of workspaces: what the outbox does at the hub. Idempotent: each may run again after a crash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlmodel import Session, col, select

from broch_api.workspaces.entrants import end_stays, stays
from broch_api.workspaces.hub import HubClient, HubRefused
from broch_api.workspaces.premises import Premises
from broch_api.workspaces.rights import SIGNED_OUT
from broch_api.workspaces.rows import entered_by
from broch_core.actions import Action
from broch_core.actors import SYSTEM, Actor
from broch_core.audit.record import AuditSubject
from broch_core.clock import utc_now
from broch_core.errors import Conflict, NotFound
from broch_core.lifecycles import WORKSPACE, WorkspaceEvent, WorkspaceStatus
from broch_core.outbox.worker import TemporaryError
from broch_core.store.unit import Change, Store
from broch_core.tables.workspaces import Workspace

log = structlog.get_logger()

LONGEST_MESSAGE = 500
ZONE_WAIT = timedelta(minutes=2)
"""How long a start waits for the project's zone: volumes of some stores take a minute."""
_RIGHTS_GONE: Mapping[str, Any] = {"door_token_hash": None, "grant_ids": [], "idle_stop_at": None}


def settle(change: Change, row: Workspace, event: WorkspaceEvent, message: str | None) -> None:
    """Record that a workspace is gone, failed or ready; its rights end unless it is ready."""
    values = {} if event is WorkspaceEvent.READY else _RIGHTS_GONE
    change.advance(WORKSPACE, row, event, message=message and message[:LONGEST_MESSAGE], **values)
    if event is not WorkspaceEvent.READY and row.person_id is None:
        end_stays(
            change, stays(change.session, workspace_id=row.id, lock=True), SYSTEM, "the workspace has ended"
        )
    change.audit(
        SYSTEM,
        Action.HUB_EVENT,
        AuditSubject("workspace", row.id, row.project_id),
        facts={"event": event.value, "status": row.status.value, "start_bytes": row.start_bytes},
        personal={"message": message[:LONGEST_MESSAGE]} if message else None,
    )


def mark_stopping(change: Change, row: Workspace, actor_id: str, reason: str) -> None:
    """Take a workspace's rights away at once; the hub stops it afterwards."""
    change.advance(WORKSPACE, row, WorkspaceEvent.STOP, message=reason[:LONGEST_MESSAGE], **_RIGHTS_GONE)
    if row.person_id is None:
        end_stays(
            change,
            stays(change.session, workspace_id=row.id, lock=True),
            actor_id,
            "the workspace was stopped",
        )
    change.audit(
        actor_id,
        Action.WORKSPACE_STOP,
        AuditSubject("workspace", row.id, row.project_id),
        personal={"reason": reason[:LONGEST_MESSAGE]},
    )


def stop_later(change: Change, row: Workspace, actor_id: str, reason: str) -> None:
    """Take a workspace's rights away and enter its stop into the outbox."""
    mark_stopping(change, row, actor_id, reason)
    change.later(
        "workspace.stop",
        f"workspace.stop:{row.id}:{row.version}",
        {"workspace_id": row.id, "reason": reason},
    )


def stop_shared(change: Change, project_id: str, actor_id: str, reason: str) -> None:
    """Stop the workspace that members of a project share, if it runs."""
    query = select(Workspace).where(Workspace.project_id == project_id, col(Workspace.person_id).is_(None))
    row = change.session.exec(query.with_for_update()).first()
    if row is not None and row.status in (WorkspaceStatus.STARTING, WorkspaceStatus.RUNNING):
        stop_later(change, row, actor_id, reason)


def stop_entered(change: Change, actor: Actor) -> None:
    """Stop every workspace that the actor's session entered, and end its stay in shared ones: it ends in this transaction."""
    for workspace_id in entered_by(change.session, actor.session_id or ""):
        row = change.session.get(Workspace, workspace_id, with_for_update=True)
        if row is not None and row.status in (WorkspaceStatus.STARTING, WorkspaceStatus.RUNNING):
            stop_later(change, row, actor.person_id, SIGNED_OUT)
    if actor.session_id:
        own = stays(change.session, session_id=actor.session_id, lock=True)
        end_stays(change, own, actor.person_id, "the session has ended")


class WorkspaceEffects:
    """Handlers of the outbox."""

    def __init__(self, store: Store, hub: HubClient, premises: Premises) -> None:
        self._store = store
        self._hub = hub
        self._premises = premises

    def start(self, payload: Mapping[str, Any]) -> None:
        """Have the hub start a workspace.

        Args:
            payload: `workspace_id`, and the `version` of the row that asked: a later one makes this void.

        Raises:
            TemporaryError: the hub is away, or a server of an earlier start has to end first.
        """
        with self._store.read() as session:
            row = session.get(Workspace, str(payload["workspace_id"]))
        if row is None or row.status is not WorkspaceStatus.STARTING or row.version != payload["version"]:
            return
        try:
            waits = self._premises.lacks(row.project_id)
        except (Conflict, NotFound) as error:
            self._fail(row, error.detail)
            return
        if waits is not None:
            if utc_now() - (row.opened_at or utc_now()) > ZONE_WAIT:
                self._fail(row, f"{waits} It took longer than {ZONE_WAIT.seconds} s; ask a platform admin.")
                return
            raise TemporaryError(waits, 0.5)
        if row.door_token_hash is None:
            # Without a plan of this start, all that the hub has is from before: a server perhaps, and in any case the
            # sign-ins of a start that ended by itself, whose sessions may be over since. None of them enters this one.
            self._stop_at_hub(row.principal)
        try:
            self._hub.start(row.principal)
        except HubRefused as error:
            log.warning("workspace.refused", workspace=row.id)
            self._fail(row, str(error))

    def stop(self, payload: Mapping[str, Any]) -> None:
        """Have the hub stop one workspace (`workspace_id`), or those of a project or of a person in it.

        Args:
            payload: `workspace_id`, which was marked with the entry; or `project_id` with `person_id` (may be null:
                everybody's) and `at`, the moment of the act. Starts that came later are not meant. `reason`.

        Raises:
            TemporaryError: the hub is away, or a server is not gone yet.
        """
        reason = str(payload.get("reason") or "It was stopped.")
        for workspace_id in self._affected(payload):
            with self._store.write() as change:
                row = change.session.get(Workspace, workspace_id, with_for_update=True)
                if row is not None and row.status in (WorkspaceStatus.STARTING, WorkspaceStatus.RUNNING):
                    mark_stopping(change, row, SYSTEM, reason)
        left = [row for row in self._stopping(payload) if not self._end(row)]
        if left:
            raise TemporaryError(f"{len(left)} workspaces are still stopping", 1.0)

    def _end(self, row: Workspace) -> bool:
        if not self._hub.stop(row.principal):
            return False
        self.gone(row)
        return True

    def gone(self, row: Workspace) -> None:
        """Record that a stopping workspace is gone, unless somebody else just did."""
        with self._store.write() as change:
            fresh = change.session.get(Workspace, row.id, with_for_update=True)
            if fresh is not None and fresh.status is WorkspaceStatus.STOPPING:
                settle(change, fresh, WorkspaceEvent.GONE, fresh.message)

    def _fail(self, row: Workspace, text: str) -> None:
        with self._store.write() as change:
            fresh = change.session.get(Workspace, row.id, with_for_update=True)
            # The spawner's own word about the failure may have come first, and says more.
            if fresh is not None and fresh.version == row.version:
                settle(change, fresh, WorkspaceEvent.FAIL, text)

    def _stop_at_hub(self, principal: str) -> None:
        if not self._hub.stop(principal):
            raise TemporaryError("the server of an earlier start is still stopping", 1.0)

    def _affected(self, payload: Mapping[str, Any]) -> Sequence[str]:
        if "project_id" not in payload:
            return []
        at = datetime.fromisoformat(payload["at"])
        with self._store.read() as session:
            rows = _rows(session, payload)
        return [row.id for row in rows if row.opened_at is not None and row.opened_at <= at]

    def _stopping(self, payload: Mapping[str, Any]) -> Sequence[Workspace]:
        with self._store.read() as session:
            return [row for row in _rows(session, payload) if row.status is WorkspaceStatus.STOPPING]


def _rows(session: Session, payload: Mapping[str, Any]) -> Sequence[Workspace]:
    query = select(Workspace).order_by(Workspace.id)
    if (workspace_id := payload.get("workspace_id")) is not None:
        query = query.where(Workspace.id == workspace_id)
    else:
        query = query.where(Workspace.project_id == payload["project_id"])
        if (person_id := payload.get("person_id")) is not None:
            query = query.where(col(Workspace.person_id) == person_id)
    return session.exec(query).all()
