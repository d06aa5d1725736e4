"""A small world for service tests: a fresh database with triggers, people and a project, in one line."""

from __future__ import annotations

import atexit
import shutil
import sqlite3
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine, event, inspect
from sqlmodel import SQLModel, select, text

import broch_airlock.tables
from broch_airlock import triggers as airlock_triggers
from broch_core.actors import Actor, PlatformRole, ProjectRole
from broch_core.audit import triggers as audit_triggers
from broch_core.audit.log import AuditLog
from broch_core.clock import utc_now
from broch_core.lifecycles import ProjectStatus, VersionStatus
from broch_core.proof import KeyFolder
from broch_core.settings import Settings
from broch_core.store.engine import app_authorizer, make_engine
from broch_core.store.unit import Store
from broch_core.tables.datasets import Dataset, DatasetVersion, ExportPermission, Grant
from broch_core.tables.people import Person, PersonRole
from broch_core.tables.projects import Membership, Project
from broch_core.web.sessions import Sessions, actor_of

ORIGIN = "broch.test/log"
__all__ = ["ORIGIN", "World", "make_world"]
assert broch_airlock.tables  # its tables belong to the metadata


@dataclass
class World:
    """Everything a service test needs."""

    folder: Path
    settings: Settings
    store: Store
    sessions: Sessions
    keys: KeyFolder
    audit_log: AuditLog
    people: dict[str, Person] = field(default_factory=dict)
    project: Project = field(
        default_factory=lambda: Project(
            slug="x", name="x", starts_on=utc_now().date(), ends_on=utc_now().date()
        )
    )

    def actor(self, handle: str) -> Actor:
        """Return a person's actor with the rights of now."""
        with self.store.read() as session:
            return actor_of(session, self.people[handle], utc_now())

    def token(self, handle: str) -> str:
        """Sign a person in; return the bearer token."""
        return self.sessions.start(handle, kind="cli").token

    def headers(self, handle: str) -> dict[str, str]:
        """Return the headers of a signed-in caller of the API."""
        return {"Authorization": f"Bearer {self.token(handle)}"}

    def add(self, *rows: SQLModel) -> None:
        """Put rows straight into the database."""
        with self.store.write(housekeeping=True) as change:
            change.session.add_all(rows)

    def add_person(self, handle: str, *roles: PlatformRole) -> Person:
        """Add somebody."""
        person = Person(handle=handle, display_name=handle.title())
        self.add(person)
        self.add(*(PersonRole(person_id=person.id, role=role) for role in roles))
        self.people[handle] = person
        return person

    def add_project(self, slug: str, *members: str, status: ProjectStatus = ProjectStatus.ACTIVE) -> Project:
        """Add a project that runs for a year, with members."""
        today = datetime.now(UTC).date()
        project = Project(
            slug=slug,
            name=slug.title(),
            status=status,
            starts_on=today - timedelta(days=1),
            ends_on=today + timedelta(days=365),
        )
        self.add(project)
        self.add(
            *(
                Membership(project_id=project.id, person_id=self.people[m].id, role=ProjectRole.RESEARCHER)
                for m in members
            )
        )
        return project

    def grant(self, project: Project, slug: str, *exporters: str, owner: str = "owen") -> Dataset:
        """Grant a sealed one-version dataset to a project; let `exporters` export from it."""
        dataset = Dataset(slug=slug, title=slug.title(), owner_id=self.people[owner].id)
        self.add(dataset)
        version = DatasetVersion(
            dataset_id=dataset.id, number=1, status=VersionStatus.SEALED, sealed_at=utc_now()
        )
        self.add(version)
        owner_id = self.people[owner].id
        self.add(
            Grant(project_id=project.id, version_id=version.id, until=project.ends_on, given_by=owner_id),
            *(
                ExportPermission(
                    project_id=project.id,
                    dataset_id=dataset.id,
                    person_id=self.people[p].id,
                    given_by=owner_id,
                )
                for p in exporters
            ),
        )
        return dataset


def make_world(folder: Path, url: str | None = None) -> World:
    """Make a world: admin ada, steward stella, asset owner owen, reviewers rita, ravi and rosa, researchers ruth and
    robin in the project `alpha` (with the dataset `cohort`, ruth may export), and stranger sam in the project `beta`.

    Args:
        folder: an empty folder for its files.
        url: an empty database; SQLite in the folder if none is given.
    """
    settings = Settings(folder=folder, demo=True)
    if url is None and (template := _template()) != folder:
        return _copy(template, settings)
    url = url or settings.store_url()
    owner = make_engine(url, owner=True)
    if not inspect(owner).has_table("person"):  # else migrations were here, with their roles
        _make_schema(owner)
    owner.dispose()
    world = _open(settings, url)
    world.keys.create(utc_now())
    world.add_person("ada", PlatformRole.ADMIN)
    world.add_person("stella", PlatformRole.STEWARD)
    world.add_person("owen", PlatformRole.ASSET_OWNER)
    for handle in ("rita", "ravi", "rosa"):
        world.add_person(handle, PlatformRole.REVIEWER)
    for handle in ("ruth", "robin", "sam"):
        world.add_person(handle)
    world.project = world.add_project("alpha", "ruth", "robin")
    world.grant(world.project, "cohort", "ruth")
    world.add_project("beta", "sam")
    return world


def _make_schema(owner: Engine) -> None:
    SQLModel.metadata.create_all(owner)
    with owner.begin() as connection:
        sqlite = owner.dialect.name == "sqlite"
        for triggers in (audit_triggers, airlock_triggers):
            for statement in triggers.sqlite_triggers() if sqlite else triggers.postgresql_triggers():
                connection.execute(text(statement))


def _open(settings: Settings, url: str) -> World:
    engine = make_engine(url)
    if engine.dialect.name == "sqlite":
        # No test here pulls the plug; those that do start processes of their own.
        event.listen(engine, "connect", _without_waiting_for_the_disk)
    store = Store(engine)
    sessions = Sessions(store, b"test secret of thirty-two bytes..", settings.session_lifetime)
    keys = KeyFolder(settings.folder / "keys", ORIGIN)
    return World(settings.folder, settings, store, sessions, keys, AuditLog(store, keys, ORIGIN))


def _without_waiting_for_the_disk(connection: sqlite3.Connection, _record: object) -> None:
    connection.set_authorizer(None)
    connection.execute("PRAGMA synchronous=OFF")
    connection.set_authorizer(app_authorizer)


_templates: list[Path] = []


def _template() -> Path:
    """Return a folder with the world as it begins, made once: copying a file is ten times faster than filling one."""
    if not _templates:
        folder = Path(tempfile.mkdtemp(prefix="broch-world-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        _templates.append(folder)
        make_world(folder).store.engine.dispose()
    return _templates[0]


def _copy(template: Path, settings: Settings) -> World:
    settings.folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(template / "broch.sqlite", settings.folder / "broch.sqlite")
    shutil.copytree(template / "keys", settings.folder / "keys")
    return open_world(settings)


def open_world(settings: Settings) -> World:
    """Open a world that was made before, in this process or in another one."""
    world = _open(settings, settings.store_url())
    with world.store.read() as session:
        world.people = {person.handle: person for person in session.exec(select(Person))}
        world.project = session.exec(select(Project).where(Project.slug == "alpha")).one()
    return world
