"""Who a token speaks of: handles, names, roles, and rows that nobody takes over."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import select

from broch_api.people.schemas import PersonCreate
from broch_api.signin.oidc.persons import (
    NAME_CHANGED,
    ROLES_CHANGED,
    Arrival,
    admit,
    arrival_of,
    handle_of,
    name_of,
    roles_of_groups,
)
from broch_api.signin.oidc.settings import GROUPS
from broch_api.signin.oidc.tokens import Identity
from broch_core.actors import PlatformRole
from broch_core.audit.record import AuditSubject
from broch_core.audit.tables import AuditPersonal, AuditRecord
from broch_core.clock import utc_now
from broch_core.errors import Conflict
from broch_core.ids import is_slug
from broch_core.tables.people import Person, PersonRole
from support.worlds import World, make_world
from unit.oidc.forger import id_claims

ISSUER = "https://id.example.org/realms/broch"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


def arrival(subject: str, handle: str, *roles: PlatformRole, name: str = "Some One") -> Arrival:
    return Arrival(ISSUER, subject, handle, name, frozenset(roles))


def let_in(world: World, who: Arrival) -> Person:
    with world.store.write() as change:
        person = admit(change, who)
        change.audit("system", "test:sign-in", AuditSubject("person", person.id))
    return person


def records(world: World, action: str) -> list[AuditRecord]:
    with world.store.read() as session:
        return list(session.exec(select(AuditRecord).where(AuditRecord.action == action)))


@pytest.mark.parametrize(
    ("user_name", "handle"),
    [
        ("ruth", "ruth"),
        ("Ruth.Wanjiru@example.org", "ruth-wanjiru"),
        ("Möller", "moller"),
        ("  a__b  ", "a-b"),
        ("7of9", "p-7of9"),
        ("", "person"),
        ("名前", "person"),
        ("@example.org", "person"),
        ("-" * 60, "person"),
    ],
)
def test_a_user_name_becomes_a_handle(user_name: str, handle: str) -> None:
    assert handle_of(user_name) == handle


@given(st.text(max_size=200))
def test_any_user_name_gives_a_handle_and_any_name_one_that_can_be_stored(text: str) -> None:
    handle = handle_of(text)
    assert is_slug(handle)
    assert len(handle) <= 35
    PersonCreate(handle=handle, display_name=name_of(text) or handle)


def test_a_name_keeps_its_letters_and_loses_what_deceives() -> None:
    assert name_of("  Ruth\u202e  Möller\n\x00 ") == "Ruth Möller"


def test_groups_of_the_top_give_roles_and_others_none() -> None:
    assert roles_of_groups(["/broch-admins", "broch-owners", "/other"], GROUPS) == {
        PlatformRole.ADMIN,
        PlatformRole.ASSET_OWNER,
    }
    for group in (
        "/students/broch-admins",
        "//broch-admins",
        "broch-admins/",
        "Broch-Admins",
        " broch-admins",
    ):
        assert roles_of_groups([group], GROUPS) == frozenset()


def test_a_token_says_who_arrives() -> None:
    who = arrival_of(Identity.model_validate(id_claims()), GROUPS)
    assert who == Arrival(ISSUER, "7f0c", "ruth", "Ruth Test", frozenset({PlatformRole.REVIEWER}))


def test_the_first_sign_in_makes_a_person_and_the_second_finds_it(world: World) -> None:
    first = let_in(world, arrival("s1", "nora", PlatformRole.REVIEWER))
    second = let_in(world, arrival("s1", "nora", PlatformRole.REVIEWER))
    assert first.id == second.id
    assert [record.facts["roles"] for record in records(world, "person:create")] == [["reviewer"]]
    assert records(world, ROLES_CHANGED) == []


def test_handles_that_are_taken_get_a_number_and_nobody_is_taken_over(world: World) -> None:
    made = [let_in(world, arrival(f"s{n}", "ruth")).handle for n in range(3)]
    assert made == ["ruth-2", "ruth-3", "ruth-4"]
    with world.store.read() as session:
        assert session.get_one(Person, world.people["ruth"].id).subject is None


def test_one_subject_of_two_issuers_is_two_people(world: World) -> None:
    first = let_in(world, arrival("s1", "nora"))
    other = let_in(world, Arrival("https://other.example.org", "s1", "nora", "Other", frozenset()))
    assert first.id != other.id


def test_the_database_holds_a_subject_once(world: World) -> None:
    let_in(world, arrival("s1", "nora"))
    with pytest.raises(Conflict), world.store.write(housekeeping=True) as change:
        change.session.add(Person(handle="twin", display_name="Twin", issuer=ISSUER, subject="s1"))


def test_roles_and_names_follow_the_provider_and_each_change_is_on_record(world: World) -> None:
    person = let_in(world, arrival("s1", "nora", PlatformRole.ADMIN, PlatformRole.REVIEWER))
    let_in(
        world, arrival("s1", "changed-there", PlatformRole.REVIEWER, PlatformRole.STEWARD, name="New Name")
    )
    with world.store.read() as session:
        now = session.get_one(Person, person.id)
        roles = set(session.exec(select(PersonRole.role).where(PersonRole.person_id == person.id)))
    assert (now.handle, now.display_name) == ("nora", "New Name")
    assert roles == {PlatformRole.REVIEWER, PlatformRole.STEWARD}
    (changed,) = records(world, ROLES_CHANGED)
    assert changed.facts == {"given": ["steward"], "taken": ["admin"]}
    (renamed,) = records(world, NAME_CHANGED)
    assert renamed.facts == {}  # the name is erasable text
    with world.store.read() as session:
        assert session.get_one(AuditPersonal, renamed.id).texts == {"display_name": "New Name"}


def test_nothing_changes_for_somebody_who_is_disabled(world: World) -> None:
    person = let_in(world, arrival("s1", "nora"))
    person.disabled_at = utc_now()
    world.add(person)
    let_in(world, arrival("s1", "nora", PlatformRole.ADMIN, name="Another"))
    assert records(world, ROLES_CHANGED) == records(world, NAME_CHANGED) == []
