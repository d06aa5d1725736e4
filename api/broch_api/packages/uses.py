"""What the package route reports: what zones fetched, and what they asked for in vain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from sqlmodel import Session, col, delete, or_, select

from broch_api.packages.entries import near_names
from broch_api.packages.route_lists import is_open
from broch_api.packages.schemas import UsedView, UseView
from broch_core.actions import Action
from broch_core.actors import SYSTEM, Actor
from broch_core.audit.record import AuditSubject
from broch_core.clock import utc_now
from broch_core.errors import Conflict, Invalid
from broch_core.lifecycles import AllowanceStatus
from broch_core.rules import Resource, require
from broch_core.scope import EVERYTHING, find_project, scope_of
from broch_core.store.unit import Change, Store
from broch_core.tables.packages import ListedPackage, NominatedResource, PackageUse, Use
from broch_core.tables.projects import Project
from broch_workspaces.cluster.spec import namespace_of
from broch_workspaces.packages.near import NearNames
from broch_workspaces.packages.spec import Denials, Ecosystem, Fetch

_SHOWN = 50
_MOST_REFUSED = 500
"""Refused names that are kept for people, in a project: a zone makes them up as it likes."""
_NAMES_IN_RECORD = 50
_OFF_LIST = "is not on the list any more."
_Asked = Mapping[tuple[Ecosystem, str], int]


class PackageUses:
    """Records fetches and refusals, and shows people what they were."""

    def __init__(self, store: Store, bytes_a_day: int) -> None:
        self._store = store
        self._bytes_a_day = bytes_a_day

    def fetched(self, said: Fetch) -> None:
        """Record that a file is about to be served.

        Raises:
            NotFound: there is no such project.
            Conflict: the project is not open, or this is not on its list any more: nothing may be served.
            Invalid: the pod is not one of the project's zone.
        """
        if said.pod.partition("/")[0] != namespace_of(said.project_id):
            raise Invalid("This pod is not in the zone of this project.", field="pod")
        with self._store.write() as change:
            project = find_project(change.session, EVERYTHING, said.project_id, lock=True)
            if not is_open(project, utc_now()):
                raise Conflict(f"The project '{project.name}' is not open: it fetches nothing.")
            _refuse_unlisted(change.session, said)
            ecosystem = said.ecosystem.value if said.ecosystem else ""
            change.audit(
                SYSTEM,
                Action.PACKAGES_FETCH,
                AuditSubject("zone", project.id, project.id),
                facts={
                    "kind": said.kind,
                    "ecosystem": ecosystem,
                    "name": said.name,
                    "version": said.version,
                    "sha256": said.sha256,
                    "size": said.size,
                    "pod": said.pod,
                },
                personal={"file": said.file} if said.file else {},
            )
            _count(
                change.session, project.id, Use.FETCHED, (ecosystem, said.name, said.version), 1, said.size
            )

    def refused(self, said: Denials) -> None:
        """Record what zones asked for in vain: one record for each project, names in its erasable part.

        Raises:
            NotFound: there is no such project.
        """
        by_project: dict[str, Counter[tuple[Ecosystem, str]]] = {}
        for one in said.items:
            by_project.setdefault(one.project_id, Counter())[one.ecosystem, one.name] += one.count
        if not by_project:
            return
        with self._store.write() as change:
            for project_id, asked in sorted(by_project.items()):
                project = find_project(change.session, EVERYTHING, project_id, lock=True)
                _record_refusals(change, project, asked)

    def of_project(self, actor: Actor, project_id: str) -> UseView:
        """Return what a project's zones fetched and were refused lately.

        Raises:
            NotFound: the actor may not know of it.
        """
        require(actor, Action.PACKAGE_USE, Resource("project", project_id, project_id))
        with self._store.read() as session:
            project = find_project(session, scope_of(actor), project_id)
            refused = _latest(session, project_id, Use.REFUSED)
            near = {one: near_names(session, project_id, one) for one in {row.ecosystem for row in refused}}
            return UseView(
                bytes_a_day=project.package_bytes_a_day or self._bytes_a_day,
                fetched=[_view(row, None) for row in _latest(session, project_id, Use.FETCHED)],
                refused=[_view(row, near[row.ecosystem]) for row in refused],
            )


def _refuse_unlisted(session: Session, said: Fetch) -> None:
    """Refuse what was taken off its list while it was under way: the route's copy of the list may be seconds old.

    Raises:
        Conflict: it is not on the list, or has other bytes there.
    """
    if said.kind == "resource":
        found = session.exec(
            select(NominatedResource).where(
                NominatedResource.project_id == said.project_id,
                NominatedResource.slug == said.name,
                NominatedResource.status == AllowanceStatus.ALLOWED,
            )
        ).first()
        if found is None or found.sha256 not in {None, said.sha256} or said.size > found.largest:
            raise Conflict(f"The address '{said.name}' {_OFF_LIST}")
        return
    if said.ecosystem is None:
        raise Invalid("A package is of an ecosystem.", field="ecosystem")
    rows = session.exec(
        select(ListedPackage).where(
            or_(col(ListedPackage.project_id).is_(None), col(ListedPackage.project_id) == said.project_id),
            ListedPackage.ecosystem == said.ecosystem.value,
            ListedPackage.name == said.name,
            ListedPackage.release == said.version,
            ListedPackage.status == AllowanceStatus.ALLOWED,
        )
    ).all()
    if not any(_has_file(row, said) for row in rows):
        raise Conflict(f"{said.name} {said.version} {_OFF_LIST}")


def _has_file(row: ListedPackage, said: Fetch) -> bool:
    for file in row.files:
        sums = [digest for digest in file["digests"] if digest.startswith("sha256:")]
        # npm knows SHA-512 alone: then the name has to do, and the route compares the bytes.
        if file["name"] == said.file and (not sums or f"sha256:{said.sha256}" in sums):
            return True
    return False


def _record_refusals(change: Change, project: Project, asked: _Asked) -> None:
    shown = sorted(asked.items(), key=lambda item: (-item[1], item[0]))
    change.audit(
        SYSTEM,
        Action.PACKAGES_DENIAL,
        AuditSubject("zone", project.id, project.id),
        facts={"names": len(asked), "times": sum(asked.values())},
        personal={
            "names": ", ".join(
                f"{ecosystem.value}:{name}" for (ecosystem, name), _ in shown[:_NAMES_IN_RECORD]
            )
        },
        outcome="denied",
    )
    for (ecosystem, name), count in shown:
        _count(change.session, project.id, Use.REFUSED, (ecosystem.value, name, ""), count, 0)
    session = change.session
    session.flush()
    kept = (
        select(PackageUse.id)
        .where(PackageUse.project_id == project.id, PackageUse.use == Use.REFUSED)
        .order_by(col(PackageUse.last_at).desc(), col(PackageUse.count).desc(), PackageUse.id)
        .limit(_MOST_REFUSED)
    )
    session.exec(
        delete(PackageUse).where(
            col(PackageUse.project_id) == project.id,
            col(PackageUse.use) == Use.REFUSED,
            col(PackageUse.id).not_in(kept),
        )
    )


def _count(
    session: Session, project_id: str, use: Use, what: tuple[str, str, str], count: int, size: int
) -> None:
    ecosystem, name, release = what
    row = session.exec(
        select(PackageUse).where(
            PackageUse.project_id == project_id,
            PackageUse.use == use,
            PackageUse.ecosystem == ecosystem,
            PackageUse.name == name,
            PackageUse.release == release,
        )
    ).first()
    if row is None:
        row = PackageUse(
            project_id=project_id, use=use, ecosystem=ecosystem, name=name, release=release, count=0
        )
    row.count = min(row.count + count, 1 << 60)
    row.bytes = min(row.bytes + size, 1 << 60)
    row.last_at = utc_now()
    session.add(row)


def _latest(session: Session, project_id: str, use: Use) -> Sequence[PackageUse]:
    return session.exec(
        select(PackageUse)
        .where(PackageUse.project_id == project_id, PackageUse.use == use)
        .order_by(col(PackageUse.last_at).desc())
        .limit(_SHOWN)
    ).all()


def _view(row: PackageUse, near: NearNames | None) -> UsedView:
    return UsedView(
        ecosystem=Ecosystem(row.ecosystem) if row.ecosystem else None,
        name=row.name,
        version=row.release,
        count=row.count,
        bytes=row.bytes,
        last_at=row.last_at,
        near=near.of(row.name) if near else [],
        listed=near.knows(row.name) if near else False,
    )
