"""Appending to the audit log, verifying a million records, proving one of them (docs/benchmarks.md)."""

from __future__ import annotations

import hashlib
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, text

from broch import migrations
from broch.dev.bench import Result
from broch_core.audit.leaves import stored_records
from broch_core.audit.log import AuditLog
from broch_core.audit.record import AuditSubject
from broch_core.audit.verification import verify_database
from broch_core.clock import utc_now
from broch_core.ids import new_id
from broch_core.proof import KeyFolder, leaf_hash, verify_inclusion
from broch_core.proof.notes import Checkpoint, Note
from broch_core.store.engine import make_engine
from broch_core.store.unit import Store
from history import Loader, batches

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.postgres import cluster

NAME = "audit"
ORIGIN = "broch.bench/log"
APPEND_GOAL = 2000.0
"""Records a second."""
APPENDED = 10_000
IN_ONE_CHANGE = 100
"""Records of one transaction: a batch as a large submission or a sweep writes it."""
RECORDS = 1_000_000
VERIFY_GOAL = 10.0
"""Seconds."""
PROOFS = 500
PROOF_GOAL = 5.0
"""Milliseconds."""


@dataclass
class _Side:
    name: str
    engine: Engine
    owner: Engine
    keys: KeyFolder


def run() -> Iterator[Result]:
    """Measure on SQLite and PostgreSQL, both on the same disk and both waiting for it."""
    with tempfile.TemporaryDirectory(prefix="broch-bench-") as name, ExitStack() as servers:
        folder = Path(name)
        server = servers.enter_context(cluster(durable=True))
        keys = KeyFolder(folder / "keys", ORIGIN)
        keys.create(utc_now())
        for kind in ("SQLite", "PostgreSQL"):
            url = f"sqlite:///{folder / 'append.sqlite'}" if kind == "SQLite" else server.fresh()
            yield from _append(_side(kind, url, keys))
        urls = {"SQLite": f"sqlite:///{folder / 'long.sqlite'}", "PostgreSQL": server.fresh()}
        sides = [_side(kind, url, keys) for kind, url in urls.items()]
        loaders = [Loader(side.owner) for side in sides]
        for rows in batches(RECORDS, keys, ORIGIN):
            for loader in loaders:
                loader.load(rows)
        for loader in loaders:
            loader.close()
        for side in sides:
            yield from _verify(side)
            yield _prove(side)


def _side(kind: str, url: str, keys: KeyFolder) -> _Side:
    migrations.upgrade(url)
    return _Side(kind, make_engine(url), make_engine(url, owner=True), keys)


def _append(side: _Side) -> Iterator[Result]:
    """Append records that changes have written: number, hash into the tree, sign, commit, 5,000 at a time.

    Then the whole way, from the change to the signed checkpoint, beside the same changes without a log behind them.
    """
    store = Store(side.engine)
    log = AuditLog(store, side.keys, ORIGIN)
    began = time.perf_counter()
    _write(store)
    written = time.perf_counter() - began
    began = time.perf_counter()
    numbered = log.sequence()
    appended = time.perf_counter() - began
    if numbered != APPENDED or not log.verify().ok:
        raise RuntimeError("the log does not hold what was appended")
    rate = APPENDED / appended
    yield Result(
        f"audit/append in batches on {side.name}", rate, "1/s", goal=f">= {APPEND_GOAL:g} 1/s", ok=rate >= APPEND_GOAL
    )  # fmt: skip
    whole, alone = APPENDED / (written + appended), APPENDED / written
    yield Result(f"audit/write and append on {side.name}", whole, "1/s", alone, whole / alone)


def _write(store: Store) -> None:
    for first in range(0, APPENDED, IN_ONE_CHANGE):
        with store.write() as change:
            for number in range(first, first + IN_ONE_CHANGE):
                change.audit(
                    "system",
                    "airlock:submit",
                    AuditSubject("airlock_request", new_id(), new_id()),
                    facts={"file": new_id(), "sha256": f"{number:064x}", "turn": 1},
                    personal={"name": f"table-{number}.csv"},
                )


def _verify(side: _Side) -> Iterator[Result]:
    """Verify everything; beside one process that reads the same rows and hashes some of each, once."""
    began = time.perf_counter()
    result = verify_database(side.engine, side.keys.trust(), live_at=utc_now())
    ours = time.perf_counter() - began
    if not result.ok or result.size != RECORDS:
        raise RuntimeError(f"verification says: {result.reason}")
    began = time.perf_counter()
    digest = hashlib.sha256()
    with side.engine.connect() as connection:
        for first in range(0, RECORDS, 1 << 14):
            for row in stored_records(connection, first, first + (1 << 14)):
                digest.update(row[9].encode())
    baseline = time.perf_counter() - began
    yield Result(
        f"audit/verify 1M on {side.name}", ours, "s", baseline, ours / baseline, f"<= {VERIFY_GOAL:g} s", ours <= VERIFY_GOAL
    )  # fmt: skip


def _prove(side: _Side) -> Result:
    """Prove records anywhere in the log, and check each proof (not counted)."""
    log = AuditLog(Store(side.engine), side.keys, ORIGIN)
    chosen = random.Random(1)
    with side.engine.connect() as connection:
        ids = [
            connection.execute(text("SELECT id FROM audit_record WHERE seq = :n"), {"n": number}).scalar_one()
            for number in chosen.sample(range(RECORDS), PROOFS)
        ]
    times = []
    for record_id in ids:
        began = time.perf_counter()
        proof = log.proof(record_id)
        times.append((time.perf_counter() - began) * 1000)
        root = Checkpoint.parse(Note.parse(proof.checkpoint).text).root
        verify_inclusion(leaf_hash(proof.leaf), proof.index, proof.size, proof.hashes, root)
    slow = statistics.quantiles(times, n=20)[-1]
    return Result.at_most(f"audit/inclusion proof on {side.name} (p95)", slow, "ms", PROOF_GOAL)
