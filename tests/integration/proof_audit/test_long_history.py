"""A log of several spans, verified by one process and by two, from the start and from a checkpoint that was kept."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from sqlalchemy import Engine, text

from broch import migrations
from broch_core.audit import verification
from broch_core.audit.spans import SPAN
from broch_core.audit.verification import verify_database
from broch_core.clock import utc_now
from broch_core.proof import KeyFolder
from broch_core.store.engine import make_engine
from support.documented import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
from history import Loader, batches

COUNT = 2 * SPAN + 5000
KEPT = SPAN + 3616
"""Within the second span: 20,000, where a checkpoint is."""


@dataclass
class Long:
    engine: Engine
    owner: Engine
    keys: KeyFolder
    kept: str

    def verify(self, **how: object):
        return verify_database(self.engine, self.keys.trust(), live_at=utc_now(), **how)  # type: ignore[arg-type]

    def change(self, statement: str) -> None:
        with self.owner.begin() as connection:
            connection.execute(text(statement))


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Long]:
    folder = tmp_path_factory.mktemp("long")
    url = f"sqlite:///{folder / 'broch.sqlite'}"
    migrations.upgrade(url)
    keys = KeyFolder(folder / "keys", "broch.test/log")
    keys.create(utc_now())
    owner = make_engine(url, owner=True)
    loader = Loader(owner)
    for rows in batches(COUNT, keys, keys.origin):
        loader.load(rows)
    loader.close()
    with owner.begin() as connection:
        kept = connection.execute(text(f"SELECT note FROM audit_checkpoint WHERE size = {KEPT}")).scalar_one()
        connection.execute(text("DROP TRIGGER audit_record_fixed"))
    yield Long(make_engine(url), owner, keys, kept)
    owner.dispose()


@pytest.fixture(params=[1, 2])
def processes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(verification, "ALONE", SPAN)
    return int(request.param)


def test_it_verifies_and_tells_how_far_it_is(long: Long, processes: int):
    seen: list[tuple[int, int]] = []
    result = long.verify(
        processes=processes, trusted=long.kept, progress=lambda done, size: seen.append((done, size))
    )
    assert (result.ok, result.size, result.first) == (True, COUNT, 0), result.reason
    assert result.checkpoints == -(-COUNT // 5000)
    assert seen == [(SPAN, COUNT), (2 * SPAN, COUNT), (COUNT, COUNT)]


def test_the_first_bad_record_is_named_wherever_it_lies(long: Long, processes: int):
    for number in (3, SPAN, COUNT - 1):
        long.change(
            f"UPDATE audit_record SET outcome = 'denied' WHERE seq >= {number} AND seq % 7 = {number % 7}"
        )
        result = long.verify(processes=processes)
        long.change("UPDATE audit_record SET outcome = 'allowed' WHERE outcome = 'denied'")
        assert (result.ok, result.first_bad_number) == (False, number)
        assert result.first_bad
        assert result.first_bad in result.reason
    assert long.verify(processes=processes).ok


def test_from_a_kept_checkpoint_only_newer_records_are_recomputed(long: Long, processes: int):
    result = long.verify(processes=processes, trusted=long.kept, only_newer=True)
    assert (result.ok, result.first) == (True, SPAN), result.reason
    long.change("UPDATE audit_record SET outcome = 'denied' WHERE seq = 5")  # older: that is for a whole look
    assert long.verify(processes=processes, trusted=long.kept, only_newer=True).ok
    assert not long.verify(processes=processes, trusted=long.kept).ok
    long.change("UPDATE audit_record SET outcome = 'allowed' WHERE seq = 5")
    long.change(f"UPDATE audit_record SET outcome = 'denied' WHERE seq = {COUNT - 3}")
    result = long.verify(processes=processes, trusted=long.kept, only_newer=True)
    long.change(f"UPDATE audit_record SET outcome = 'allowed' WHERE seq = {COUNT - 3}")
    assert (result.ok, result.first_bad_number) == (False, COUNT - 3)
