"""A small world around the lists of packages: who asks, who decides, and a package route that knows what a test says."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from broch_api.packages.locks import LockDesk
from broch_api.packages.lookups import PackageLookups
from broch_api.packages.registry import PackageRegistry
from broch_api.packages.service import PackageDesk
from broch_core.actors import PlatformRole, ProjectRole
from broch_core.clock import utc_now
from broch_core.lifecycles import AllowanceStatus
from broch_core.settings import Settings
from broch_core.store.unit import Store
from broch_core.tables.packages import ListedPackage, Lookup, NominatedResource
from broch_core.tables.projects import Membership, Project
from support.governance import Governance, make_governance
from support.worlds import World

PACKAGES_TOKEN = "token-of-the-package-route"
ROUTE = "https://packages.test:8449"


def digest_of(name: str, number: int = 0) -> str:
    """Return the SHA-256 that a file has here."""
    return hashlib.sha256(f"{name}:{number}".encode()).hexdigest()


def package(name: str, version: str = "1.0.0", *, licence: str = "MIT", files: int = 2) -> dict[str, Any]:
    """Return a package as the package route says it."""
    return {
        "ecosystem": "pypi",
        "name": name,
        "version": version,
        "licence": licence,
        "files": [
            {
                "name": f"{name.replace('-', '_')}-{version}-{number}.whl",
                "digests": [f"sha256:{digest_of(name, number)}"],
                "size": 1000 + number,
            }
            for number in range(files)
        ],
        "facts": {"requires_python": ">=3.12"},
    }


def requirement(name: str, version: str = "1.0.0", *, numbers: tuple[int, ...] = (0,)) -> str:
    """Return a line of a lock file with digests."""
    return f"{name}=={version} " + " ".join(f"--hash=sha256:{digest_of(name, n)}" for n in numbers)


@dataclass
class FakeRoute:
    """The package route, as the control plane meets it: real HTTP messages, answers from a table."""

    known: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    status: int = 200
    asked: list[dict[str, Any]] = field(default_factory=list)
    away: bool = False
    hold: threading.Event = field(default_factory=threading.Event)
    """While it is not set, questions wait."""
    odd: dict[str, Callable[[httpx.Request], httpx.Response]] = field(default_factory=dict)
    """How packages of these names are answered instead."""

    def __post_init__(self) -> None:
        self.hold.set()

    def add(self, *found: dict[str, Any]) -> None:
        """Let the registry have packages."""
        for one in found:
            self.known[one["name"], one["version"]] = one

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer `POST /v1/resolve`."""
        if self.away:
            raise httpx.ConnectError("away", request=request)
        assert (request.method, request.url.path) == ("POST", "/v1/resolve")
        wanted = json.loads(request.content)
        self.asked.append(wanted)
        assert self.hold.wait(30)
        if wanted["name"] in self.odd:
            return self.odd[wanted["name"]](request)
        if self.status != httpx.codes.OK:
            return httpx.Response(self.status, json={"detail": "The registry does not answer."})
        found = self.known.get((wanted["name"], wanted["version"]))
        if found is None:
            return httpx.Response(404, json={"detail": "not there"})
        return httpx.Response(200, json={"package": found, "summary": "A package."})


@dataclass
class Lists:
    """The world, its services and the package route."""

    gov: Governance
    route: FakeRoute

    @property
    def world(self) -> World:
        return self.gov.world

    @property
    def desk(self) -> PackageDesk:
        desk: PackageDesk = self.gov.service(PackageDesk)
        return desk

    def rows(self) -> list[ListedPackage]:
        """Return every entry, oldest first."""
        from sqlmodel import select

        with self.world.store.read() as session:
            return list(session.exec(select(ListedPackage).order_by(ListedPackage.id)))

    def row(self, name: str) -> ListedPackage:
        """Return the newest entry of a name."""
        return [row for row in self.rows() if row.name == name][-1]


def make_lists(folder: Path, *, route: bool = True) -> Lists:
    """Make a world: lead lena of the project `alpha`, admins ada and adam, adele who is admin and lead."""
    gov = make_governance(folder, people_of_lists)
    fake = FakeRoute()
    registry = (
        PackageRegistry(ROUTE, transport=httpx.MockTransport(fake)) if route else PackageRegistry.none()
    )
    use_registry(gov.services, gov.world.store, gov.world.settings, registry)
    gov.app.state.services.update(gov.services)
    return Lists(gov, fake)


def use_registry(
    services: dict[type, Any], store: Store, settings: Settings, registry: PackageRegistry
) -> None:
    """Have the services ask another package route."""
    policy = settings.package_licences
    services[PackageRegistry] = registry
    services[PackageDesk] = PackageDesk(store, registry, policy)
    services[LockDesk] = LockDesk(store, registry)
    services[PackageLookups] = PackageLookups(store, registry, policy)


def people_of_lists(world: World) -> None:
    """Add who is needed to ask and to decide."""
    world.add_person("adam", PlatformRole.ADMIN)
    world.add_person("lena")
    world.add_person("adele", PlatformRole.ADMIN)
    world.add(
        *(
            Membership(project_id=world.project.id, person_id=world.people[handle].id, role=ProjectRole.LEAD)
            for handle in ("lena", "adele")
        )
    )


def listed(
    world: World, name: str, asked_by: str, status: AllowanceStatus, project_id: str | None, **values: Any
) -> ListedPackage:
    """Put an entry straight onto a list, in any state."""
    found = package(name)
    person = world.people[asked_by].id
    ended = status is AllowanceStatus.REMOVED
    row = ListedPackage(
        **{
            "project_id": project_id,
            "ecosystem": "pypi",
            "name": name,
            "release": found["version"],
            "licence": "MIT",
            "files": [{"subdir": "", **file} for file in found["files"]],
            "facts": found["facts"],
            "status": status,
            "lookup": Lookup.DONE,
            "why": "For a test.",
            "asked_by": person,
            "decided_by": None if status is AllowanceStatus.PROPOSED else world.people["ada"].id,
            "decided_at": None if status is AllowanceStatus.PROPOSED else utc_now(),
            "removed_by": world.people["ada"].id if ended else None,
            "removed_at": utc_now() if ended else None,
            **values,
        }
    )
    world.add(row)
    return row


def nominated(
    world: World, slug: str, asked_by: str, status: AllowanceStatus, project_id: str
) -> NominatedResource:
    """Put an outside address straight onto a list, in any state."""
    ended = status is AllowanceStatus.REMOVED
    row = NominatedResource(
        project_id=project_id,
        slug=slug,
        url=f"https://example.org/{slug}.tsv",
        largest=1000,
        status=status,
        why="For a test.",
        asked_by=world.people[asked_by].id,
        decided_at=None if status is AllowanceStatus.PROPOSED else utc_now(),
        removed_at=utc_now() if ended else None,
    )
    world.add(row)
    return row


def change_project(lists: Lists, **values: object) -> None:
    """Put the project of the world into another state."""
    with lists.world.store.write(housekeeping=True) as change:
        row = change.session.get_one(Project, lists.world.project.id)
        for name, value in values.items():
            setattr(row, name, value)
        change.session.add(row)
