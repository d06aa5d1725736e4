"""Showing rights that ended, and telling which are late."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime

from sqlmodel import Session, col, func, select

from broch_api.revocations.schemas import RevocationView
from broch_api.status.parts import HealthPart, PartHealth
from broch_core.actions import Action
from broch_core.actors import Actor
from broch_core.clock import utc_now
from broch_core.revocations import LIMIT
from broch_core.rules import Resource, require
from broch_core.scope import find_project, scope_of
from broch_core.store.unit import Store
from broch_core.tables.people import Person
from broch_core.tables.projects import Project
from broch_core.tables.revocations import Revocation

SHOWN = 20
"""How many are shown, the newest first; the audit log has all."""


class RevocationDesk:
    """Lists revocations."""

    def __init__(self, store: Store, *, on_cluster: bool) -> None:
        self._store = store
        self._on_cluster = on_cluster

    def of_project(self, actor: Actor, project_id: str) -> list[RevocationView]:
        """Return those of a project, the newest first.

        Raises:
            NotFound: the actor may not know of the project.
        """
        require(actor, Action.PROJECT_READ, Resource("project", project_id, project_id))
        with self._store.read() as session:
            find_project(session, scope_of(actor), project_id)
            query = select(Revocation).where(Revocation.project_id == project_id)
            rows = session.exec(query.order_by(col(Revocation.id).desc()).limit(SHOWN)).all()
            return self._views(session, rows)

    def everywhere(self, actor: Actor) -> list[tuple[str, RevocationView]]:
        """Return those of all projects, each with its project's name: what is not done first, then the newest.

        Raises:
            Denied: the actor is no platform admin.
        """
        require(actor, Action.STATUS_READ)
        with self._store.read() as session:
            order = (col(Revocation.done_at).is_not(None), col(Revocation.id).desc())
            rows = session.exec(select(Revocation).order_by(*order).limit(SHOWN)).all()
            names = {
                project.id: project.name
                for project in session.exec(
                    select(Project).where(col(Project.id).in_({row.project_id for row in rows}))
                )
            }
            return [(names[view.project_id], view) for view in self._views(session, rows)]

    def _views(self, session: Session, rows: Sequence[Revocation]) -> list[RevocationView]:
        named = {id_ for row in rows for id_ in (row.person_id, row.actor_id) if id_}
        people = {one.id: one for one in session.exec(select(Person).where(col(Person.id).in_(named)))}
        return [RevocationView.of(row, people, on_cluster=self._on_cluster) for row in rows]


def counts(session: Session, now: datetime | None = None) -> dict[str, int]:
    """Return how many revocations are not done: `open` and, of these, `late`, whether that was told yet or not."""
    query = select(func.count()).select_from(Revocation).where(col(Revocation.done_at).is_(None))
    late = session.exec(query.where(Revocation.begun_at < (now or utc_now()) - LIMIT)).one()
    return {"open": session.exec(query).one(), "late": late}


def revocations_part(store: Store, failing: Callable[[], Collection[str]] = tuple) -> HealthPart:
    """Ask whether rights that ended are gone in time.

    Args:
        store: where they are.
        failing: tells which ended rights, workspaces and stays could not be judged the last time.
    """

    def ask() -> PartHealth:
        with store.read() as session:
            late = counts(session)["late"]
        title = "Ends of rights"
        if broken := sorted(failing()):
            return PartHealth(
                "revocations",
                ok=False,
                needed=False,
                why=f"Of {len(broken)} ended rights or workspaces nobody can tell whether they are over: "
                f"{', '.join(broken[:3])}. They are tried again. {late} ends are late.",
                remedy="The log says why (revocation.failed, reconciler.row_failed). Stop what still runs by hand.",
                title=title,
            )
        if late:
            return PartHealth(
                "revocations",
                ok=False,
                needed=False,
                why=f"Of {late} rights that ended, not everything was seen gone after 60 s.",
                remedy="See which step it is under 'Rights that ended'; then look at the hub or the controller.",
                title=title,
            )
        return PartHealth("revocations", ok=True, needed=False, why="None is late.", title=title)

    return ask
