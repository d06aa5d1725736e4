"""Permissions to export: who may submit results made from a dataset (`egress:submit`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlmodel import Session, col, or_, select

from broch_api.datasets.catalogue import find_dataset
from broch_api.datasets.grants import reach, resource_of, seen_of
from broch_api.datasets.schemas import ExportCreate, ExportPermissionView, ProjectMember, ProjectRef
from broch_api.people.schemas import PersonRef
from broch_api.projects.members import is_present_member
from broch_core.actions import Action
from broch_core.actors import Actor
from broch_core.audit.record import AuditSubject
from broch_core.clock import utc_now
from broch_core.errors import Conflict
from broch_core.rules import Resource, require
from broch_core.scope import EVERYTHING, find_project
from broch_core.store.unit import Store
from broch_core.tables.datasets import Dataset, DatasetVersion, ExportPermission, Grant
from broch_core.tables.people import Person
from broch_core.tables.projects import Membership, Project


class ExportDesk:
    """Gives and withdraws permissions to export."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def list(self, actor: Actor, dataset_id: str) -> Sequence[ExportPermissionView]:
        """Return the permissions of a dataset that the actor may see: owner and admins all, others their projects'.

        Raises:
            NotFound: there is no such dataset.
        """
        require(actor, Action.DATASET_READ, Resource("dataset", dataset_id))
        with self._store.read() as session:
            dataset = find_dataset(session, dataset_id)
            seen = seen_of(actor, dataset, ExportPermission.project_id)
            return _permissions(session, [ExportPermission.dataset_id == dataset_id, *seen])

    def candidates(self, actor: Actor, dataset_id: str) -> Sequence[ProjectMember]:
        """Return the members of projects with a grant who have no permission yet, for its owner.

        Raises:
            NotFound: there is no such dataset.
            Denied: the actor is not its owner.
        """
        now = utc_now()
        with self._store.read() as session:
            require(actor, Action.EXPORT_GIVE, resource_of(find_dataset(session, dataset_id)))
            granted = (
                select(Grant.project_id)
                .join(DatasetVersion, col(DatasetVersion.id) == Grant.version_id)
                .where(DatasetVersion.dataset_id == dataset_id)
            )
            members = session.exec(
                select(Project, Person)
                .join(Membership, col(Membership.project_id) == Project.id)
                .join(Person, col(Person.id) == Membership.person_id)
                .where(
                    col(Project.id).in_(granted),
                    or_(col(Membership.until).is_(None), col(Membership.until) > now),
                )
                .order_by(Project.name, Person.display_name)
            ).all()
            standing = {
                (one.project.id, one.person.id)
                for one in _permissions(session, [ExportPermission.dataset_id == dataset_id])
                if one.withdrawn_at is None
            }
        return [
            ProjectMember(project=ProjectRef.of(project), person=PersonRef.of(person))
            for project, person in members
            if (project.id, person.id) not in standing
        ]

    def give(self, actor: Actor, dataset_id: str, body: ExportCreate) -> ExportPermissionView:
        """Let a member submit results made from the dataset.

        Raises:
            NotFound: there is no such dataset or project.
            Denied: the actor is not the dataset's owner.
            Conflict: the project never had the dataset, the person is no member, or has the permission.
        """
        with self._store.write() as change:
            session = change.session
            dataset = find_dataset(session, dataset_id)
            require(actor, Action.EXPORT_GIVE, resource_of(dataset))
            project = find_project(session, EVERYTHING, body.project_id, lock=True)
            if not _ever_granted(session, dataset_id, project.id):
                raise Conflict(f"The project '{project.name}' never had this dataset.", field="project_id")
            if not is_present_member(session, project.id, body.person_id, utc_now()):
                raise Conflict(f"This person is no member of '{project.name}'.", field="person_id")
            key: list[Any] = [
                ExportPermission.project_id == project.id,
                ExportPermission.dataset_id == dataset_id,
                ExportPermission.person_id == body.person_id,
                col(ExportPermission.withdrawn_at).is_(None),
            ]
            if _permissions(session, key):
                raise Conflict("This person has the permission already.", field="person_id")
            row = ExportPermission(
                project_id=project.id,
                dataset_id=dataset_id,
                person_id=body.person_id,
                given_by=actor.person_id,
            )
            session.add(row)
            change.audit(
                actor.person_id,
                Action.EXPORT_GIVE,
                AuditSubject("export_permission", row.id, project.id),
                facts={"dataset": dataset_id, "person": body.person_id},
            )
            session.flush()
            return _permissions(session, [ExportPermission.id == row.id])[0]

    def withdraw(
        self, actor: Actor, permission_id: str, *, dataset_id: str | None = None
    ) -> ExportPermissionView:
        """Take a permission back now.

        Args:
            actor: who.
            permission_id: which.
            dataset_id: of which dataset, where the caller says so.

        Raises:
            NotFound: the actor may not know of it.
            Denied: the actor is neither owner of the dataset nor a platform admin.
            Conflict: it is withdrawn already.
        """
        with self._store.write() as change:
            session = change.session
            found = session.exec(
                select(ExportPermission, Dataset)
                .join(Dataset, col(Dataset.id) == ExportPermission.dataset_id)
                .where(
                    ExportPermission.id == permission_id, or_(dataset_id is None, Dataset.id == dataset_id)
                )
            ).first()
            about = Resource("export_permission", permission_id)
            row, dataset = reach(actor, Action.EXPORT_WITHDRAW, about, found)
            find_project(session, EVERYTHING, row.project_id, lock=True)
            session.refresh(row)
            if row.withdrawn_at is not None:
                raise Conflict("The permission is withdrawn already.")
            row.withdrawn_at = utc_now()
            session.add(row)
            change.audit(
                actor.person_id,
                Action.EXPORT_WITHDRAW,
                AuditSubject("export_permission", row.id, row.project_id),
                facts={"dataset": dataset.id, "person": row.person_id},
            )
            session.flush()
            return _permissions(session, [ExportPermission.id == permission_id])[0]


def permissions_of_project(session: Session, project_id: str) -> list[ExportPermissionView]:
    """Return every permission of a project: standing ones first, then the newest."""
    return _permissions(session, [ExportPermission.project_id == project_id])


def _ever_granted(session: Session, dataset_id: str, project_id: str) -> bool:
    found = session.exec(
        select(Grant.id)
        .join(DatasetVersion, col(DatasetVersion.id) == Grant.version_id)
        .where(DatasetVersion.dataset_id == dataset_id, Grant.project_id == project_id)
    ).first()
    return found is not None


def _permissions(session: Session, conditions: Sequence[Any]) -> list[ExportPermissionView]:
    rows = session.exec(
        select(ExportPermission, Dataset, Project, Person)
        .join(Dataset, col(Dataset.id) == ExportPermission.dataset_id)
        .join(Project, col(Project.id) == ExportPermission.project_id)
        .join(Person, col(Person.id) == ExportPermission.person_id)
        .where(*conditions)
        .order_by(col(ExportPermission.id).desc())
    ).all()
    views = [
        ExportPermissionView(
            id=row.id,
            project=ProjectRef.of(project),
            dataset_id=dataset.id,
            dataset_title=dataset.title,
            person=PersonRef.of(person),
            given_at=row.given_at,
            withdrawn_at=row.withdrawn_at,
        )
        for row, dataset, project, person in rows
    ]
    return sorted(views, key=lambda view: view.withdrawn_at is not None)
