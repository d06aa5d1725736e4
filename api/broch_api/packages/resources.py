"""Nominated addresses outside: one project may read each of them, by GET, and nothing can be sent there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlmodel import Session, col, select

from broch_api.packages.entries import OPEN, adds, decided, open_project, people, projects_of
from broch_api.packages.schemas import Budget, ResourceAsk, ResourceView
from broch_api.projects.schemas import ProjectView
from broch_core.actions import Action
from broch_core.actors import Actor
from broch_core.audit.record import AuditSubject
from broch_core.clock import utc_now
from broch_core.errors import Conflict, Invalid, NotFound
from broch_core.lifecycles import ALLOWANCE, AllowanceEvent
from broch_core.rules import Resource, decide, require
from broch_core.scope import ever_members, find_project, scope_of
from broch_core.store.unit import Change, Store
from broch_core.tables.packages import NominatedResource
from broch_core.web.paging import Page, page_of

_LOCAL = ("localhost", "broch.internal")
_LOCAL_ENDS = (".localhost", ".internal", ".local", ".svc", ".cluster.local", ".home.arpa")


def refuse_local(url: str) -> None:
    """Refuse addresses that are no names of the internet: what is inside is not outside.

    The package route, which fetches, looks at the addresses behind a name itself; this only tells people early.

    Raises:
        Invalid: it is one of this place, or a bare number.
    """
    host = url.removeprefix("https://").split("/", 1)[0].split(":", 1)[0]
    last = host.rpartition(".")[2]
    if host in _LOCAL or host.endswith(_LOCAL_ENDS) or "." not in host or last.isdigit():
        raise Invalid("Give an address with a name on the internet, such as example.org.", field="url")


class ResourceDesk:
    """Shows a project's outside addresses, takes requests, decides on them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def list(self, actor: Actor, project_id: str, *, before: str | None, limit: int) -> Page[ResourceView]:
        """Return a project's entries, newest first.

        Raises:
            NotFound: the actor may not know of the project.
        """
        require(actor, Action.RESOURCE_LIST, Resource("project", project_id, project_id))
        row = NominatedResource
        query = select(row).where(row.project_id == project_id).order_by(col(row.id).desc()).limit(limit + 1)
        if before is not None:
            query = query.where(row.id < before)
        with self._store.read() as session:
            find_project(session, scope_of(actor), project_id)
            rows = session.exec(query).all()
            views = {view.id: view for view in _views(session, rows)}
        return page_of(rows, limit, lambda one: views[one.id], lambda one: one.id)

    def waiting(self, actor: Actor) -> Sequence[ResourceView]:
        """Return what waits for a decision, oldest first, of the projects that the actor may see."""
        require(actor, Action.PACKAGE_LIST)
        query = select(NominatedResource).where(NominatedResource.status == ALLOWANCE.start)
        if (seen := scope_of(actor).project_ids) is not None:
            query = query.where(col(NominatedResource.project_id).in_(seen))
        with self._store.read() as session:
            return _views(session, session.exec(query.order_by(NominatedResource.id).limit(200)).all())

    def ask(self, actor: Actor, project_id: str, body: ResourceAsk) -> ResourceView:
        """Ask for an address; allowed at once where an admin asks who is no member of the project.

        Raises:
            NotFound: the actor may not know of the project.
            Denied: the actor may not ask for it.
            Invalid: the address is not one of the internet.
            Conflict: the project has one of this name, or has ended.
        """
        require(actor, Action.RESOURCE_ASK, Resource("project", project_id, project_id))
        refuse_local(body.url)
        with self._store.write() as change:
            open_project(change.session, actor, project_id)
            standing = select(NominatedResource.id).where(
                NominatedResource.project_id == project_id, NominatedResource.slug == body.slug
            )
            if (
                change.session.exec(standing.where(col(NominatedResource.status).in_(OPEN))).first()
                is not None
            ):
                raise Conflict(f"The project has an address '{body.slug}' already.", field="slug")
            row = NominatedResource(project_id=project_id, asked_by=actor.person_id, **body.model_dump())
            change.session.add(row)
            change.session.flush()
            _record(change, actor, Action.RESOURCE_ASK, row, {"why": body.why})
            if adds(actor, project_id):
                self._allow(change, actor, row)
            return _views(change.session, [row])[0]

    def again(self, actor: Actor, entry_id: str, *, project_id: str | None = None) -> ResourceView:
        """Ask once more for what was declined or removed.

        Raises:
            NotFound: the actor may not know of it.
            Denied: the actor may not ask for it.
            Conflict: the project has one of this name, or has ended.
        """
        with self._store.read() as session:
            old = _find(session, actor, entry_id, project_id)
            require(actor, Action.RESOURCE_ASK, _resource(old))
        body = ResourceAsk(slug=old.slug, url=old.url, sha256=old.sha256, largest=old.largest, why=old.why)
        return self.ask(actor, old.project_id, body)

    def approve(self, actor: Actor, entry_id: str, *, project_id: str | None = None) -> ResourceView:
        """Allow an address.

        Raises:
            NotFound: the actor may not know of it.
            Denied: the actor is no platform admin, or asked for it.
            Conflict: it is not proposed any more, the project has ended, or somebody else was first.
        """
        with self._store.write() as change:
            row = _find(change.session, actor, entry_id, project_id)
            require(actor, Action.RESOURCE_APPROVE, _resource(row))
            open_project(change.session, actor, row.project_id)
            self._allow(change, actor, row)
            return _views(change.session, [row])[0]

    def decline(
        self, actor: Actor, entry_id: str, reason: str, *, project_id: str | None = None
    ) -> ResourceView:
        """End a request; who asked may take theirs back.

        Raises:
            NotFound: the actor may not know of it.
            Denied: the actor is neither a platform admin nor who asked.
            Conflict: it is not proposed any more, or somebody else was first.
        """
        with self._store.write() as change:
            row = _find(change.session, actor, entry_id, project_id)
            require(actor, Action.RESOURCE_DECLINE, _resource(row))
            values = decided(actor.person_id) | {"reason": reason}
            change.advance(ALLOWANCE, row, AllowanceEvent.DECLINE, **values)
            _record(change, actor, Action.RESOURCE_DECLINE, row, {"reason": reason})
            return _views(change.session, [row])[0]

    def remove(
        self, actor: Actor, entry_id: str, reason: str, *, project_id: str | None = None
    ) -> ResourceView:
        """Take an address away now.

        Raises:
            NotFound: the actor may not know of it.
            Denied: the actor is no platform admin.
            Conflict: it is not allowed any more.
        """
        with self._store.write() as change:
            row = _find(change.session, actor, entry_id, project_id)
            require(actor, Action.RESOURCE_REMOVE, _resource(row))
            values = {"removed_by": actor.person_id, "removed_at": utc_now(), "reason": reason}
            change.advance(ALLOWANCE, row, AllowanceEvent.REMOVE, **values)
            _record(change, actor, Action.RESOURCE_REMOVE, row, {"reason": reason})
            return _views(change.session, [row])[0]

    def limit_bytes(self, actor: Actor, project_id: str, body: Budget) -> ProjectView:
        """Say how much the workspaces of a project may fetch together in a day.

        Raises:
            NotFound: the actor may not know of it.
            Denied: the actor is no platform admin, or is or was a member of the project.
        """
        require(actor, Action.PACKAGE_BUDGET, Resource("project", project_id, project_id))
        with self._store.write() as change:
            project = find_project(change.session, scope_of(actor), project_id, lock=True)
            require(actor, Action.PACKAGE_BUDGET, _with_members(change.session, project_id))
            before, project.package_bytes_a_day = project.package_bytes_a_day, body.bytes_a_day
            change.session.add(project)
            change.audit(
                actor.person_id,
                Action.PACKAGE_BUDGET,
                AuditSubject("project", project_id, project_id),
                facts={"from": before or 0, "to": body.bytes_a_day or 0},
            )
        return ProjectView.of(project)

    def may_limit(self, actor: Actor, project_id: str) -> bool:
        """Tell whether the actor may say how much a project may fetch."""
        with self._store.read() as session:
            return decide(actor, Action.PACKAGE_BUDGET, _with_members(session, project_id)).allowed

    def _allow(self, change: Change, actor: Actor, row: NominatedResource) -> None:
        change.advance(ALLOWANCE, row, AllowanceEvent.APPROVE, **decided(actor.person_id))
        _record(change, actor, Action.RESOURCE_APPROVE, row, {})


def _with_members(session: Session, project_id: str) -> Resource:
    return Resource("project", project_id, project_id, ever_members=ever_members(session, project_id))


def _find(session: Session, actor: Actor, entry_id: str, project_id: str | None) -> NominatedResource:
    """Return an entry that the actor may know of; of this project, where the caller says so."""
    row = session.get(NominatedResource, entry_id)
    if row is None or row.project_id not in scope_of(actor) or project_id not in {None, row.project_id}:
        raise NotFound
    return row


def _resource(row: NominatedResource) -> Resource:
    return Resource("resource", row.id, row.project_id, author_id=row.asked_by)


def _record(
    change: Change, actor: Actor, action: Action, row: NominatedResource, texts: dict[str, str]
) -> None:
    change.audit(
        actor.person_id,
        action,
        AuditSubject("resource", row.id, row.project_id),
        facts={
            "slug": row.slug,
            "sha256": row.sha256 or "",
            "largest": row.largest,
            "status": row.status.value,
        },
        personal={"url": row.url, **texts},
    )


def _views(session: Session, rows: Sequence[NominatedResource]) -> list[ResourceView]:
    who: Iterable[str] = (
        one for row in rows for one in (row.asked_by, row.decided_by, row.removed_by) if one
    )
    names = people(session, who)
    projects = projects_of(session, (row.project_id for row in rows))
    return [
        ResourceView(
            **row.model_dump(include={"id", "slug", "url", "sha256", "largest", "status", "why", "reason"}),
            project=projects[row.project_id],
            asked_by=names[row.asked_by],
            asked_at=row.asked_at,
            decided_by=names.get(row.decided_by or ""),
            decided_at=row.decided_at,
            removed_by=names.get(row.removed_by or ""),
            removed_at=row.removed_at,
        )
        for row in rows
    ]
