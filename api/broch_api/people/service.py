"""The register of people."""

from __future__ import annotations

from collections.abc import Sequence

from sqlmodel import Session, col, select

from broch_api.people.schemas import PersonCreate, PersonView
from broch_core.actions import Action
from broch_core.actors import Actor, PlatformRole
from broch_core.audit.record import AuditSubject
from broch_core.errors import Conflict
from broch_core.rules import require
from broch_core.store.unit import Change, Store
from broch_core.tables.people import Person, PersonRole
from broch_core.web.paging import Page, page_of


class PeopleRegister:
    """Lists and adds people."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def list(self, actor: Actor, *, before: str | None, limit: int) -> Page[PersonView]:
        """Return people, newest first.

        Raises:
            Denied: the actor is no platform admin.
        """
        require(actor, Action.PERSON_LIST)
        query = select(Person).order_by(col(Person.id).desc()).limit(limit + 1)
        with self._store.read() as session:
            rows = session.exec(query.where(Person.id < before) if before else query).all()
            roles = roles_of(session, [person.id for person in rows])
        return page_of(rows, limit, lambda person: view(person, roles), lambda person: person.id)

    def create(self, actor: Actor, body: PersonCreate) -> PersonView:
        """Add a person.

        Raises:
            Denied: the actor is no platform admin.
            Conflict: the handle is taken.
        """
        require(actor, Action.PERSON_CREATE)
        with self._store.write() as change:
            person = add_person(change, actor.person_id, body)
        return view(person, {person.id: sorted(body.roles)})


def add_person(change: Change, actor_id: str, body: PersonCreate) -> Person:
    """Add a person's rows and the record of it.

    Raises:
        Conflict: the handle is taken.
    """
    if change.session.exec(select(Person.id).where(Person.handle == body.handle)).first() is not None:
        raise Conflict(f"The handle '{body.handle}' is taken.", remedy="Choose another one.", field="handle")
    person = Person(handle=body.handle, display_name=body.display_name, about=body.about)
    change.session.add(person)
    change.session.flush()
    change.session.add_all(PersonRole(person_id=person.id, role=role) for role in body.roles)
    change.audit(
        actor_id,
        Action.PERSON_CREATE,
        AuditSubject("person", person.id),
        facts={"roles": sorted(role.value for role in body.roles)},
        personal={"handle": person.handle, "display_name": person.display_name},
    )
    return person


def roles_of(session: Session, person_ids: Sequence[str]) -> dict[str, list[PlatformRole]]:
    """Return the platform roles of several people, in one query."""
    found: dict[str, list[PlatformRole]] = {person_id: [] for person_id in person_ids}
    for row in session.exec(select(PersonRole).where(col(PersonRole.person_id).in_(person_ids))):
        found[row.person_id].append(row.role)
    return {person_id: sorted(roles) for person_id, roles in found.items()}


def view(person: Person, roles: dict[str, list[PlatformRole]]) -> PersonView:
    """Show a person."""
    return PersonView(
        id=person.id,
        handle=person.handle,
        display_name=person.display_name,
        about=person.about,
        roles=roles.get(person.id, []),
        created_at=person.created_at,
        disabled_at=person.disabled_at,
    )
