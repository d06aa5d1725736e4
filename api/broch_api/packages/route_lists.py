"""What the package route is told: who may fetch what, now. It waits for the next change, as the controller does."""

from __future__ import annotations

import hashlib
import threading
import time
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, select

from broch_core.clock import utc_now
from broch_core.lifecycles import AllowanceStatus, ProjectStatus
from broch_core.proof.canonical import canonical
from broch_core.store.unit import Store
from broch_core.tables.packages import ListedPackage, NominatedResource
from broch_core.tables.projects import Project
from broch_workspaces.packages.spec import Ecosystem, Package, PackageLists, ProjectList, Resource

LONGEST_WAIT = 30.0
"""Seconds that a question may wait for a change."""
_LOOK_SECONDS = 5.0
"""How often projects that begin or end by themselves are looked at while nobody changes anything."""
_MADE_OF = (Project, ListedPackage, NominatedResource)


class PackageListRegister:
    """The lists as the package route reads them."""

    def __init__(self, store: Store, bytes_a_day: int) -> None:
        self._store = store
        self._bytes_a_day = bytes_a_day
        self._changed = threading.Condition()
        self.asked_at: datetime | None = None
        """When the package route last asked."""
        for table in _MADE_OF:
            store.after_commit(str(table.__tablename__), self._wake)

    def lists(self, now: datetime | None = None) -> PackageLists:
        """Return what may be fetched, by all projects that are open and by each."""
        now = now or utc_now()
        with self._store.read() as session:
            projects = _open_projects(session, now)
            # Before what it is of: a change between both (READ COMMITTED) is then told by the next answer, never lost.
            digest = self._digest(session, projects)
            packages: dict[str | None, list[Package]] = {}
            for row in _allowed(session, projects):
                packages.setdefault(row.project_id, []).append(package_of(row))
            resources: dict[str, list[Resource]] = {}
            for one in session.exec(
                select(NominatedResource)
                .where(
                    NominatedResource.status == AllowanceStatus.ALLOWED,
                    col(NominatedResource.project_id).in_(projects),
                )
                .order_by(NominatedResource.id)
            ):
                resources.setdefault(one.project_id, []).append(
                    Resource(slug=one.slug, url=one.url, sha256=one.sha256, largest=one.largest)
                )
            return PackageLists(
                digest=digest,
                common=tuple(packages.get(None, ())),
                projects=tuple(
                    ProjectList(
                        project_id=project.id,
                        packages=tuple(packages.get(project.id, ())),
                        resources=tuple(resources.get(project.id, ())),
                        bytes_a_day=project.package_bytes_a_day or self._bytes_a_day,
                    )
                    for project in projects.values()
                ),
            )

    def wait(self, after: str, seconds: float) -> PackageLists:
        """Return the lists once their digest is another than `after`, or after `seconds`."""
        self.asked_at = utc_now()
        ends = time.monotonic() + min(seconds, LONGEST_WAIT)
        while True:
            # The digest needs no files: asking every few seconds must not read a list of thousands.
            with self._store.read() as session:
                digest = self._digest(session, _open_projects(session, utc_now()))
            left = ends - time.monotonic()
            if digest != after or left <= 0:
                return self.lists()
            with self._changed:
                self._changed.wait(min(left, _LOOK_SECONDS))

    def _digest(self, session: Session, projects: dict[str, Project]) -> str:
        """Return the digest of what is allowed: rows are told by id and version, which each change counts up."""
        row, one = ListedPackage, NominatedResource
        said = {
            "packages": [
                [*found]
                for found in session.exec(
                    select(row.id, row.version)
                    .where(row.status == AllowanceStatus.ALLOWED, _counts(projects))
                    .order_by(row.id)
                )
            ],
            "resources": [
                [*found]
                for found in session.exec(
                    select(one.id, one.version)
                    .where(one.status == AllowanceStatus.ALLOWED, col(one.project_id).in_(projects))
                    .order_by(one.id)
                )
            ],
            "projects": [
                [project.id, project.package_bytes_a_day or self._bytes_a_day]
                for project in projects.values()
            ],
        }
        return hashlib.sha256(canonical(said)).hexdigest()[:16]

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()


def is_open(project: Project, now: datetime) -> bool:
    """Tell whether zones of a project may fetch: it is active, and today is one of its days."""
    return project.status is ProjectStatus.ACTIVE and project.starts_on <= now.date() <= project.ends_on


def package_of(row: ListedPackage) -> Package:
    """Return an entry as the package route takes it."""
    return Package(
        ecosystem=Ecosystem(row.ecosystem),
        name=row.name,
        version=row.release,
        licence=row.licence,
        files=tuple(row.files),
        channel=row.channel,
        facts=row.facts,
    )


def _open_projects(session: Session, now: datetime) -> dict[str, Project]:
    rows = session.exec(select(Project).where(Project.status == ProjectStatus.ACTIVE).order_by(Project.id))
    return {project.id: project for project in rows if is_open(project, now)}


def _counts(projects: dict[str, Project]) -> Any:
    project_id = col(ListedPackage.project_id)
    return project_id.is_(None) | project_id.in_(projects)


def _allowed(session: Session, projects: dict[str, Project]) -> list[ListedPackage]:
    return list(
        session.exec(
            select(ListedPackage)
            .where(ListedPackage.status == AllowanceStatus.ALLOWED, _counts(projects))
            .order_by(ListedPackage.id)
        )
    )
