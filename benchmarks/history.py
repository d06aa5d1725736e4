"""A long audit log made in no time: the rows that a million audited changes and the sequencer leave, loaded in bulk."""

from __future__ import annotations

import hmac
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.engine.interfaces import DBAPICursor

from broch_core.audit.leaves import StoredRecord, leaf_bytes
from broch_core.clock import utc_now
from broch_core.ids import new_id
from broch_core.proof import (
    Checkpoint,
    KeyFolder,
    MemoryNodes,
    MerkleTree,
    Purpose,
    leaf_hash,
    sign_checkpoint,
)

BATCH = 5000
"""Records of one checkpoint: what the sequencer takes at most."""
_TABLES = {
    "audit_record": (
        "id", "at", "actor_id", "action", "outcome", "subject_kind", "subject_id", "project_id", "facts",
        "personal_digest", "seq", "leaf_hash",
    ),
    "audit_personal": ("record_id", "salt", "texts"),
    "audit_node": ("level", "index", "hash"),
    "audit_checkpoint": ("size", "at", "note"),
}  # fmt: skip
_ACTIONS = ("airlock:submit", "airlock:file-decide", "workspace:open", "dataset:read", "airlock:download")

Rows = Mapping[str, Sequence[tuple[Any, ...]]]


def batches(count: int, keys: KeyFolder, origin: str) -> Iterator[Rows]:
    """Yield the rows of `count` records, `BATCH` at a time; every third one has personal texts."""
    nodes = _NewNodes()
    tree = MerkleTree(nodes)
    began = utc_now() - timedelta(days=30)
    signer = keys.signer(Purpose.CHECKPOINT, utc_now())
    people, projects = [new_id() for _ in range(40)], [new_id() for _ in range(8)]
    for first in range(0, count, BATCH):
        records, texts, hashes = [], [], []
        for number in range(first, min(first + BATCH, count)):
            at = f"{began + timedelta(milliseconds=number):%Y-%m-%d %H:%M:%S.%f}"[:23] + "000"
            salt, said, digest = None, None, None
            if number % 3 == 0:
                salt, said = (
                    os.urandom(32).hex(),
                    json.dumps({"name": f"table-{number}.csv"}, separators=(",", ":")),
                )
                digest = hmac.digest(bytes.fromhex(salt), said.encode(), "sha256").hex()
            facts = f'{{"file":"{new_id()}","sha256":"{number:064x}","turn":{number % 3}}}'
            row = StoredRecord(
                number, new_id(), at, people[number % 40], _ACTIONS[number % 5], "allowed", "airlock_request",
                new_id(), projects[number % 8], facts, digest, "", salt, said,
            )  # fmt: skip
            leaf = leaf_hash(leaf_bytes(row))
            hashes.append(leaf)
            records.append((row.id, at, *row[3:11], number, leaf.hex()))
            if salt is not None:
                texts.append((row.id, salt, said))
        tree.append(hashes)
        now = utc_now()
        note = sign_checkpoint(Checkpoint(origin, tree.size, tree.root()), [signer])
        yield {
            "audit_record": records,
            "audit_personal": texts,
            "audit_node": [(level, index, node) for (level, index), node in nodes.take()],
            "audit_checkpoint": [(tree.size, _moment(now), note)],
        }


class Loader:
    """Loads rows into one database, past the layers that a running Broch has above it."""

    def __init__(self, engine: Engine) -> None:
        """Connect as the owner of the schema."""
        self._raw = engine.raw_connection()
        self._sqlite = engine.dialect.name == "sqlite"
        if self._sqlite:
            self._raw.cursor().execute("PRAGMA synchronous=OFF")

    def load(self, rows: Rows) -> None:
        """Load one batch in one transaction."""
        cursor = self._raw.cursor()
        if self._sqlite:
            cursor.execute("BEGIN")
        for table, columns in _TABLES.items():
            names = ", ".join(f'"{name}"' for name in columns)
            if self._sqlite:
                marks = ", ".join("?" * len(columns))
                cursor.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", rows[table])
            else:
                _copy(cursor, f"COPY {table} ({names}) FROM STDIN", rows[table])
        self._raw.commit()

    def close(self) -> None:
        """Let the database gather its statistics, as it does by itself after a while, and disconnect."""
        cursor = self._raw.cursor()
        cursor.execute("ANALYZE")
        self._raw.commit()
        self._raw.close()


def _copy(cursor: DBAPICursor, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    copying: Any = cursor
    with copying.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S.%f}"


class _NewNodes(MemoryNodes):
    """Keeps only what later batches need, and gives what is new away once."""

    def take(self) -> list[tuple[tuple[int, int], bytes]]:
        """Return all nodes since the last time; the newest of each level stay."""
        new = list(self.nodes.items())
        fresh = [item for item in new if item[0] not in self._kept]
        newest = {level: (level, index) for level, index in sorted(self.nodes)}
        self._kept = frozenset(newest.values())
        self.nodes = {node: self.nodes[node] for node in self._kept}
        return fresh

    _kept: frozenset[tuple[int, int]] = frozenset()
