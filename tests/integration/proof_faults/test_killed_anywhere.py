"""SIGKILL at every named point of upload, submission, decision, release, download and sequencer, and at random moments."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing import forkserver
from pathlib import Path

import pytest

from support.counts import count
from support.fault_acts import acknowledged, assert_nothing_half_visible, be_killed, fresh, recover

from .conftest import Prepared

KILLS = count("processes killed with SIGKILL", ci=60, nightly=200)
AT_RANDOM = 10
"""One kill in so many comes at a random moment instead of at a point."""
_TESTS = Path(__file__).parents[2]
_CONTEXT = multiprocessing.get_context("forkserver")


@pytest.fixture(scope="module", autouse=True)
def loaded() -> Iterator[None]:
    """Start the process that the others are forked from, with everything imported: each costs milliseconds then."""
    _CONTEXT.set_forkserver_preload(["support.fault_acts"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(_TESTS))  # the forkserver looks nowhere else
        patch.setenv("PYTHONWARNINGS", "ignore")
        forkserver.ensure_running()
        yield


def plan(prepared: dict[str, Prepared], kills: int) -> list[tuple[Prepared, int | None]]:
    """Spread the kills over all points of all acts; what is left over comes at random moments."""
    places = [(one, after) for one in prepared.values() for after in range(len(one.points))]
    chosen = random.Random(kills)
    moments: list[tuple[Prepared, int | None]] = [
        (chosen.choice([*prepared.values()]), None) for _ in range(kills // AT_RANDOM)
    ]
    step = len(places) / (kills - len(moments))
    at_points = [places[int(n * step)] for n in range(kills - len(moments))] if step > 1 else [*places]
    more = kills - len(moments) - len(at_points)
    return [*at_points, *moments, *((chosen.choice([*prepared.values()]), None) for _ in range(more))]


def kill(one: Prepared, folder: Path, after: int | None) -> None:
    """Run an act in a process of its own that dies on the way."""
    child = _CONTEXT.Process(target=be_killed, args=(str(folder), one.name, one.request, after))
    child.start()
    if after is None:
        while "begun" not in acknowledged(folder):
            assert child.is_alive()
            time.sleep(0.001)
        time.sleep(random.Random(folder.name).uniform(0, 0.15))
        os.kill(child.pid or 0, signal.SIGKILL)
    child.join(60)
    assert child.exitcode == -signal.SIGKILL, (one.name, after, child.exitcode)


@pytest.mark.timeout(3600)  # nightly counts
def test_nothing_acknowledged_is_lost_and_everything_happens_once(
    prepared: dict[str, Prepared], tmp_path: Path
) -> None:
    killed: Counter[str] = Counter()
    for number, (one, after) in enumerate(plan(prepared, KILLS)):
        folder = fresh(one.folder, tmp_path / f"{number}")
        kill(one, folder, after)
        acks = [ack for ack in acknowledged(folder) if ack not in {"begun", "ended"}]
        where = one.name, "at a random moment" if after is None else one.points[after], acks
        try:
            assert_nothing_half_visible(folder)
            recover(folder, one.stage, one.request, acks)
        except Exception as error:
            raise AssertionError(f"killed in {where}") from error
        killed[one.name] += 1
    assert sum(killed.values()) == KILLS
    assert killed.keys() == prepared.keys()


def test_the_plan_reaches_every_kind_of_point(prepared: dict[str, Prepared]) -> None:
    """A new point in the code is passed by some act, or it is tried nowhere."""
    passed = {point for one in prepared.values() for point in one.points}
    assert passed >= {
        *("blob.write", "blob.sync", "blob.name", "blob.named", "blob.link", "blob.linked", "blob.delete"),
        *("store.changed", "store.committed", "outbox.claimed", "outbox.handled", "outbox.done"),
        *("release.begun", "release.hashed", "release.recorded", "release.sequenced", "release.proved"),
        *("release.placed", "release.delivered", "import.sync", "import.link", "shelf.put", "checks.shelved"),
        *("download.redeemed", "download.piece", "sequencer.signed"),
    }
