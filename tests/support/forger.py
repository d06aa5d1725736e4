"""Somebody who owns the database: changes the stored history in every way, and mends what can be mended without a key.

All of it happens in a transaction that is rolled back after the look, so one history serves thousands of trials.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, text

from broch_core.audit.erasure import erase_texts_of_person
from broch_core.audit.leaves import StoredRecord, leaf_bytes, stored_records
from broch_core.audit.record import AuditSubject
from broch_core.clock import utc_now
from broch_core.ids import new_id
from broch_core.proof import (
    Checkpoint,
    MemoryNodes,
    MerkleTree,
    Purpose,
    Signer,
    TrustFile,
    leaf_hash,
    sign_checkpoint,
)
from support.worlds import World

PEOPLE = ("ruth", "robin", "rita")
_BATCHES = (1, 5, 8, 3, 13, 2, 7, 4, 6)
ROTATED_AFTER = 4
"""Batches that the old key has signed."""


@dataclass
class History:
    """A log with texts, an erasure and a rotation, and what lies elsewhere: keys, trust, the newest checkpoint."""

    engine: Engine
    trust: TrustFile
    kept: str
    old: Signer
    present: Signer
    size: int
    now: datetime = field(default_factory=utc_now)


def make_history(world: World) -> History:
    """Write a history as the app does, then open its database as somebody whom no trigger and no key holds back."""
    old = world.keys.signer(Purpose.CHECKPOINT, utc_now())
    for number, count in enumerate(_BATCHES):
        if number == ROTATED_AFTER:
            world.keys.rotate(Purpose.CHECKPOINT, utc_now(), overlap=timedelta(0))
        for n in range(count):
            _change(world, n + number)
        world.audit_log.sequence()
    with world.store.write() as change:
        erase_texts_of_person(change, world.people["ada"].id, world.people["robin"].id)
    world.audit_log.sequence()
    for n in range(5):
        _change(world, 3 * n + 1)
    world.audit_log.sequence()
    kept = world.audit_log.latest()
    assert kept is not None
    engine = create_engine(world.store.engine.url)
    _open_up(engine)
    present = world.keys.signer(Purpose.CHECKPOINT, utc_now())
    return History(engine, world.keys.trust(), kept, old, present, sum(_BATCHES) + 6)


def _change(world: World, n: int) -> None:
    with world.store.write() as change:
        person = world.people[PEOPLE[n % len(PEOPLE)]]
        change.audit(
            person.id,
            "airlock:submit",
            AuditSubject("airlock_request", new_id(), world.project.id if n % 4 else None),
            facts={"n": n, "sha256": f"{n:064x}", "names": ["a", "b"]},
            personal={"file": f"table-{n}.csv"} if n % 2 else {},
        )


def _open_up(engine: Engine) -> None:
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            names = connection.execute(
                text("SELECT name FROM sqlite_master WHERE type = 'trigger'")
            ).scalars()
            for name in names.all():
                connection.execute(text(f"DROP TRIGGER {name}"))
            return
        for table in ("audit_record", "audit_personal", "audit_node", "audit_checkpoint"):
            connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER ALL"))
        connection.execute(text("ALTER TABLE audit_personal DROP CONSTRAINT audit_personal_record_id_fkey"))


class Forger:
    """Changes made in one open transaction."""

    def __init__(self, connection: Connection, history: History, chosen: random.Random) -> None:
        self.connection = connection
        self.history = history
        self.chosen = chosen

    def run(self, statement: str, **values: Any) -> Any:
        return self.connection.execute(text(statement), values)

    def number(self, first: int = 0) -> int:
        return self.chosen.randrange(first, self.history.size)

    def rebuild(self) -> bytes:
        """Make leaf hashes and nodes fit the records again; return the root."""
        tree = MerkleTree(nodes := MemoryNodes())
        rows = [StoredRecord(*row) for row in stored_records(self.connection, 0, 1 << 30)]
        hashes = [leaf_hash(leaf_bytes(row)) for row in rows]
        tree.append(hashes)
        for row, leaf in zip(rows, hashes, strict=True):
            if row.leaf_hash != leaf.hex():
                self.run(
                    "UPDATE audit_record SET leaf_hash = :leaf WHERE id = :id", leaf=leaf.hex(), id=row.id
                )
        self.run("DELETE FROM audit_node")
        self.connection.execute(
            text('INSERT INTO audit_node (level, "index", hash) VALUES (:level, :index, :hash)'),
            [{"level": level, "index": index, "hash": node} for (level, index), node in nodes.nodes.items()],
        )
        return tree.root()

    def renumber(self, order: list[str]) -> None:
        """Number the records in this order of ids."""
        self.run("UPDATE audit_record SET seq = -1 - seq")
        for number, record in enumerate(order):
            self.run("UPDATE audit_record SET seq = :n WHERE id = :id", n=number, id=record)

    def order(self) -> list[str]:
        return list(self.run("SELECT id FROM audit_record ORDER BY seq").scalars())

    def sizes(self) -> list[int]:
        return list(self.run("SELECT size FROM audit_checkpoint ORDER BY size").scalars())

    def sign_again(self, signer: Signer, *, from_size: int = 0, at: datetime | None = None) -> None:
        """Make every checkpoint from a size on anew for the records as they are now."""
        tree = MerkleTree(MemoryNodes())
        tree.append([leaf_hash(leaf_bytes(row)) for row in stored_records(self.connection, 0, 1 << 30)])
        sizes = [size for size in self.sizes() if size >= from_size and size <= tree.size]
        if tree.size not in sizes:
            self.run("DELETE FROM audit_checkpoint WHERE size > :size", size=tree.size)
            self.run(
                "INSERT INTO audit_checkpoint (size, at, note) VALUES (:size, :at, '')",
                size=tree.size,
                at=self.moment(at),
            )
            sizes.append(tree.size)
        for size in sizes:
            note = sign_checkpoint(Checkpoint(self.history.trust.origin, size, tree.root(size)), [signer])
            self.run("UPDATE audit_checkpoint SET note = :note WHERE size = :size", note=note, size=size)
            if at is not None:
                self.run(
                    "UPDATE audit_checkpoint SET at = :at WHERE size = :size", at=self.moment(at), size=size
                )

    def moment(self, at: datetime | None) -> Any:
        moment = at or utc_now()
        return f"{moment:%Y-%m-%d %H:%M:%S.%f}" if self.connection.dialect.name == "sqlite" else moment

    def forged_record(self, number: int) -> str:
        """Insert a record that never was, with this number, and move the later ones up."""
        order, record = self.order(), new_id()
        self.run(
            "INSERT INTO audit_record (id, at, actor_id, action, outcome, subject_kind, facts, seq) "
            "SELECT :id, at, actor_id, 'airlock:release', 'allowed', 'airlock_request', '{}', -1000 "
            "FROM audit_record WHERE id = :beside",
            id=record,
            beside=order[min(number, len(order) - 1)],
        )
        self.renumber([*order[:number], record, *order[number:]])
        return record

    def maybe_rebuild(self) -> None:
        """Mend hashes and nodes every second time."""
        if self.chosen.random() < 0.5:
            self.rebuild()
