"""Every way to change a stored history, as functions of a `Forger`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broch_core.audit.leaves import StoredRecord, leaf_bytes, stored_records
from broch_core.proof import (
    Checkpoint,
    KeySigner,
    MemoryNodes,
    MerkleTree,
    Purpose,
    Signer,
    TrustedKey,
    leaf_hash,
    sign_checkpoint,
)
from support.forger import ROTATED_AFTER, Forger


def other(value: Any, chosen: Random) -> Any:
    """Return a value that differs a little."""
    if value is None:
        return "X"
    if isinstance(value, int):
        return value + chosen.choice((-1, 1, 1000))
    if isinstance(value, bytes | memoryview):
        changed = bytearray(value)
        changed[chosen.randrange(len(changed))] ^= 1 << chosen.randrange(8)
        return bytes(changed)
    place = chosen.randrange(len(value))
    swapped = value[place].swapcase()
    if swapped != value[place] and chosen.random() < 0.3:
        return value[:place] + swapped + value[place + 1 :]
    step = chosen.choice(
        (value[:place] + value[place + 1 :], value + " ", value[:place] + "0" + value[place:])
    )
    return step if step != value else value + "0"


RECORD_COLUMNS = (
    "id", "at", "actor_id", "action", "outcome", "subject_kind", "subject_id", "project_id", "facts", "personal_digest",
    "leaf_hash",
)  # fmt: skip


def edit_record(forger: Forger) -> None:
    column, number = forger.chosen.choice(RECORD_COLUMNS), forger.number()
    if column == "at":
        back = timedelta(milliseconds=forger.chosen.choice((1, 60_000)))
        row = next(iter(stored_records(forger.connection, number, number + 1)))
        at = datetime.fromisoformat(f"{row[2]}+00:00") - back
        forger.run("UPDATE audit_record SET at = :new WHERE seq = :n", new=forger.moment(at), n=number)
    else:
        raw = "facts::text" if column == "facts" and forger.connection.dialect.name != "sqlite" else column
        old = forger.run(f"SELECT {raw} FROM audit_record WHERE seq = :n", n=number).scalar()
        new = '{"n":12345}' if column == "facts" else other(old, forger.chosen)[:64]
        if new == old:
            new = f"0{old[1:]}" if old[0] != "0" else f"1{old[1:]}"
        if column == "id":
            forger.run(
                "UPDATE audit_personal SET record_id = :new WHERE record_id = :old", new=new[:26], old=old
            )
            new = new[:26] if new[:26] != old else f"Z{old[1:]}"
        forger.run(f"UPDATE audit_record SET {column} = :new WHERE seq = :n", new=new, n=number)
    if column != "leaf_hash":
        forger.maybe_rebuild()


def respell_facts(forger: Forger) -> None:
    number = forger.chosen.choice(
        forger.run("SELECT seq FROM audit_record WHERE action = 'airlock:submit'").scalars().all()
    )
    row = StoredRecord(*next(iter(stored_records(forger.connection, number, number + 1))))
    new = (
        row.facts.replace(":", ": ")
        if forger.chosen.random() < 0.5
        else row.facts.replace('{"n"', '{"n":9,"n"')
    )
    if new == row.facts:
        new = row.facts.replace('"names"', '"\\u006eames"')
    forger.run("UPDATE audit_record SET facts = :new WHERE seq = :n", new=new, n=number)


def edit_texts(forger: Forger) -> None:
    rows = forger.run("SELECT record_id, salt FROM audit_personal").all()
    record, salt = forger.chosen.choice(rows)
    if forger.chosen.random() < 0.5:
        new = other(salt, forger.chosen)[:64]
        new = new if new != salt else f"{'0' if salt[0] != '0' else '1'}{salt[1:]}"
        forger.run("UPDATE audit_personal SET salt = :new WHERE record_id = :id", new=new, id=record)
    else:
        new = '{"file":"harmless.csv"}'
        forger.run("UPDATE audit_personal SET texts = :new WHERE record_id = :id", new=new, id=record)


def edit_node(forger: Forger) -> None:
    level, index, node = forger.chosen.choice(forger.run('SELECT level, "index", hash FROM audit_node').all())
    forger.run(
        'UPDATE audit_node SET hash = :new WHERE level = :level AND "index" = :index',
        new=other(node, forger.chosen),
        level=level,
        index=index,
    )


def edit_checkpoint(forger: Forger) -> None:
    size = forger.chosen.choice(forger.sizes())
    note = forger.run("SELECT note FROM audit_checkpoint WHERE size = :size", size=size).scalar_one()
    new = other(note, forger.chosen)
    forger.run("UPDATE audit_checkpoint SET note = :new WHERE size = :size", new=new, size=size)


def delete_record(forger: Forger) -> None:
    number = forger.number()
    forger.run(
        "DELETE FROM audit_personal WHERE record_id IN (SELECT id FROM audit_record WHERE seq = :n)", n=number
    )
    forger.run("DELETE FROM audit_record WHERE seq = :n", n=number)
    if forger.chosen.random() < 0.5:
        forger.renumber(forger.order())
    forger.maybe_rebuild()


def delete_texts(forger: Forger) -> None:
    record = forger.chosen.choice(forger.run("SELECT record_id FROM audit_personal").scalars().all())
    forger.run("DELETE FROM audit_personal WHERE record_id = :id", id=record)


def delete_node(forger: Forger) -> None:
    level, index = forger.chosen.choice(forger.run('SELECT level, "index" FROM audit_node').all())
    forger.run('DELETE FROM audit_node WHERE level = :level AND "index" = :index', level=level, index=index)


def delete_newest_checkpoints(forger: Forger) -> None:
    sizes = forger.sizes()
    forger.run("DELETE FROM audit_checkpoint WHERE size >= :size", size=forger.chosen.choice(sizes))


def swap_records(forger: Forger) -> None:
    order = forger.order()
    a, b = forger.chosen.sample(range(len(order)), 2)
    order[a], order[b] = order[b], order[a]
    forger.renumber(order)
    forger.maybe_rebuild()


def swap_texts(forger: Forger) -> None:
    a, b = forger.chosen.sample(forger.run("SELECT record_id, salt FROM audit_personal").all(), 2)
    forger.run("UPDATE audit_personal SET record_id = 'x' WHERE record_id = :id", id=a[0])
    forger.run("UPDATE audit_personal SET record_id = :new WHERE record_id = :id", new=a[0], id=b[0])
    forger.run("UPDATE audit_personal SET record_id = :new WHERE record_id = 'x'", new=b[0])


def swap_checkpoints(forger: Forger) -> None:
    a, b = forger.chosen.sample(forger.sizes(), 2)
    notes = {row.size: row.note for row in forger.run("SELECT size, note FROM audit_checkpoint")}
    for size, note in ((a, notes[b]), (b, notes[a])):
        forger.run("UPDATE audit_checkpoint SET note = :note WHERE size = :size", note=note, size=size)


def insert_record(forger: Forger) -> None:
    forger.forged_record(forger.number())
    forger.maybe_rebuild()


def append_record(forger: Forger) -> None:
    forger.forged_record(forger.history.size)
    forger.maybe_rebuild()


def insert_texts(forger: Forger) -> None:
    bare = forger.run(
        "SELECT id FROM audit_record WHERE id NOT IN (SELECT record_id FROM audit_personal)"
    ).scalars()
    forger.run(
        "INSERT INTO audit_personal (record_id, salt, texts) VALUES (:id, :salt, '{}')",
        id=forger.chosen.choice(bare.all()),
        salt="0" * 64,
    )


def insert_node(forger: Forger) -> None:
    level = forger.chosen.choice((0, 1, 2, 7, 40))
    index = (forger.history.size >> level) + forger.chosen.randrange(3)
    forger.run(
        'INSERT INTO audit_node (level, "index", hash) VALUES (:level, :index, :hash)',
        level=level,
        index=index,
        hash=bytes(32),
    )


def foreign(forger: Forger) -> Signer:
    """Return a key that is in no trust file."""
    private = Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes_raw()
    return KeySigner(private, TrustedKey(Purpose.CHECKPOINT, public, forger.history.now - timedelta(days=1)))


def insert_checkpoint(forger: Forger) -> None:
    free = [size for size in range(1, forger.history.size) if size not in forger.sizes()]
    size = forger.chosen.choice(free)
    root = forger.chosen.randbytes(32)
    signer = forger.chosen.choice((foreign(forger), forger.history.old))
    note = sign_checkpoint(Checkpoint(forger.history.trust.origin, size, root), [signer])
    forger.run(
        "INSERT INTO audit_checkpoint (size, at, note) VALUES (:size, :at, :note)",
        size=size,
        at=forger.moment(signer.key.not_before),
        note=note,
    )


def cut_records(forger: Forger) -> None:
    cut_to(forger, forger.number(1), checkpoints=False)


def cut_to(forger: Forger, size: int, *, checkpoints: bool = True) -> None:
    """Take away every record from a number on, with texts and nodes, and the checkpoints over them."""
    forger.run(
        "DELETE FROM audit_personal WHERE record_id IN (SELECT id FROM audit_record WHERE seq >= :n)", n=size
    )
    forger.run("DELETE FROM audit_record WHERE seq >= :n", n=size)
    if checkpoints:
        forger.run("DELETE FROM audit_checkpoint WHERE size > :n", n=size)
    forger.rebuild()


def cut_to_a_checkpoint(forger: Forger) -> None:
    cut_to(forger, forger.chosen.choice(forger.sizes()[:-1]))


def fork(forger: Forger, signer: Signer, at: datetime | None = None) -> None:
    first = forger.number()
    forger.run("UPDATE audit_record SET outcome = 'denied' WHERE seq = :n", n=first)
    if forger.chosen.random() < 0.5:
        forger.forged_record(forger.number(first))
    forger.rebuild()
    forger.sign_again(signer, from_size=first + 1, at=at)


def fork_with_a_foreign_key(forger: Forger) -> None:
    fork(forger, foreign(forger))


def fork_with_the_old_key(forger: Forger) -> None:
    at = forger.history.old.key.not_before + timedelta(microseconds=1)
    fork(forger, forger.history.old, forger.chosen.choice((None, at)))


def fork_with_the_key_in_force(forger: Forger) -> None:
    fork(forger, forger.history.present)


def sign_with_the_old_key(forger: Forger) -> None:
    size = forger.chosen.choice(forger.sizes()[ROTATED_AFTER:])
    forger.sign_again(forger.history.old, from_size=size)


def sign_older_records_with_a_key_that_came_later(forger: Forger) -> None:
    sizes = forger.sizes()[:ROTATED_AFTER]
    tree = MerkleTree(MemoryNodes())
    tree.append([leaf_hash(leaf_bytes(row)) for row in stored_records(forger.connection, 0, 1 << 30)])
    size = forger.chosen.choice(sizes)
    note = sign_checkpoint(
        Checkpoint(forger.history.trust.origin, size, tree.root(size)), [forger.history.present]
    )
    forger.run("UPDATE audit_checkpoint SET note = :note WHERE size = :size", note=note, size=size)


def cut_and_go_on_with_the_old_key(forger: Forger) -> None:
    cut_to(forger, forger.chosen.choice(forger.sizes()[:ROTATED_AFTER]))
    size = len(forger.order())
    forger.forged_record(size)
    forger.rebuild()
    at = forger.history.old.key.not_before + timedelta(microseconds=1)
    forger.sign_again(forger.history.old, from_size=size + 1, at=forger.chosen.choice((None, at)))


FOUND_ALONE: tuple[Callable[[Forger], None], ...] = (
    edit_record,
    respell_facts,
    edit_texts,
    edit_node,
    edit_checkpoint,
    delete_record,
    delete_texts,
    delete_node,
    delete_newest_checkpoints,
    swap_records,
    swap_texts,
    swap_checkpoints,
    insert_record,
    append_record,
    insert_texts,
    insert_node,
    insert_checkpoint,
    cut_records,
    fork_with_a_foreign_key,
    sign_with_the_old_key,
    sign_older_records_with_a_key_that_came_later,
    fork_with_the_old_key,
    cut_and_go_on_with_the_old_key,
)
"""What verification finds in the database alone, with the trust file."""
FOUND_WITH_WHAT_WAS_KEPT: tuple[Callable[[Forger], None], ...] = (
    cut_to_a_checkpoint,
    fork_with_the_key_in_force,
)
"""What the owner of the server and its present key can do: found by a checkpoint that was kept elsewhere."""
