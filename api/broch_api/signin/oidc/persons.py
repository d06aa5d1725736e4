"""The person whom a token speaks of: found by issuer and subject, made at the first sign-in, with roles by groups."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from sqlmodel import Session, col, delete, select

from broch_api.people.schemas import PersonCreate
from broch_api.people.service import add_person
from broch_api.signin.oidc.tokens import Identity
from broch_core.actors import SYSTEM, PlatformRole
from broch_core.audit.record import AuditSubject
from broch_core.ids import is_slug
from broch_core.store.unit import Change
from broch_core.tables.people import Person, PersonRole
from broch_core.web.texts import hidden_character

ROLES_CHANGED = "person:roles"
NAME_CHANGED = "person:rename"
_LONGEST_HANDLE = 40
_LONGEST_NAME = 120
_ROOM_FOR_NUMBER = 5


@dataclass(frozen=True)
class Arrival:
    """Somebody whom the provider vouches for."""

    issuer: str
    subject: str
    handle: str
    """What they would like to be called; a slug."""
    display_name: str
    roles: frozenset[PlatformRole]


def arrival_of(identity: Identity, groups: Mapping[str, PlatformRole]) -> Arrival:
    """Return what a token says of a person, in our words."""
    handle = handle_of(identity.preferred_username or identity.name or "")
    return Arrival(
        issuer=identity.iss,
        subject=identity.sub,
        handle=handle,
        display_name=name_of(identity.name or identity.preferred_username or "") or handle,
        roles=roles_of_groups(identity.groups, groups),
    )


def handle_of(text: str) -> str:
    """Make a handle of a user name, which may be an e-mail address: its name before the `@`, plain and lower-case."""
    plain = unicodedata.normalize("NFKD", text.partition("@")[0]).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    if words and not words[0].isalpha():
        words = f"p-{words}"
    words = words[: _LONGEST_HANDLE - _ROOM_FOR_NUMBER].strip("-")
    return words if is_slug(words) else "person"


def name_of(text: str) -> str:
    """Return a name without characters that cannot be shown or that turn the reading direction."""
    shown = "".join(c for c in unicodedata.normalize("NFC", text) if hidden_character(c) is None)
    return " ".join(shown.split())[:_LONGEST_NAME].strip()


def roles_of_groups(groups: list[str], known: Mapping[str, PlatformRole]) -> frozenset[PlatformRole]:
    """Return the roles of somebody in these groups.

    Keycloak writes a group with its path: `/broch-admins`. One of that name below another group is not it.
    """
    return frozenset(known[name] for group in groups if (name := group.removeprefix("/")) in known)


def find(session: Session, issuer: str, subject: str) -> Person | None:
    """Return whom the provider vouched for before."""
    return session.exec(select(Person).where(Person.issuer == issuer, Person.subject == subject)).first()


def admit(change: Change, arrival: Arrival) -> Person:
    """Find or make a person's row and bring name and roles to what the provider says now.

    Somebody who is here without a subject is not taken over, whatever the user name at the provider is.

    Raises:
        Conflict: somebody else was made at this moment; try again.
    """
    person = find(change.session, arrival.issuer, arrival.subject)
    if person is None:
        handle = _free_handle(change.session, arrival.handle)
        body = PersonCreate(handle=handle, display_name=arrival.display_name, roles=arrival.roles)
        person = add_person(change, SYSTEM, body)
        person.issuer, person.subject = arrival.issuer, arrival.subject
        change.session.add(person)
        change.session.flush()
        return person
    if person.disabled_at is None:
        _rename(change, person, arrival.display_name)
        _set_roles(change, person, arrival.roles)
    return person


def _free_handle(session: Session, wanted: str) -> str:
    taken = set(session.exec(select(Person.handle).where(col(Person.handle).startswith(wanted))))
    if wanted not in taken:
        return wanted
    return next(name for n in range(2, len(taken) + 3) if (name := f"{wanted}-{n}") not in taken)


def _rename(change: Change, person: Person, name: str) -> None:
    if person.display_name == name:
        return
    person.display_name = name
    change.session.add(person)
    change.audit(
        SYSTEM,
        NAME_CHANGED,
        AuditSubject("person", person.id),
        personal={"display_name": person.display_name},
    )


def _set_roles(change: Change, person: Person, roles: frozenset[PlatformRole]) -> None:
    had = frozenset(
        PlatformRole(role)
        for role in change.session.exec(select(PersonRole.role).where(PersonRole.person_id == person.id))
    )
    if had == roles:
        return
    change.session.exec(
        delete(PersonRole).where(
            col(PersonRole.person_id) == person.id, col(PersonRole.role).in_(had - roles)
        )
    )
    change.session.add_all(PersonRole(person_id=person.id, role=role) for role in roles - had)
    change.audit(
        SYSTEM,
        ROLES_CHANGED,
        AuditSubject("person", person.id),
        facts={
            "given": sorted(role.value for role in roles - had),
            "taken": sorted(role.value for role in had - roles),
        },
    )
