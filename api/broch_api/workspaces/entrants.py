"""Who is in a shared workspace: one stay for each session, begun by the sign-in to the hub, ended one by one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, select

from broch_api.workspaces.hub import HubClient
from broch_api.workspaces.rights import StayFacts
from broch_api.workspaces.rows import membership_end
from broch_core.actions import Action
from broch_core.actors import Actor
from broch_core.audit.record import AuditSubject
from broch_core.clock import utc_now
from broch_core.errors import Conflict
from broch_core.lifecycles import WorkspaceStatus
from broch_core.outbox.worker import TemporaryError
from broch_core.store.unit import Change
from broch_core.tables.people import Person, UserSession
from broch_core.tables.workspaces import Entrant, LoginCode, Workspace


def present(session: Session, workspace_id: str) -> list[Person]:
    """Return who is in a shared workspace, each once, who came first first."""
    rows = session.exec(
        select(Person)
        .join(Entrant, col(Entrant.person_id) == Person.id)
        .where(Entrant.workspace_id == workspace_id, col(Entrant.left_at).is_(None))
        .order_by(Entrant.id)
    )
    return list({person.id: person for person in rows}.values())


def stays(
    session: Session,
    *,
    project_id: str | None = None,
    workspace_id: str | None = None,
    person_id: str | None = None,
    session_id: str | None = None,
    principal: str | None = None,
    lock: bool = False,
) -> Sequence[Entrant]:
    """Return the stays that have not ended, of all that are named.

    Args:
        session: where to look.
        project_id: of this project.
        workspace_id: of this workspace.
        person_id: of this person.
        session_id: of this session.
        principal: the one with this user of the hub.
        lock: lock them until the transaction ends, for who ends them: one that somebody else just ended is none any
            more. Rows are locked in the order project, workspace, stay.
    """
    query = select(Entrant).where(col(Entrant.left_at).is_(None)).order_by(Entrant.id)
    if project_id is not None:
        query = query.join(Workspace, col(Workspace.id) == Entrant.workspace_id)
        query = query.where(Workspace.project_id == project_id)
    given = {
        "workspace_id": workspace_id,
        "person_id": person_id,
        "session_id": session_id,
        "principal": principal,
    }
    for name, value in given.items():
        if value is not None:
            query = query.where(getattr(Entrant, name) == value)
    return session.exec(query.with_for_update(of=Entrant) if lock else query).all()


def enter(change: Change, actor: Actor, workspace: Workspace) -> Entrant:
    """Begin the stay of the actor's session, or return the one that it has.

    Args:
        change: the transaction; it holds the locks on the project's row and on the workspace's.
        actor: who enters; that a member may was decided.
        workspace: the shared one.

    Raises:
        Conflict: it does not run, or the session has no right to it any more.
    """
    now = utc_now()
    if workspace.status is not WorkspaceStatus.RUNNING:
        raise Conflict("The shared workspace is not running. Open it from your project's page.")
    member, _ = membership_end(change.session, workspace.project_id, actor.person_id, now)
    session = change.session.get(UserSession, actor.session_id or "")
    if not member or session is None or session.ended_at is not None or session.expires_at <= now:
        raise Conflict("Your session or your membership has ended.")
    found = stays(change.session, workspace_id=workspace.id, session_id=session.id)
    if found:
        return found[0]
    row = Entrant(workspace_id=workspace.id, person_id=actor.person_id, session_id=session.id)
    change.session.add(row)
    change.audit(
        actor.person_id,
        Action.SHARED_ENTER,
        AuditSubject("workspace", workspace.id, workspace.project_id),
        facts={"stay": row.id, "session": session.id},
    )
    change.session.flush()
    return row


def end_stays(change: Change, rows: Iterable[Entrant], actor_id: str, reason: str) -> None:
    """End stays now; the hub forgets their users afterwards, and with them goes every connection.

    Args:
        change: the transaction.
        rows: which, locked (`stays`); those that have ended stay as they are.
        actor_id: who ends them: the person, an admin, or `system`.
        reason: why, for the record.
    """
    now = utc_now()
    for row in rows:
        if row.left_at is not None:
            continue
        row.left_at = now
        change.session.add(row)
        workspace = change.session.get_one(Workspace, row.workspace_id)
        change.audit(
            actor_id,
            Action.SHARED_LEAVE,
            AuditSubject("workspace", workspace.id, workspace.project_id),
            facts={"stay": row.id, "person": row.person_id, "reason": reason},
        )
        change.later("entrant.end", f"entrant.end:{row.id}", {"principal": row.principal})


def stay_facts(session: Session, row: Entrant, now: datetime) -> StayFacts:
    """Read what a stay hangs on."""
    workspace = session.get_one(Workspace, row.workspace_id)
    entered = session.get_one(UserSession, row.session_id)
    member, _ = membership_end(session, workspace.project_id, row.person_id, now)
    return StayFacts(
        member=member,
        session_ended=entered.ended_at is not None or entered.expires_at <= now,
        runs=workspace.status is WorkspaceStatus.RUNNING
        and workspace.opened_at is not None
        and workspace.opened_at <= row.entered_at,
        came=_came(session, row, now),
    )


def _came(session: Session, row: Entrant, now: datetime) -> bool:
    """Tell whether somebody used the sign-in that began a stay. The hub tells who left, but never knew of who did not come.

    Any page can send a browser to the sign-in, so that a stay begins which nobody meant: it is over with its code.
    """
    codes = session.exec(
        select(LoginCode.redeemed_at, LoginCode.expires_at).where(LoginCode.principal == row.principal)
    ).all()
    return not codes or any(redeemed is not None or now < expires for redeemed, expires in codes)


class EntrantEffects:
    """What the outbox does at the hub for stays that ended."""

    def __init__(self, hub: HubClient) -> None:
        self._hub = hub

    def end(self, payload: Mapping[str, Any]) -> None:
        """Have the hub forget the user of a stay; its proxy then cuts what that user holds open.

        Args:
            payload: `principal`.

        Raises:
            TemporaryError: the hub is away, or knows it still.
        """
        if not self._hub.stop(str(payload["principal"])):
            raise TemporaryError("the hub has not forgotten the user yet", 1.0)
