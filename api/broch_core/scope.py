"""What an actor may see, and the facts about a project that rules ask for. Repositories take a `ProjectScope`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select as sql_select
from sqlmodel import Session, col, func, select

from broch_core.actors import Actor, PlatformRole
from broch_core.errors import Conflict, NotFound
from broch_core.lifecycles import ProjectStatus, VersionStatus
from broch_core.tables.datasets import Dataset, DatasetVersion, ExportPermission, Grant
from broch_core.tables.projects import Membership, Project
from broch_core.tables.revocations import TreFreeze

_FREEZE_KEY = 0x667265657A65
"""Advisory lock on PostgreSQL ("freeze")."""


@dataclass(frozen=True)
class ProjectScope:
    """The projects whose rows a repository may return; `None` stands for all of them."""

    project_ids: frozenset[str] | None

    def __contains__(self, project_id: str) -> bool:
        """Tell whether the project lies inside."""
        return self.project_ids is None or project_id in self.project_ids


EVERYTHING = ProjectScope(None)


def scope_of(actor: Actor) -> ProjectScope:
    """Return what the actor may see: admins everything, others the projects they are members of now."""
    return EVERYTHING if actor.has(PlatformRole.ADMIN) else ProjectScope(frozenset(actor.memberships))


def find_project(session: Session, scope: ProjectScope, project_id: str, *, lock: bool = False) -> Project:
    """Return a project inside the scope.

    Args:
        session: where to look.
        scope: what the actor may see.
        project_id: which.
        lock: lock its row until the transaction ends. Decisions and changes of membership lock the same row, so
            that nobody becomes a member between being found independent and deciding.

    Raises:
        NotFound: it does not exist or lies outside the scope.
    """
    if project_id not in scope:
        raise NotFound
    query = select(Project).where(Project.id == project_id)
    project = session.exec(query.with_for_update() if lock else query).first()
    if project is None:
        raise NotFound
    return project


def not_running(project: Project, now: datetime) -> Conflict | None:
    """Return why no work may go on in a project; nothing while it may."""
    if project.status is not ProjectStatus.ACTIVE:
        return Conflict(
            f"The project '{project.name}' is {project.status.value}.",
            remedy="Ask a platform admin to activate it."
            if project.status is ProjectStatus.PLANNED
            else None,
        )
    if not project.starts_on <= now.date() <= project.ends_on:
        return Conflict(
            f"The project '{project.name}' runs from {project.starts_on} to {project.ends_on}, not today."
        )
    return None


def require_running(project: Project, now: datetime) -> None:
    """Raise unless work may go on in the project.

    Raises:
        Conflict: it is not active, has not begun, or is over.
    """
    if (why := not_running(project, now)) is not None:
        raise why


def freeze_in_force(session: Session) -> TreFreeze | None:
    """Return the freeze of the whole TRE, if there is one."""
    return session.exec(select(TreFreeze).where(col(TreFreeze.in_force).is_(True))).first()


def hold_freeze(session: Session, *, change: bool = False) -> None:
    """Have it stay as it is, frozen or not, until the transaction ends. Call it before any row is locked.

    A freeze finds the projects that run by one look at the table: one that begins to run after that look, and asked for
    a freeze before it was written, would run on. So those two wait for each other; rows alone cannot hold that, for the
    project may not have been there.

    Args:
        session: of the transaction. On SQLite it is the only writer anyhow.
        change: this transaction begins or ends a freeze; others only rely on what they find.
    """
    if session.get_bind().dialect.name == "sqlite":
        return
    lock = func.pg_advisory_xact_lock if change else func.pg_advisory_xact_lock_shared
    session.execute(sql_select(lock(_FREEZE_KEY)))


def require_thawed_tre(session: Session) -> None:
    """Raise while the whole TRE is frozen.

    Raises:
        Conflict: it is.
    """
    if freeze_in_force(session) is not None:
        raise Conflict("The whole TRE is frozen.", remedy="Ask a platform admin.")


def ever_members(session: Session, project_id: str) -> frozenset[str]:
    """Return everybody who was a member at any time."""
    return frozenset(session.exec(select(Membership.person_id).where(Membership.project_id == project_id)))


def live_grants(
    session: Session, project_id: str, now: datetime
) -> list[tuple[Grant, DatasetVersion, Dataset]]:
    """Return the grants of a project that hold now, each with its version and dataset; of sealed versions only."""
    rows = session.exec(
        select(Grant, DatasetVersion, Dataset)
        .join(DatasetVersion, col(DatasetVersion.id) == Grant.version_id)
        .join(Dataset, col(Dataset.id) == DatasetVersion.dataset_id)
        .where(
            Grant.project_id == project_id,
            col(Grant.revoked_at).is_(None),
            Grant.until >= now.date(),
            DatasetVersion.status == VersionStatus.SEALED,
        )
        .order_by(Dataset.slug)
    )
    return list(rows)


def may_export(session: Session, project_id: str, person_id: str) -> bool:
    """Tell whether the asset owners of all data the project ever had let this person submit egress.

    Data that was granted once may be in any result, so grants that have ended count too. A project without data
    has nobody to ask: no.
    """
    datasets = set(
        session.exec(
            select(DatasetVersion.dataset_id)
            .join(Grant, col(Grant.version_id) == DatasetVersion.id)
            .where(Grant.project_id == project_id)
        )
    )
    permitted = set(
        session.exec(
            select(ExportPermission.dataset_id).where(
                ExportPermission.project_id == project_id,
                ExportPermission.person_id == person_id,
                col(ExportPermission.withdrawn_at).is_(None),
            )
        )
    )
    return bool(datasets) and datasets <= permitted
