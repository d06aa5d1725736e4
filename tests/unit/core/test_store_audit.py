"""Units of work and the audit log."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy.exc import DatabaseError
from sqlmodel import select, text

from broch_core.actions import Action
from broch_core.audit.erasure import erase_texts_of_record
from broch_core.audit.record import AuditSubject
from broch_core.audit.tables import AuditNode, AuditPersonal, AuditRecord
from broch_core.errors import Conflict, UnauditedChange
from broch_core.lifecycles import PROJECT, ProjectEvent, ProjectStatus
from broch_core.proof import MerkleTree, leaf_hash, verify_inclusion
from broch_core.proof.notes import Checkpoint, Note
from broch_core.store.engine import make_engine
from broch_core.tables.people import Person
from broch_core.tables.projects import Project
from support.worlds import World, make_world


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


def test_a_change_without_a_record_is_rolled_back(world: World):
    with pytest.raises(UnauditedChange), world.store.write() as change:
        change.session.add(Person(handle="nobody", display_name="Nobody"))
    with world.store.read() as session:
        assert session.exec(select(Person).where(Person.handle == "nobody")).first() is None


def test_a_change_with_a_record_stands(world: World):
    with world.store.write() as change:
        person = Person(handle="nobody", display_name="Nobody")
        change.session.add(person)
        change.audit("system", Action.PERSON_CREATE, AuditSubject("person", person.id))
    with world.store.read() as session:
        assert session.exec(select(Person).where(Person.handle == "nobody")).one().id == person.id


def test_the_loser_of_a_transition_gets_a_conflict(world: World):
    with world.store.read() as session:
        mine = session.get(Project, world.project.id)
        theirs = Project(**mine.model_dump())
    with world.store.write() as change:
        row = change.session.get(Project, theirs.id)
        change.advance(PROJECT, row, ProjectEvent.FREEZE)
        change.audit("system", Action.PROJECT_FREEZE, AuditSubject("project", row.id))
    with world.store.write() as change:
        stale = change.session.get(Project, theirs.id)
        change.session.expunge(stale)
        stale.status, stale.version = ProjectStatus.ACTIVE, 1
        with pytest.raises(Conflict, match="somebody else"):
            change.advance(PROJECT, stale, ProjectEvent.FREEZE)
        change.exempt = True  # nothing was changed


def _numbered(world: World, count: int = 7) -> None:
    for n in range(count):
        with world.store.write() as change:
            change.audit(
                "system",
                Action.PROJECT_READ,
                AuditSubject("thing", str(n)),
                facts={"n": n},
                personal={"name": f"p{n}"},
            )
    assert world.audit_log.sequence() == count


def test_the_log_verifies_and_proves_every_record(world: World):
    _numbered(world)
    assert world.audit_log.verify().ok
    with world.store.read() as session:
        ids = session.exec(select(AuditRecord.id)).all()
    for record_id in ids:
        proof = world.audit_log.proof(record_id)
        root = Checkpoint.parse(Note.parse(proof.checkpoint).text).root
        verify_inclusion(leaf_hash(proof.leaf), proof.index, proof.size, proof.hashes, root)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("UPDATE audit_record SET actor_id = 'x' WHERE seq = 3", "changed after it was numbered"),
        ("DELETE FROM audit_record WHERE seq = 3", "number 3 is missing"),
        ('UPDATE audit_personal SET texts = \'{"name": "y"}\'', "personal texts"),
        ("DELETE FROM audit_record WHERE seq = 6", "speaks of 7 records, but 6"),
        ("DELETE FROM audit_checkpoint", "speaks of 0 records, but 7"),
        (
            "DELETE FROM audit_personal WHERE record_id = (SELECT max(id) FROM audit_record)",
            "lost its personal texts",
        ),
        ('UPDATE audit_node SET hash = zeroblob(32) WHERE level = 0 AND "index" = 2', "Node 2 of level 0"),
        (
            "UPDATE audit_checkpoint SET note = replace(note, char(10) || '7' || char(10), char(10) || '6' || char(10))",
            "signature",
        ),
    ],
)
def test_changed_history_is_found_and_named(world: World, change: str, says: str):
    _numbered(world)
    engine = make_engine(world.settings.store_url(), owner=True)
    with engine.begin() as connection:
        triggers = (
            connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).scalars().all()
        )
        connection.execute(text("PRAGMA defer_foreign_keys=ON"))
        for name in triggers:
            connection.execute(text(f"DROP TRIGGER {name}"))
        if change.startswith("DELETE FROM audit_record"):
            gone = change.replace("DELETE FROM audit_record", "SELECT id FROM audit_record")
            connection.execute(text(f"DELETE FROM audit_personal WHERE record_id IN ({gone})"))
        connection.execute(text(change))
    engine.dispose()
    result = world.audit_log.verify()
    assert not result.ok
    assert says in result.reason


@pytest.mark.parametrize("table", ["audit_record", "audit_node", "audit_checkpoint"])
def test_the_database_refuses_to_delete_history(world: World, table: str):
    _numbered(world)
    with pytest.raises(Conflict, match="deleted"), world.store.write(housekeeping=True) as change:
        change.session.execute(text(f"DELETE FROM {table}"))
    assert world.audit_log.verify().ok


def test_the_database_refuses_to_edit_a_record_but_lets_texts_be_erased(world: World):
    _numbered(world)
    with pytest.raises(Conflict, match="does not change"), world.store.write(housekeeping=True) as change:
        change.session.execute(text("UPDATE audit_record SET actor_id = 'x'"))
    with world.store.write() as change:
        erased = change.session.exec(select(AuditPersonal.record_id)).first()
        assert erase_texts_of_record(change, "system", erased) == 1
    world.audit_log.sequence()
    result = world.audit_log.verify()
    assert (result.ok, result.erased) == (True, 1)
    assert "1 were erased" in result.reason


def test_the_app_cannot_change_the_schema(world: World):
    for statement in (
        "DROP TRIGGER audit_record_fixed",
        "ALTER TABLE person ADD COLUMN x TEXT",
        "CREATE TABLE y (z TEXT)",
    ):
        with (
            pytest.raises(DatabaseError, match="not authorized"),
            world.store.write(housekeeping=True) as change,
        ):
            change.session.execute(text(statement))


def test_consistency_of_older_and_newer_heads(world: World):
    _numbered(world, 5)
    with world.store.read() as session:
        old_nodes = {(n.level, n.index): n.hash for n in session.exec(select(AuditNode))}
    _numbered(world, 4)
    proof = world.audit_log.consistency(5)
    assert proof
    assert MerkleTree  # the proof's own tests are with the tree
    with world.store.read() as session:
        new_nodes = {(n.level, n.index): n.hash for n in session.exec(select(AuditNode))}
    assert old_nodes.items() <= new_nodes.items()
