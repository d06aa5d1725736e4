"""Grants of dataset versions to projects. The information asset owner of a dataset decides."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeVar

from sqlmodel import Session, col, or_, select

from broch_api.datasets.catalogue import find_dataset
from broch_api.datasets.schemas import GrantCreate, GrantView, ProjectRef
from broch_api.revocations.begin import EndedRight, revoke
from broch_core.actions import Action
from broch_core.actors import Actor, PlatformRole
from broch_core.audit.record import AuditSubject
from broch_core.clock import utc_now
from broch_core.errors import Conflict, Invalid, NotFound
from broch_core.lifecycles import ProjectStatus, VersionStatus
from broch_core.revocations import RevocationCause
from broch_core.rules import Resource, require
from broch_core.scope import EVERYTHING, find_project, scope_of
from broch_core.store.unit import Store
from broch_core.tables.datasets import Dataset, DatasetVersion, ExportPermission, Grant, GrantKind
from broch_core.tables.projects import Project

R = TypeVar("R", Grant, ExportPermission)


def resource_of(dataset: Dataset, *, kind: str = "dataset", id_: str | None = None) -> Resource:
    """Return what the rules ask about a dataset."""
    return Resource(kind, id_ or dataset.id, owner_id=dataset.owner_id)


def oversees(actor: Actor, dataset: Dataset) -> bool:
    """Tell whether the actor sees every grant of a dataset: its owner and admins."""
    return actor.person_id == dataset.owner_id or actor.has(PlatformRole.ADMIN)


def seen_of(actor: Actor, dataset: Dataset, project_id: Any) -> list[Any]:
    """Return the condition on a column of project ids by which an actor sees rows about a dataset.

    Owner and admins see all of them, others those of their projects.
    """
    return [] if oversees(actor, dataset) else [col(project_id).in_(actor.memberships)]


def reach(
    actor: Actor, action: Action, about: Resource, found: tuple[R, Dataset] | None
) -> tuple[R, Dataset]:
    """Return a row and its dataset if the actor may do `action` to it.

    Raises:
        NotFound: there is none, or the actor may not know of it.
        Denied: the rule says no.
    """
    if found is None or not (oversees(actor, found[1]) or found[0].project_id in scope_of(actor)):
        raise NotFound(action=action, resource=about)
    require(actor, action, resource_of(found[1], kind=about.kind, id_=about.id))
    return found


class GrantDesk:
    """Gives and revokes grants."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def list(self, actor: Actor, dataset_id: str) -> Sequence[GrantView]:
        """Return the grants of a dataset that the actor may see: the owner and admins all, others their projects'.

        Raises:
            NotFound: there is no such dataset.
        """
        require(actor, Action.DATASET_READ, Resource("dataset", dataset_id))
        with self._store.read() as session:
            dataset = find_dataset(session, dataset_id)
            seen = seen_of(actor, dataset, Grant.project_id)
            return _grants(session, [Dataset.id == dataset_id, *seen], utc_now())

    def projects(self, actor: Actor, dataset_id: str) -> Sequence[ProjectRef]:
        """Return the projects that a grant can go to: for its owner, who is rarely a member of one.

        Raises:
            NotFound: there is no such dataset.
            Denied: the actor is not its owner.
        """
        with self._store.read() as session:
            require(actor, Action.GRANT_CREATE, resource_of(find_dataset(session, dataset_id)))
            rows = session.exec(
                select(Project).where(Project.status != ProjectStatus.ENDED).order_by(Project.name)
            ).all()
        return [ProjectRef.of(row) for row in rows]

    def give(self, actor: Actor, dataset_id: str, body: GrantCreate) -> GrantView:
        """Let a project use a sealed version.

        Raises:
            NotFound: there is no such dataset, version of it, or project.
            Denied: the actor is not its owner.
            Invalid: the last day is past, or after the end of the project.
            Conflict: the version is not sealed, the project has ended, or has a grant already that stands in the way.
        """
        with self._store.write() as change:
            session, today = change.session, utc_now().date()
            dataset = find_dataset(session, dataset_id)
            require(actor, Action.GRANT_CREATE, resource_of(dataset))
            # Whoever answers for data must be able to name any project for it, member or not.
            project = find_project(session, EVERYTHING, body.project_id, lock=True)
            version = session.exec(
                select(DatasetVersion)
                .where(DatasetVersion.id == body.version_id, DatasetVersion.dataset_id == dataset_id)
                .with_for_update()
            ).first()
            if version is None:
                raise NotFound
            if version.status is not VersionStatus.SEALED:
                raise Conflict(
                    f"Version {version.number} is {version.status.value}: only a sealed one can be granted.",
                    field="version_id",
                )
            if project.status is ProjectStatus.ENDED:
                raise Conflict(f"The project '{project.name}' has ended.", field="project_id")
            if not today <= body.until <= project.ends_on:
                raise Invalid(
                    f"The last day lies between today and the end of the project, {project.ends_on}.",
                    field="until",
                )
            _refuse_double(session, dataset, body)
            grant = Grant(**body.model_dump(), given_by=actor.person_id)
            session.add(grant)
            change.audit(
                actor.person_id,
                Action.GRANT_CREATE,
                AuditSubject("grant", grant.id, project.id),
                facts={"version": version.id, "kind": body.kind.value, "until": str(body.until)},
            )
            session.flush()
            return _grants(session, [Grant.id == grant.id], utc_now())[0]

    def revoke(self, actor: Actor, grant_id: str, *, dataset_id: str | None = None) -> GrantView:
        """Take a grant back now; workspaces that have it mounted stop.

        Args:
            actor: who.
            grant_id: which.
            dataset_id: of which dataset, where the caller says so.

        Raises:
            NotFound: the actor may not know of it.
            Denied: the actor is neither owner of the dataset nor a platform admin.
            Conflict: it is revoked already.
        """
        with self._store.write() as change:
            session = change.session
            about = Resource("grant", grant_id)
            grant, dataset = reach(actor, Action.GRANT_REVOKE, about, _find(session, grant_id, dataset_id))
            find_project(session, EVERYTHING, grant.project_id, lock=True)
            session.refresh(grant)
            if grant.revoked_at is not None:
                raise Conflict("The grant is revoked already.")
            grant.revoked_at = utc_now()
            session.add(grant)
            change.audit(
                actor.person_id,
                Action.GRANT_REVOKE,
                AuditSubject("grant", grant.id, grant.project_id),
                facts={"version": grant.version_id},
            )
            if grant.kind is GrantKind.MOUNT:
                session.flush()
                revoke(
                    change,
                    EndedRight(
                        RevocationCause.GRANT_REVOKED,
                        grant.project_id,
                        actor.person_id,
                        f"The project may no longer use the data in /data/{dataset.slug}.",
                        version_ids=[grant.version_id],
                    ),
                )
            session.flush()
            return _grants(session, [Grant.id == grant_id], utc_now())[0]


def _find(session: Session, grant_id: str, dataset_id: str | None) -> tuple[Grant, Dataset] | None:
    return session.exec(
        select(Grant, Dataset)
        .join(DatasetVersion, col(DatasetVersion.id) == Grant.version_id)
        .join(Dataset, col(Dataset.id) == DatasetVersion.dataset_id)
        .where(Grant.id == grant_id, or_(dataset_id is None, Dataset.id == dataset_id))
    ).first()


def _refuse_double(session: Session, dataset: Dataset, body: GrantCreate) -> None:
    """Refuse a second grant of the same kind: `/data/<slug>` can show one version only.

    Raises:
        Conflict: a grant stands in the way.
    """
    standing = session.exec(
        select(DatasetVersion.number)
        .join(Grant, col(Grant.version_id) == DatasetVersion.id)
        .where(
            DatasetVersion.dataset_id == dataset.id,
            Grant.project_id == body.project_id,
            Grant.kind == body.kind,
            Grant.until >= utc_now().date(),
            col(Grant.revoked_at).is_(None),
        )
    ).first()
    if standing is not None:
        raise Conflict(
            f"The project has a grant of this kind for version {standing} of the dataset.",
            remedy="Revoke that one first.",
            field="project_id",
        )


def grants_of_project(session: Session, project: Project, now: datetime) -> list[GrantView]:
    """Return every grant of a project: those that hold first, then the newest."""
    return _grants(session, [Grant.project_id == project.id], now)


def _grants(session: Session, conditions: Sequence[Any], now: datetime) -> list[GrantView]:
    rows = session.exec(
        select(Grant, DatasetVersion, Dataset, Project)
        .join(DatasetVersion, col(DatasetVersion.id) == Grant.version_id)
        .join(Dataset, col(Dataset.id) == DatasetVersion.dataset_id)
        .join(Project, col(Project.id) == Grant.project_id)
        .where(*conditions)
        .order_by(col(Grant.id).desc())
    ).all()
    views = [
        GrantView(
            id=grant.id,
            project=ProjectRef.of(project),
            dataset_id=dataset.id,
            dataset_slug=dataset.slug,
            dataset_title=dataset.title,
            version_id=version.id,
            version_number=version.number,
            version_status=version.status,
            kind=grant.kind,
            until=grant.until,
            given_at=grant.given_at,
            revoked_at=grant.revoked_at,
            holds=grant.revoked_at is None
            and grant.until >= now.date()
            and version.status is VersionStatus.SEALED,
        )
        for grant, version, dataset, project in rows
    ]
    return sorted(views, key=lambda view: not view.holds)
