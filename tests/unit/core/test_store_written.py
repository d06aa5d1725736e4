"""Who remembers what was read must forget it when its tables are written, and only then."""

from __future__ import annotations

import threading

import pytest
from sqlmodel import col, select, text, update

from broch_core.errors import UnauditedChange
from broch_core.store.written import ANY_TABLE, Epochs, written_table
from broch_core.tables.people import Person
from broch_core.tables.projects import Membership, Project
from support.worlds import make_world


@pytest.mark.parametrize(
    ("statement", "table"),
    [
        ("INSERT INTO person (id) VALUES (?)", "person"),
        ('insert or ignore into "person" (id) values (?)', "person"),
        ("UPDATE membership SET until=?", "membership"),
        ("DELETE FROM upload WHERE id = ?", "upload"),
        ("SELECT person.id FROM person", None),
        ("BEGIN IMMEDIATE", None),
        ("WITH x AS (SELECT 1) UPDATE person SET handle='x'", ANY_TABLE),
        ("PRAGMA user_version = 3", ANY_TABLE),
        ("DELETE\tFROM person", "person"),
    ],
)
def test_a_statement_says_what_it_writes(statement, table):
    assert written_table(statement) == table


def test_an_epoch_moves_with_its_own_tables_and_with_unreadable_statements():
    epochs = Epochs()
    epochs.committed(["project"])
    assert epochs.of(["person"]) == 0
    epochs.committed(["person", "project"])
    assert epochs.of(["person"]) == 1
    epochs.committed([ANY_TABLE])
    assert epochs.of(["person"]) == 2


def test_a_remembered_actor_survives_other_commits_and_no_change_of_rights(tmp_path):
    world = make_world(tmp_path)
    token = world.token("ruth")
    assert world.sessions.actor(token) is not None
    with world.store.write(housekeeping=True) as change:
        change.session.exec(update(Project).values(purpose="Another"))
    assert world.sessions.remembered(token) is not None
    with world.store.write(housekeeping=True) as change:
        change.session.connection().execute(
            update(Membership)
            .where(col(Membership.person_id) == world.people["ruth"].id)
            .values(until=world.project.created_at)
        )
    assert world.sessions.remembered(token) is None
    assert world.project.id not in world.sessions.actor(token).memberships


def test_a_change_by_plain_sql_needs_its_audit_record_too(tmp_path):
    world = make_world(tmp_path)
    with pytest.raises(UnauditedChange), world.store.write() as change:
        change.session.connection().execute(text("UPDATE person SET about = 'x'"))
    with world.store.read() as session:
        assert set(session.exec(select(Person.about))) == {""}
    with world.store.write() as change:
        change.session.exec(select(Person.id)).all()


def test_many_writers_queue_and_none_is_lost(tmp_path):
    world = make_world(tmp_path)

    def write(number: int) -> None:
        world.add_person(f"writer{number}")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with world.store.read() as session:
        handles = set(session.exec(select(Person.handle)))
    assert {f"writer{number}" for number in range(12)} <= handles
