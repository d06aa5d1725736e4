"""Entries of the lists as rows: finding them, making them, judging what the registry says, showing them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from sqlalchemy.orm import load_only
from sqlmodel import Session, col, or_, select

from broch_api.datasets.schemas import ProjectRef
from broch_api.packages import licences
from broch_api.packages.schemas import PackageView
from broch_api.people.schemas import PersonRef
from broch_core.actors import Actor, PlatformRole
from broch_core.clock import utc_now
from broch_core.errors import Conflict, Invalid, NotFound
from broch_core.ids import new_id
from broch_core.lifecycles import AllowanceStatus, ProjectStatus
from broch_core.rules import Resource
from broch_core.scope import find_project, scope_of
from broch_core.store.unit import Change
from broch_core.tables.packages import ListedPackage, Lookup
from broch_core.tables.people import Person
from broch_core.tables.projects import Project
from broch_workspaces.packages.names import canonical_name
from broch_workspaces.packages.near import NearNames
from broch_workspaces.packages.spec import Ecosystem, Package, Wanted

OPEN = (AllowanceStatus.PROPOSED, AllowanceStatus.ALLOWED)
KIND = "package"
LOOK_UP = "package.lookup"
"""The side effect by which the registry is asked."""
_KEYS: tuple[Any, ...] = (
    col(ListedPackage.ecosystem),
    col(ListedPackage.channel),
    col(ListedPackage.name),
    col(ListedPackage.release),
    col(ListedPackage.status),
)
ODD_LICENCE = "Its licence is not on the policy's list: whoever allows it has to say why."


def enter_step(change: Change) -> None:
    """Have the next waiting entries looked up after the commit."""
    change.later(LOOK_UP, f"{LOOK_UP}:{new_id()}", {})


def adds(actor: Actor, project_id: str | None) -> bool:
    """Tell whether what the actor wants is allowed at once: by an admin who is no member of the project.

    Whoever works with the data does not alone decide what comes to them. The list of all is that of each project.
    """
    works_with_it = bool(actor.memberships) if project_id is None else actor.is_member(project_id)
    return actor.has(PlatformRole.ADMIN) and not works_with_it


def wanted_of(ecosystem: Ecosystem, name: str, version: str, channel: str) -> Wanted:
    """Return one version of a package in its canonical form.

    Raises:
        Invalid: a part of it is none of the ecosystem's.
    """
    if (ecosystem is Ecosystem.CONDA) != bool(channel):
        text = "Say from which channel, such as conda-forge." if not channel else "Only conda has channels."
        raise Invalid(text, field="channel")
    try:
        return Wanted(
            ecosystem=ecosystem, name=canonical_name(ecosystem, name), version=version, channel=channel
        )
    except ValidationError as error:
        part = str(error.errors()[0]["loc"][0])
        raise Invalid(f"This is no {part} of a package of {ecosystem.value}.", field=part) from error


def resource_of(row: ListedPackage) -> Resource:
    """Return what the rules ask about an entry."""
    return Resource(KIND, row.id, row.project_id, author_id=row.asked_by)


def open_project(session: Session, actor: Actor, project_id: str | None) -> Project | None:
    """Return the project that a list is for, its row locked; none for the list of all.

    Raises:
        NotFound: the actor may not know of it.
        Conflict: it has ended.
    """
    if project_id is None:
        return None
    project = find_project(session, scope_of(actor), project_id, lock=True)
    if project.status is ProjectStatus.ENDED:
        raise Conflict(f"The project '{project.name}' has ended: nothing is fetched for it any more.")
    return project


def find(session: Session, actor: Actor, entry_id: str) -> ListedPackage:
    """Return an entry that the actor may know of.

    Raises:
        NotFound: there is none.
    """
    row = session.get(ListedPackage, entry_id)
    if row is None or (row.project_id is not None and row.project_id not in scope_of(actor)):
        raise NotFound
    return row


def seen_by(actor: Actor) -> list[Any]:
    """Return the condition on entries that an actor may see: those of all projects, and of their own."""
    seen = scope_of(actor).project_ids
    if seen is None:
        return []
    return [or_(col(ListedPackage.project_id).is_(None), col(ListedPackage.project_id).in_(seen))]


def on_list(project_id: str | None) -> Any:
    """Return the condition on entries that count for a project: its own, and those of all."""
    common = col(ListedPackage.project_id).is_(None)
    return common if project_id is None else or_(common, col(ListedPackage.project_id) == project_id)


def standing(
    session: Session, project_id: str | None, ecosystems: Collection[str]
) -> dict[tuple[str, str, str, str], AllowanceStatus]:
    """Return what is allowed or asked for already, by (ecosystem, channel, name, version)."""
    rows = session.exec(
        select(ListedPackage)
        .options(load_only(*_KEYS))  # lists of files may be long
        .where(
            on_list(project_id),
            col(ListedPackage.ecosystem).in_(ecosystems),
            col(ListedPackage.status).in_(OPEN),
        )
        .order_by(col(ListedPackage.status).desc())  # allowed comes after proposed: it is what stays
    )
    return {(row.ecosystem, row.channel, row.name, row.release): row.status for row in rows}


def near_names(session: Session, project_id: str | None, ecosystem: str) -> NearNames:
    """Return the finder of names on the list that another may be taken for."""
    return NearNames(
        session.exec(
            select(ListedPackage.name)
            .where(
                on_list(project_id),
                ListedPackage.ecosystem == ecosystem,
                ListedPackage.status == AllowanceStatus.ALLOWED,
            )
            .distinct()
        )
    )


@dataclass(frozen=True)
class Judged:
    """What an entry becomes by the registry's answer."""

    lookup: Lookup
    licence: str = ""
    files: tuple[dict[str, Any], ...] = ()
    facts: dict[str, str] | None = None
    problem: str | None = None


def judge(package: Package, pinned: Collection[str]) -> Judged:
    """Hold what the registry says against the digests of a lock file. Pure.

    Args:
        package: as the registry says.
        pinned: digests of the lock file; empty if it gave none.

    Returns:
        Only files with these digests; a failure where the registry knows no file with one of them.
    """
    known = {digest for file in package.files for digest in file.digests}
    strange = sorted(set(pinned) - known)
    if strange:
        return Judged(
            Lookup.FAILED,
            package.licence,
            problem=(
                f"The lock file gives {len(strange)} of {len(set(pinned))} digests that the registry has for no file of "
                f"this version, such as {strange[0][:23]}... Make the lock file anew and compare."
            ),
        )
    files = [file for file in package.files if not pinned or not set(pinned).isdisjoint(file.digests)]
    return Judged(
        Lookup.DONE,
        package.licence,
        tuple(file.model_dump(mode="json") for file in files),
        dict(package.facts),
    )


def settle(row: ListedPackage, judged: Judged) -> None:
    """Write down what the registry said."""
    row.lookup, row.problem = judged.lookup, judged.problem
    row.licence = judged.licence
    row.files, row.facts = list(judged.files), judged.facts or {}


def licence_stands(row: ListedPackage, allowed: Collection[str]) -> bool:
    """Tell whether an entry may be allowed as far as its licence goes.

    A reason counts of an admin who adds. What somebody gave who only asks is for whoever decides to read.
    """
    reasoned = row.allow_by is not None and bool(row.licence_reason)
    return reasoned or licences.fits(row.licence, allowed)


def decided(actor_id: str) -> dict[str, object]:
    """Return the columns that say who decided, and when."""
    return {"decided_by": actor_id, "decided_at": utc_now()}


def facts_of(row: ListedPackage, **more: object) -> dict[str, object]:
    """Return what the audit log says of an entry."""
    return {
        "ecosystem": row.ecosystem,
        "channel": row.channel,
        "name": row.name,
        "version": row.release,
        "digests": sorted(digest for file in row.files for digest in file["digests"]),
        "lock": row.lock_sha256 or "",
        **more,
    }


def package_views(
    session: Session, rows: Sequence[ListedPackage], allowed: Collection[str]
) -> list[PackageView]:
    """Return entries as the API shows them."""
    names = people(
        session, (one for row in rows for one in (row.asked_by, row.decided_by, row.removed_by) if one)
    )
    projects = projects_of(session, (row.project_id for row in rows if row.project_id))
    return [
        PackageView(
            id=row.id,
            project=None if row.project_id is None else projects[row.project_id],
            ecosystem=Ecosystem(row.ecosystem),
            channel=row.channel,
            name=row.name,
            version=row.release,
            licence=row.licence,
            licence_fits=licences.fits(row.licence, allowed),
            status=row.status,
            lookup=row.lookup,
            problem=row.problem,
            file_count=len(row.files),
            total_bytes=sum(file.get("size") or 0 for file in row.files),
            lock_sha256=row.lock_sha256,
            lock_name=row.lock_name,
            why=row.why,
            asked_by=names[row.asked_by],
            asked_at=row.asked_at,
            licence_reason=row.licence_reason,
            decided_by=names.get(row.decided_by or ""),
            decided_at=row.decided_at,
            reason=row.reason,
            removed_by=names.get(row.removed_by or ""),
            removed_at=row.removed_at,
        )
        for row in rows
    ]


def people(session: Session, ids: Iterable[str]) -> dict[str, PersonRef]:
    """Return people by id."""
    rows = session.exec(select(Person).where(col(Person.id).in_(set(ids))))
    return {person.id: PersonRef.of(person) for person in rows}


def projects_of(session: Session, ids: Iterable[str]) -> dict[str, ProjectRef]:
    """Return projects by id."""
    rows = session.exec(select(Project).where(col(Project.id).in_(set(ids))))
    return {project.id: ProjectRef.of(project) for project in rows}
