"""Reading what the right of a workspace hangs on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, or_, select

from broch_api.workspaces.rights import Entry, RunFacts, is_signed_out
from broch_core.errors import NotFound
from broch_core.scope import live_grants
from broch_core.tables.datasets import Dataset, DatasetVersion, Grant, GrantKind
from broch_core.tables.people import Person, UserSession
from broch_core.tables.projects import Membership, Project
from broch_core.tables.workspaces import LoginCode, Workspace


@dataclass(frozen=True)
class Standing:
    """A workspace with everything around it that matters, as of one moment."""

    workspace: Workspace
    project: Project
    member: bool
    member_until: datetime | None
    grants: Sequence[tuple[Grant, DatasetVersion, Dataset]]
    """Grants of kind `mount` that hold now."""
    signed_out: bool

    def facts(self, *, starting: bool = False) -> RunFacts:
        """Return the facts of the rule.

        Args:
            starting: it has nothing mounted yet and no deadline that counts.
        """
        return RunFacts(
            project_status=self.project.status,
            starts_on=self.project.starts_on,
            ends_on=self.project.ends_on,
            member=self.member,
            deadline_at=None if starting else self.workspace.deadline_at,
            mounted=frozenset() if starting else frozenset(self.workspace.grant_ids),
            live=frozenset(grant.id for grant, _, _ in self.grants),
            signed_out=self.signed_out and not starting,
            allowed=self.workspace.person_id is not None or self.project.shared_workspace,
        )


def membership_end(
    session: Session, project_id: str, person_id: str, now: datetime
) -> tuple[bool, datetime | None]:
    """Return whether the person is an active member now, and when that ends by itself (unset: open)."""
    ends = session.exec(
        select(Membership.until)
        .join(Person, col(Person.id) == Membership.person_id)
        .where(
            Membership.project_id == project_id,
            Membership.person_id == person_id,
            or_(col(Membership.until).is_(None), col(Membership.until) > now),
            col(Person.disabled_at).is_(None),
        )
    ).all()
    known = [until for until in ends if until is not None]
    return bool(ends), max(known) if ends and len(known) == len(ends) else None


def mount_grants(
    session: Session, project_id: str, now: datetime
) -> list[tuple[Grant, DatasetVersion, Dataset]]:
    """Return the live grants whose data appear in workspaces."""
    return [row for row in live_grants(session, project_id, now) if row[0].kind is GrantKind.MOUNT]


def standing_of(session: Session, workspace: Workspace, now: datetime) -> Standing:
    """Read what a workspace stands on.

    Raises:
        NotFound: its project is gone.
    """
    project = session.get(Project, workspace.project_id)
    if project is None:
        raise NotFound
    # The shared one stands on the project's rights; its members' own are asked of each stay in it.
    member, until = True, None
    if workspace.person_id is not None:
        member, until = membership_end(session, project.id, workspace.person_id, now)
    grants = mount_grants(session, project.id, now)
    signed_out = is_signed_out(entries_of(session, workspace), now)
    return Standing(workspace, project, member, until, grants, signed_out)


def entries_of(session: Session, workspace: Workspace) -> list[Entry]:
    """Return the sessions that entered the present start of a workspace."""
    entered = (
        select(LoginCode.session_id)
        .where(LoginCode.principal == workspace.principal)
        .where(col(LoginCode.redeemed_at) >= (workspace.opened_at or workspace.created_at))
    )
    rows = session.exec(
        select(UserSession.expires_at, UserSession.ended_at).where(col(UserSession.id).in_(entered))
    )
    return [Entry(expires_at, ended_at) for expires_at, ended_at in rows]


def entered_by(session: Session, session_id: str) -> list[str]:
    """Return the ids of the workspaces whose present start a session entered."""
    query = (
        select(Workspace.id)
        .join(LoginCode, col(LoginCode.principal) == Workspace.principal)
        .where(LoginCode.session_id == session_id, col(LoginCode.redeemed_at) >= col(Workspace.opened_at))
        .distinct()
        .order_by(Workspace.id)
    )
    return list(session.exec(query).all())


def find_principal(session: Session, principal: str, *, lock: bool = False) -> Workspace:
    """Return the workspace of a principal.

    Raises:
        NotFound: there is none.
    """
    query = select(Workspace).where(Workspace.principal == principal)
    found = session.exec(query.with_for_update() if lock else query).first()
    if found is None:
        raise NotFound("There is no such workspace.")
    return found
