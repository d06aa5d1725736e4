"""What somebody can do next: facts from the tables here, and cards that other parts of Broch contribute."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from sqlmodel import Session, col, func, select

from broch_core.actions import Action
from broch_core.actors import Actor, PlatformRole, ProjectRole
from broch_core.clock import utc_now
from broch_core.lifecycles import ProjectStatus, VersionStatus, WorkspaceStatus
from broch_core.rules import require
from broch_core.store.unit import Store
from broch_core.tables.datasets import Dataset, DatasetVersion, Grant
from broch_core.tables.projects import Project
from broch_core.tables.workspaces import Workspace

SOON = timedelta(days=14)
"""Projects that end within this are named to administrators. Two weeks: time to ask for more."""
_MOST = 50


@dataclass(frozen=True)
class HomeCard:
    """One thing that waits for somebody."""

    title: str
    text: str
    href: str
    action: str
    """What the link says."""
    count: int | None = None
    tone: str = "info"


HomeCards = Callable[[Actor], Sequence[HomeCard]]
"""Contributed by parts of Broch that the control plane does not import."""


@dataclass(frozen=True)
class HomeProject:
    """One of somebody's projects, with the workspace in it."""

    id: str
    name: str
    status: ProjectStatus
    role: ProjectRole
    ends_at: datetime
    workspace: WorkspaceStatus | None
    deadline_at: datetime | None


@dataclass(frozen=True)
class HomeView:
    """Everything that the first page says."""

    projects: Sequence[HomeProject]
    cards: Sequence[HomeCard]


class HomeDesk:
    """Gathers the first page of a person."""

    def __init__(self, store: Store, contributed: Sequence[HomeCards] = ()) -> None:
        self._store = store
        self._contributed = tuple(contributed)

    def view(self, actor: Actor) -> HomeView:
        """Return what the actor can do next."""
        require(actor, Action.PROJECT_LIST)
        with self._store.read() as session:
            projects = _projects(session, actor)
            cards = [
                *(_admin_cards(session) if actor.has(PlatformRole.ADMIN) else ()),
                *(_steward_cards(session) if actor.has(PlatformRole.STEWARD) else ()),
                *(_owner_cards(session, actor) if actor.has(PlatformRole.ASSET_OWNER) else ()),
            ]
        for contribute in self._contributed:
            cards.extend(contribute(actor))
        return HomeView(projects, cards)


def _projects(session: Session, actor: Actor) -> list[HomeProject]:
    rows = session.exec(
        select(Project, Workspace)
        .join(
            Workspace,
            (col(Workspace.project_id) == Project.id) & (col(Workspace.person_id) == actor.person_id),
            isouter=True,
        )
        .where(col(Project.id).in_(actor.memberships))
        .order_by(col(Project.status) == ProjectStatus.ENDED, col(Project.ends_on))
        .limit(_MOST)
    ).all()
    return [
        HomeProject(
            id=project.id,
            name=project.name,
            status=project.status,
            role=actor.memberships[project.id],
            ends_at=datetime.combine(project.ends_on + timedelta(days=1), time(), UTC),
            workspace=workspace.status if workspace is not None else None,
            deadline_at=workspace.deadline_at if workspace is not None else None,
        )
        for project, workspace in rows
    ]


def _admin_cards(session: Session) -> list[HomeCard]:
    def count(*conditions: bool) -> int:
        return session.exec(select(func.count()).select_from(Project).where(*conditions)).one()

    soon = (utc_now() + SOON).date()
    planned = count(Project.status == ProjectStatus.PLANNED)
    frozen = count(Project.status == ProjectStatus.FROZEN)
    ending = count(Project.status == ProjectStatus.ACTIVE, Project.ends_on <= soon)
    cards = []
    if planned:
        cards.append(
            HomeCard("Planned projects", "They wait to be activated.", "/projects", "Look at them", planned)
        )
    if frozen:
        cards.append(
            HomeCard("Frozen projects", "Nothing moves in them.", "/projects", "Look at them", frozen, "warn")
        )
    if ending:
        cards.append(
            HomeCard(
                "Projects that end soon",
                "Their last day is within two weeks.",
                "/projects",
                "Look at them",
                ending,
                "warn",
            )
        )
    return [
        *cards,
        HomeCard("Projects", "Create, activate, freeze and end projects.", "/projects", "All projects"),
        HomeCard("People", "Who may sign in, and their platform roles.", "/people", "All people"),
    ]


def _steward_cards(session: Session) -> list[HomeCard]:
    rows = session.exec(
        select(DatasetVersion, Dataset)
        .join(Dataset, col(Dataset.id) == DatasetVersion.dataset_id)
        .where(col(DatasetVersion.status).in_([VersionStatus.OPEN, VersionStatus.SUSPENDED]))
        .order_by(col(DatasetVersion.id).desc())
        .limit(_MOST)
    ).all()
    cards = []
    for version, dataset in rows:
        here = f"/datasets/{dataset.id}/versions/{version.id}"
        if version.status is VersionStatus.SUSPENDED:
            text = version.suspended_reason or "Its bytes are not those that were sealed."
            cards.append(
                HomeCard(
                    f"{dataset.title}, version {version.number}", text, here, "Look into it", None, "bad"
                )
            )
        else:
            cards.append(
                HomeCard(
                    f"{dataset.title}, version {version.number}",
                    "It is open: upload its files, then seal it.",
                    here,
                    "Go on",
                    None,
                    "progress",
                )
            )
    return [
        *cards,
        HomeCard("Datasets", "Register datasets and seal their versions.", "/datasets", "The catalogue"),
    ]


def _owner_cards(session: Session, actor: Actor) -> list[HomeCard]:
    rows = session.exec(
        select(Dataset, func.count(col(Grant.id)))
        .join(DatasetVersion, col(DatasetVersion.dataset_id) == Dataset.id, isouter=True)
        .join(
            Grant,
            (col(Grant.version_id) == DatasetVersion.id)
            & col(Grant.revoked_at).is_(None)
            & (col(Grant.until) >= utc_now().date()),
            isouter=True,
        )
        .where(Dataset.owner_id == actor.person_id)
        .group_by(col(Dataset.id))
        .order_by(Dataset.title)
        .limit(_MOST)
    ).all()
    return [
        HomeCard(
            dataset.title,
            f"{grants} {'grant holds' if grants == 1 else 'grants hold'}. You answer for this dataset.",
            f"/datasets/{dataset.id}",
            "Grants and permissions",
        )
        for dataset, grants in rows
    ]
