"""The beginning of a revocation, in the transaction that ends the right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlmodel import col, select

from broch_api.revocations.confirming import BEGUN, subject_of
from broch_api.workspaces.effects import LONGEST_MESSAGE, mark_stopping
from broch_api.workspaces.entrants import end_stays, stays
from broch_core.clock import utc_now
from broch_core.lifecycles import WorkspaceStatus
from broch_core.revocations import RevocationCause
from broch_core.store.unit import Change
from broch_core.tables.revocations import Revocation
from broch_core.tables.workspaces import Workspace

_LIVE = (WorkspaceStatus.STARTING, WorkspaceStatus.RUNNING)


@dataclass(frozen=True)
class EndedRight:
    """Whose right to what has ended, and why."""

    cause: RevocationCause
    project_id: str
    actor_id: str
    reason: str
    """What the researcher reads."""
    person_id: str | None = None
    """Only this person's; everybody's when absent."""
    workspace_id: str | None = None
    """Only this workspace, which is nobody's own: the shared one."""
    version_ids: Sequence[str] = ()
    freeze_id: str | None = None


def revoke(change: Change, ended: EndedRight) -> Revocation:
    """Take the rights of every workspace that is meant away now, and enter what has to follow.

    Whoever calls holds the lock on the project's row, or on that of the only workspace that is meant.
    """
    session = change.session
    query = (
        select(Workspace)
        .where(
            Workspace.project_id == ended.project_id,
            col(Workspace.status).in_((*_LIVE, WorkspaceStatus.STOPPING)),
        )
        .order_by(Workspace.id)
    )
    if ended.person_id is not None:
        query = query.where(Workspace.person_id == ended.person_id)
    if ended.workspace_id is not None:
        query = query.where(Workspace.id == ended.workspace_id)
    rows = session.exec(query.with_for_update()).all()
    guests = stays(
        session,
        project_id=ended.project_id,
        workspace_id=ended.workspace_id,
        person_id=ended.person_id,
        lock=True,
    )
    now = utc_now()
    row = Revocation(
        project_id=ended.project_id,
        person_id=ended.person_id,
        version_ids=sorted(ended.version_ids),
        cause=ended.cause,
        reason=ended.reason[:LONGEST_MESSAGE],
        actor_id=ended.actor_id,
        starts=[
            {
                "workspace": one.id,
                "principal": one.principal,
                "door": one.door_token_hash,
                "status": one.status.value,
            }
            for one in rows
        ]
        + [
            # A stay in the shared workspace has a user of the hub and no pod: the workspace goes on for the others.
            {
                "workspace": one.workspace_id,
                "principal": one.principal,
                "door": None,
                "status": WorkspaceStatus.RUNNING.value,
            }
            for one in guests
        ],
        begun_at=now,
        rights_at=now,
        freeze_id=ended.freeze_id,
    )
    session.add(row)
    change.audit(
        ended.actor_id,
        BEGUN,
        subject_of(row),
        facts={
            "cause": row.cause.value,
            "person": row.person_id,
            "versions": row.version_ids,
            "workspaces": [one.id for one in rows],
            "stays": [one.id for one in guests],
            "freeze": row.freeze_id,
        },
    )
    end_stays(change, guests, ended.actor_id, ended.cause.value)
    for one in rows:
        if one.status in _LIVE:
            mark_stopping(change, one, ended.actor_id, ended.reason)
    change.later(
        "workspace.stop",
        f"workspace.stop:{row.id}",
        {"workspace_id": ended.workspace_id, "reason": ended.reason}
        if ended.workspace_id is not None
        else {
            "project_id": ended.project_id,
            "person_id": ended.person_id,
            "at": now.isoformat(),
            "reason": ended.reason,
        },
    )
    return row
