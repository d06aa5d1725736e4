"""Lists of packages: who sees which, who asks, who decides."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlmodel import Session, col, func, select

from broch_api.packages import licences
from broch_api.packages.entries import (
    KIND,
    ODD_LICENCE,
    OPEN,
    adds,
    decided,
    enter_step,
    facts_of,
    find,
    judge,
    licence_stands,
    near_names,
    open_project,
    package_views,
    resource_of,
    seen_by,
    settle,
    standing,
    wanted_of,
)
from broch_api.packages.filters import PackageFilter
from broch_api.packages.registry import PackageRegistry
from broch_api.packages.schemas import (
    LookupProgress,
    LookupView,
    PackageAsk,
    PackageDetail,
    PackageView,
)
from broch_core.actions import Action
from broch_core.actors import Actor
from broch_core.audit.record import AuditSubject
from broch_core.clock import utc_now
from broch_core.errors import Conflict, Invalid
from broch_core.lifecycles import ALLOWANCE, AllowanceEvent, AllowanceStatus
from broch_core.rules import Resource, require
from broch_core.store.unit import Change, Store
from broch_core.tables.packages import ListedPackage, Lookup
from broch_core.web.paging import Page, page_of
from broch_workspaces.packages.spec import PackageFile, Wanted


class PackageDesk:
    """Shows entries, takes requests, decides on them."""

    def __init__(self, store: Store, registry: PackageRegistry, policy: Collection[str]) -> None:
        self._store = store
        self._registry = registry
        self.policy = frozenset(policy)
        """SPDX ids that need no reason."""

    @property
    def has_route(self) -> bool:
        """Whether this installation has a package route."""
        return self._registry.there

    def list(
        self, actor: Actor, wanted: PackageFilter, *, before: str | None, limit: int
    ) -> Page[PackageView]:
        """Return the entries of all projects and of those that the actor may see, newest first."""
        require(actor, Action.PACKAGE_LIST)
        query = (
            select(ListedPackage)
            .where(*seen_by(actor), *wanted.conditions())
            .order_by(col(ListedPackage.id).desc())
            .limit(limit + 1)
        )
        if before is not None:
            query = query.where(ListedPackage.id < before)
        with self._store.read() as session:
            rows = session.exec(query).all()
            views = {view.id: view for view in package_views(session, rows, self.policy)}
        return page_of(rows, limit, lambda row: views[row.id], lambda row: row.id)

    def progress(self, actor: Actor, wanted: PackageFilter) -> LookupProgress:
        """Return how far the registry was asked about the entries that stand."""
        require(actor, Action.PACKAGE_LIST)
        with self._store.read() as session:
            rows = session.exec(
                select(ListedPackage.lookup, func.count())
                .where(*seen_by(actor), *wanted.conditions(), col(ListedPackage.status).in_(OPEN))
                .group_by(col(ListedPackage.lookup))
            )
            counts: dict[str, int] = dict(rows.all())
        return LookupProgress(
            total=sum(counts.values()),
            done=counts.get(Lookup.DONE, 0),
            failed=counts.get(Lookup.FAILED, 0),
            waiting=counts.get(Lookup.WAITING, 0),
        )

    def detail(self, actor: Actor, entry_id: str) -> PackageDetail:
        """Return an entry with its files.

        Raises:
            NotFound: the actor may not know of it.
        """
        with self._store.read() as session:
            row = find(session, actor, entry_id)
            require(actor, Action.PACKAGE_READ, resource_of(row))
            view = package_views(session, [row], self.policy)[0]
            near = near_names(session, row.project_id, row.ecosystem).of(row.name)
        return PackageDetail(
            **view.model_dump(),
            files=[PackageFile.model_validate(file) for file in row.files],
            near=near,
            possible=sorted(ALLOWANCE.events(row.status)),
        )

    def look_up(self, actor: Actor, project_id: str | None, wanted: Wanted) -> LookupView:
        """Return what the registry says of one version, before anybody asks for it.

        Raises:
            NotFound: the actor may not know of the project.
            Denied: the actor may not ask for it.
            Invalid: the registry does not have it.
            TooMany: too much is being looked up.
            Unavailable: nobody can be asked.
        """
        require(actor, Action.PACKAGE_ASK, Resource("project", project_id, project_id))
        found = self._registry.resolve_for(actor.person_id, wanted)
        key = (wanted.ecosystem.value, wanted.channel, wanted.name, wanted.version)
        with self._store.read() as session:
            listed = key in standing(session, project_id, [wanted.ecosystem.value])
            near = near_names(session, project_id, wanted.ecosystem.value).of(wanted.name)
        return LookupView(
            ecosystem=wanted.ecosystem,
            channel=wanted.channel,
            name=wanted.name,
            version=wanted.version,
            summary=found.summary,
            released_at=found.released_at,
            licence=found.package.licence,
            licence_fits=licences.fits(found.package.licence, self.policy),
            files=[*found.package.files],
            listed=listed,
            near=near,
        )

    def ask(self, actor: Actor, body: PackageAsk) -> PackageView:
        """Ask for one version; allowed at once where an admin asks who is no member of the project.

        Raises:
            NotFound: the actor may not know of the project.
            Denied: the actor may not ask for it.
            Invalid: it is no package, the registry does not have it, or its licence needs a reason.
            Conflict: it is allowed or asked for already, or the project has ended.
            TooMany: too much is being looked up.
            Unavailable: the registry cannot be asked.
        """
        require(actor, Action.PACKAGE_ASK, Resource("project", body.project_id, body.project_id))
        wanted = wanted_of(body.ecosystem, body.name, body.version, body.channel)
        judged = judge(self._registry.resolve_for(actor.person_id, wanted).package, ())
        with self._store.write() as change:
            open_project(change.session, actor, body.project_id)
            row = ListedPackage(
                project_id=body.project_id,
                ecosystem=wanted.ecosystem.value,
                channel=wanted.channel,
                name=wanted.name,
                release=wanted.version,
                why=body.why,
                licence_reason=body.licence_reason,
                asked_by=actor.person_id,
            )
            settle(row, judged)
            self._enter(change, actor, row)
            return package_views(change.session, [row], self.policy)[0]

    def again(self, actor: Actor, entry_id: str) -> PackageView:
        """Ask once more for what was declined or removed, with the same files.

        Raises:
            NotFound: the actor may not know of it.
            Denied: the actor may not ask for it.
            Conflict: it stands already, or the project has ended.
        """
        with self._store.write() as change:
            old = find(change.session, actor, entry_id)
            require(actor, Action.PACKAGE_ASK, resource_of(old))
            if old.status in OPEN:
                raise Conflict(f"{old.name} {old.release} is {old.status.value} already.")
            open_project(change.session, actor, old.project_id)
            same = {"id", "status", "version", "asked_by", "asked_at", "allow_by", "reason"}
            same |= {"decided_by", "decided_at", "removed_by", "removed_at"}
            if old.status is AllowanceStatus.DECLINED:  # nobody who may allow it ever gave a reason
                same.add("licence_reason")
            row = ListedPackage(**old.model_dump(exclude=same), asked_by=actor.person_id)
            self._enter(change, actor, row)
            return package_views(change.session, [row], self.policy)[0]

    def approve(self, actor: Actor, ids: Sequence[str], licence_reason: str = "") -> Sequence[PackageView]:
        """Allow entries, all of them or none.

        Raises:
            NotFound: the actor may not know of one.
            Denied: the actor is no platform admin, or asked for one.
            Invalid: a licence needs a reason.
            Conflict: one is not proposed any more, the registry has not confirmed it, its project has ended, or somebody
                else was first.
        """
        with self._store.write() as change:
            rows = self._rows(change.session, actor, Action.PACKAGE_APPROVE, ids)
            for project_id in sorted({row.project_id for row in rows if row.project_id is not None}):
                open_project(change.session, actor, project_id)
            for row in rows:
                ALLOWANCE.after(row.status, AllowanceEvent.APPROVE)
                if row.lookup is not Lookup.DONE:
                    raise Conflict(
                        f"{row.name} {row.release}: {row.problem or 'the registry was not asked about it yet.'}",
                        remedy="Look it up again, or decline it.",
                    )
                if not licence_stands(row, self.policy) and not licence_reason:
                    raise Invalid(
                        f"{row.name} {row.release} has the licence '{row.licence or 'none'}', which is not on the "
                        "policy's list. Say why it may be used all the same.",
                        field="licence_reason",
                    )
                allow(change, row, actor.person_id, licence_reason=licence_reason or row.licence_reason)
            return package_views(change.session, rows, self.policy)

    def decline(self, actor: Actor, ids: Sequence[str], reason: str) -> Sequence[PackageView]:
        """End requests, all of them or none; who asked may take theirs back.

        Raises:
            NotFound: the actor may not know of one.
            Denied: the actor is neither a platform admin nor who asked.
            Conflict: one is not proposed any more, or somebody else was first.
        """
        with self._store.write() as change:
            rows = self._rows(change.session, actor, Action.PACKAGE_DECLINE, ids)
            for row in rows:
                values = decided(actor.person_id) | {"reason": reason}
                change.advance(ALLOWANCE, row, AllowanceEvent.DECLINE, **values)
                _record(change, actor.person_id, Action.PACKAGE_DECLINE, row, {"reason": reason})
            return package_views(change.session, rows, self.policy)

    def remove(self, actor: Actor, entry_id: str, reason: str) -> PackageView:
        """Take an entry off its list now; what was installed stays installed.

        Raises:
            NotFound: the actor may not know of it.
            Denied: the actor is no platform admin.
            Conflict: it is not allowed any more.
        """
        with self._store.write() as change:
            row = self._rows(change.session, actor, Action.PACKAGE_REMOVE, [entry_id])[0]
            values = {"removed_by": actor.person_id, "removed_at": utc_now(), "reason": reason}
            change.advance(ALLOWANCE, row, AllowanceEvent.REMOVE, **values)
            _record(change, actor.person_id, Action.PACKAGE_REMOVE, row, {"reason": reason})
            return package_views(change.session, [row], self.policy)[0]

    def _rows(
        self, session: Session, actor: Actor, action: Action, ids: Sequence[str]
    ) -> Sequence[ListedPackage]:
        rows = [find(session, actor, one) for one in sorted(set(ids))]
        for row in rows:
            require(actor, action, resource_of(row))
        return rows

    def _enter(self, change: Change, actor: Actor, row: ListedPackage) -> None:
        """Put a new entry on the list: proposed, or allowed at once."""
        key = (row.ecosystem, row.channel, row.name, row.release)
        known = standing(change.session, row.project_id, [row.ecosystem]).get(key)
        if known is not None:
            word = "allowed" if known is AllowanceStatus.ALLOWED else "asked for"
            raise Conflict(f"{row.name} {row.release} is {word} already.", field="version")
        at_once = adds(actor, row.project_id)
        looked_up = row.lookup is Lookup.DONE
        row.allow_by = actor.person_id if at_once else None
        if at_once and looked_up and not licence_stands(row, self.policy):
            raise Invalid(
                f"{row.name} has the licence '{row.licence or 'none'}', which is not on the policy's list. "
                "Say why it may be used all the same.",
                field="licence_reason",
            )
        row.problem = ODD_LICENCE if looked_up and not licence_stands(row, self.policy) else None
        if row.lookup is Lookup.FAILED:  # asking again is asking the registry again
            row.lookup = Lookup.WAITING
        change.session.add(row)
        change.session.flush()
        _record(change, actor.person_id, Action.PACKAGE_ASK, row, {"why": row.why})
        if not looked_up and self._registry.there:
            enter_step(change)
        if at_once and looked_up:
            allow(change, row, actor.person_id, licence_reason=row.licence_reason)


def allow(change: Change, row: ListedPackage, actor_id: str, *, licence_reason: str) -> None:
    """Move an entry that the registry has confirmed onto its list, and record it."""
    values = decided(actor_id) | {"licence_reason": licence_reason, "problem": None}
    change.advance(ALLOWANCE, row, AllowanceEvent.APPROVE, **values)
    texts = {"licence_reason": licence_reason} if licence_reason else {}
    _record(change, actor_id, Action.PACKAGE_APPROVE, row, texts)


def _record(change: Change, actor_id: str, action: Action, row: ListedPackage, texts: dict[str, str]) -> None:
    change.audit(
        actor_id,
        action,
        AuditSubject(KIND, row.id, row.project_id),
        facts=facts_of(row, status=row.status.value, licence=row.licence),
        personal=texts,
    )
