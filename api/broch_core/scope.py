"""What an actor may see, and the facts about a project that rules ask for. Repositories take a `ProjectScope`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, select

from broch_core.actors import Actor, PlatformRole
from broch_core.errors import Conflict, NotFound
from broch_core.lifecycles import ProjectStatus, VersionStatus
from broch_core.tables.datasets import Dataset, DatasetVersion, ExportPermission, Grant
from broch_core.tables.projects import Membership, Project


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


def require_running(project: Project, now: datetime) -> None:
    """Raise unless work may go on in the project.

    Raises:
        Conflict: it is not active, has not begun, or is over.
    """
    if project.status is not ProjectStatus.ACTIVE:
        raise Conflict(
            f"The project '{project.name}' is {project.status.value}.",
            remedy="Ask a platform admin to activate it."
            if project.status is ProjectStatus.PLANNED
            else None,
        )
    if not project.starts_on <= now.date() <= project.ends_on:
        raise Conflict(
            f"The project '{project.name}' runs from {project.starts_on} to {project.ends_on}, not today."
        )


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
