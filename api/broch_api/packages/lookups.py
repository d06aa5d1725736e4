"""Asking the registry about entries of lock files, a few at a time, in the background."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sqlmodel import Session, col, func, select

from broch_api.packages.entries import (
    KIND,
    LOOK_UP,
    ODD_LICENCE,
    Judged,
    adds,
    enter_step,
    facts_of,
    judge,
    licence_stands,
    open_project,
    seen_by,
    settle,
)
from broch_api.packages.registry import NO_ROUTE, NotAtRegistry, PackageRegistry, RegistryTrouble
from broch_api.packages.service import allow
from broch_core.actions import Action
from broch_core.actors import SYSTEM, Actor
from broch_core.audit.record import AuditSubject
from broch_core.clock import utc_now
from broch_core.errors import Conflict, Unavailable
from broch_core.lifecycles import AllowanceStatus, ProjectStatus
from broch_core.outbox.tables import OutboxEntry
from broch_core.outbox.worker import PermanentError, TemporaryError
from broch_core.rules import Resource, require
from broch_core.store.unit import Change, Store
from broch_core.tables.packages import ListedPackage, Lookup
from broch_core.tables.people import Person
from broch_core.tables.projects import Project
from broch_core.web.sessions import actor_of
from broch_workspaces.packages.spec import Ecosystem, Wanted

LOOKED_UP = "package:looked-up"
"""What the audit log calls a registry's answer."""
_STEP = 5
"""Entries in one go: what shares its threads of the outbox waits that long."""


class PackageLookups:
    """Has waiting entries looked up, and allows what an admin added once the answer fits."""

    def __init__(self, store: Store, registry: PackageRegistry, policy: Collection[str]) -> None:
        self._store = store
        self._registry = registry
        self._policy = frozenset(policy)

    def step(self, _payload: Mapping[str, Any]) -> None:
        """Look up the next few entries; another step follows where more wait.

        Raises:
            TemporaryError: the package route does not answer.
            PermanentError: there is none.
        """
        if not self._registry.there:
            raise PermanentError(NO_ROUTE)
        rows = self._waiting(_STEP + 1)
        for row in rows[:_STEP]:
            judged = self._ask(row)
            with self._store.write() as change:
                self._settle(change, row, judged)
        if len(rows) > _STEP:
            with self._store.write(housekeeping=True) as change:
                enter_step(change)

    def catch_up(self) -> int:
        """Begin where entries wait and nobody looks them up: a route that is new, a step that was lost."""
        if not self._registry.there or not self._waiting(1):
            return 0
        with self._store.write(housekeeping=True) as change:
            under_way = change.session.exec(
                select(OutboxEntry.id).where(
                    OutboxEntry.kind == LOOK_UP,
                    col(OutboxEntry.done_at).is_(None),
                    col(OutboxEntry.stuck_at).is_(None),
                )
            ).first()
            if under_way is not None:
                return 0
            enter_step(change)
        return 1

    def again(self, actor: Actor, project_id: str | None) -> int:
        """Have entries looked up again for which that failed; return how many.

        Raises:
            NotFound: the actor may not know of the project.
            Denied: the actor may not ask for packages.
            Conflict: there is none, or the project has ended.
        """
        require(actor, Action.PACKAGE_ASK, Resource("project", project_id, project_id))
        with self._store.write() as change:
            open_project(change.session, actor, project_id)
            rows = change.session.exec(
                select(ListedPackage)
                .where(
                    *seen_by(actor),
                    ListedPackage.project_id == project_id,
                    ListedPackage.status == AllowanceStatus.PROPOSED,
                    ListedPackage.lookup == Lookup.FAILED,
                )
                .with_for_update()
            ).all()
            if not rows:
                raise Conflict("Nothing here failed to be looked up.")
            for row in rows:
                row.lookup, row.problem = Lookup.WAITING, None
                change.session.add(row)
            change.audit(
                actor.person_id,
                Action.PACKAGE_ASK,
                AuditSubject("package_list", None, project_id),
                facts={"looked_up_again": len(rows)},
            )
            if self._registry.there:
                enter_step(change)
        return len(rows)

    def _waiting(self, most: int) -> list[ListedPackage]:
        """Return entries that wait: the oldest of each list in turn, so that one long lock file holds up no other list."""
        turn = func.row_number().over(partition_by=col(ListedPackage.project_id), order_by=ListedPackage.id)
        with self._store.read() as session:
            return list(
                session.exec(
                    select(ListedPackage)
                    .where(
                        ListedPackage.status == AllowanceStatus.PROPOSED,
                        ListedPackage.lookup == Lookup.WAITING,
                    )
                    .order_by(turn, ListedPackage.id)
                    .limit(most)
                )
            )

    def _ask(self, row: ListedPackage) -> Judged:
        wanted = Wanted(
            ecosystem=Ecosystem(row.ecosystem), name=row.name, version=row.release, channel=row.channel
        )
        try:
            return judge(self._registry.resolve(wanted).package, row.pinned)
        except (NotAtRegistry, RegistryTrouble) as error:
            return Judged(Lookup.FAILED, problem=error.detail[:500])
        except Unavailable as error:
            raise TemporaryError(error.detail) from error

    def _settle(self, change: Change, seen: ListedPackage, judged: Judged) -> None:
        row = change.session.exec(
            select(ListedPackage)
            .where(
                ListedPackage.id == seen.id,
                ListedPackage.status == AllowanceStatus.PROPOSED,
                ListedPackage.lookup == Lookup.WAITING,
            )
            .with_for_update()
        ).first()
        if row is None:  # somebody ended it meanwhile
            return
        settle(row, judged)
        row.version += 1  # a decision on what was seen before does not stand for this
        if row.lookup is Lookup.DONE and not licence_stands(row, self._policy):
            row.problem = ODD_LICENCE
        change.session.add(row)
        change.session.flush()
        change.audit(
            SYSTEM,
            LOOKED_UP,
            AuditSubject(KIND, row.id, row.project_id),
            facts=facts_of(row, lookup=row.lookup.value, licence=row.licence),
        )
        fits = row.lookup is Lookup.DONE and licence_stands(row, self._policy)
        if fits and row.allow_by is not None and _still_good(change.session, row.allow_by, row.project_id):
            allow(change, row, row.allow_by, licence_reason=row.licence_reason)


def _still_good(session: Session, admin_id: str, project_id: str | None) -> bool:
    """Tell whether who added an entry may still do so, and the project has not ended meanwhile."""
    person = session.get_one(Person, admin_id)
    actor = actor_of(session, person, utc_now())
    if person.disabled_at is not None or not adds(actor, project_id):
        return False
    return project_id is None or session.get_one(Project, project_id).status is not ProjectStatus.ENDED
