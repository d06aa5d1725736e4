"""Filling an empty Broch with the demo, through the same services that people use, so its audit log tells a true story."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import structlog
from sqlmodel import select

from broch.demo.datasets import DATASETS
from broch.demo.notebooks import FIRST_LOOK, first_look_bytes
from broch.demo.people import PEOPLE, PROJECTS, DemoPerson, DemoProject
from broch_api.datasets.catalogue import DatasetCatalogue
from broch_api.datasets.exports import ExportDesk
from broch_api.datasets.grants import GrantDesk
from broch_api.datasets.ingest import FolderIngest
from broch_api.datasets.schemas import DatasetCreate, ExportCreate, GrantCreate
from broch_api.datasets.versions import VersionVault
from broch_api.people.schemas import PersonCreate
from broch_api.people.service import PeopleRegister
from broch_api.projects.members import MemberRegister
from broch_api.projects.schemas import MemberAdd, ProjectCreate
from broch_api.projects.service import ProjectRegister
from broch_core.actions import Action
from broch_core.actors import SYSTEM, Actor, PlatformRole
from broch_core.audit.record import AuditSubject
from broch_core.clock import utc_now
from broch_core.lifecycles import ProjectEvent
from broch_core.store.unit import Store
from broch_core.tables.people import Person, PersonRole
from broch_core.web.sessions import actor_of
from broch_workspaces.zones import FolderZones

T = TypeVar("T")
log = structlog.get_logger()


def is_empty(store: Store) -> bool:
    """Tell whether nobody is here yet."""
    with store.read() as session:
        return session.exec(select(Person.id).limit(1)).first() is None


class Seed:
    """One filling of an empty Broch."""

    def __init__(self, services: Mapping[type, Any]) -> None:
        self._services = services
        self._store: Store = services[Store]

    def plant(self) -> None:
        """Make people, data and projects. One that dies half-way is set aside by the next start (`broch.first_start`)."""
        admin = next(person for person in PEOPLE if PlatformRole.ADMIN in person.platform_roles)
        self._first_admin(admin)
        for person in PEOPLE:
            if person is not admin:
                self._service(PeopleRegister).create(
                    self._actor(admin.handle),
                    PersonCreate(
                        handle=person.handle,
                        display_name=person.name,
                        about=person.role,
                        roles=person.platform_roles,
                    ),
                )
        versions = self._datasets()
        for project in PROJECTS:
            self._project(admin, project, versions)
        log.info("demo.planted", people=len(PEOPLE), datasets=len(versions), projects=len(PROJECTS))

    def _first_admin(self, admin: DemoPerson) -> None:
        with self._store.write() as change:
            person = Person(handle=admin.handle, display_name=admin.name, about=admin.role)
            change.session.add(person)
            change.session.flush()
            change.session.add_all(
                PersonRole(person_id=person.id, role=role) for role in admin.platform_roles
            )
            change.audit(
                SYSTEM, Action.PERSON_CREATE, AuditSubject("person", person.id), personal={"name": admin.name}
            )

    def _datasets(self) -> dict[str, tuple[str, str]]:
        """Register and seal each dataset; return slug -> (dataset id, version id)."""
        steward = self._with_role(PlatformRole.STEWARD)
        catalogue = self._service(DatasetCatalogue)
        made = {}
        for dataset in DATASETS:
            owner = next(person.handle for person in PEOPLE if dataset.slug in person.owns)
            row = catalogue.create(
                steward,
                DatasetCreate(
                    slug=dataset.slug,
                    title=dataset.title,
                    description=dataset.description,
                    licence=dataset.licence,
                    owner=owner,
                ),
            )
            version = catalogue.create_version(steward, row.id)
            with tempfile.TemporaryDirectory() as folder:
                dataset.build(Path(folder))
                self._service(FolderIngest).ingest_folder(steward, version.id, Path(folder))
            self._service(VersionVault).seal(steward, version.id)
            made[dataset.slug] = (row.id, version.id)
        return made

    def _project(
        self, admin: DemoPerson, project: DemoProject, versions: Mapping[str, tuple[str, str]]
    ) -> None:
        actor = self._actor(admin.handle)
        desk = self._service(ProjectRegister)
        today = utc_now().date()
        ends_on = today + timedelta(days=project.days)
        row = desk.create(
            actor,
            ProjectCreate(
                slug=project.slug,
                name=project.name,
                purpose=project.purpose,
                starts_on=today,
                ends_on=ends_on,
            ),
        )
        for member in project.members:
            self._service(MemberRegister).add(
                actor, row.id, MemberAdd(handle=member.handle, role=member.role)
            )
        desk.move(actor, row.id, ProjectEvent.ACTIVATE)
        for slug in project.datasets:
            dataset_id, version_id = versions[slug]
            owner = self._actor(next(person.handle for person in PEOPLE if slug in person.owns))
            self._service(GrantDesk).give(
                owner, dataset_id, GrantCreate(project_id=row.id, version_id=version_id, until=ends_on)
            )
            for member in project.members:
                if member.may_export:
                    person_id = self._actor(member.handle).person_id
                    self._service(ExportDesk).give(
                        owner, dataset_id, ExportCreate(project_id=row.id, person_id=person_id)
                    )
        for member in project.members:
            home = self._service(FolderZones).home(row.id, self._actor(member.handle).person_id)
            notebook = os.open(home / FIRST_LOOK, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(notebook, "wb") as file:
                file.write(first_look_bytes(project))

    def _service(self, kind: type[T]) -> T:
        service: T = self._services[kind]
        return service

    def _actor(self, handle: str) -> Actor:
        with self._store.read() as session:
            person = session.exec(select(Person).where(Person.handle == handle)).one()
            return actor_of(session, person, utc_now())

    def _with_role(self, role: PlatformRole) -> Actor:
        return self._actor(next(person.handle for person in PEOPLE if role in person.platform_roles))
