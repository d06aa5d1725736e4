"""The end of a retention on PostgreSQL, and in a process that is killed in the middle of it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from broch_airlock.retention.policy import RESTING
from broch_core.lifecycles import AirlockStatus as Status
from support.counts import count
from support.postgres import Cluster, cluster
from support.retention import age, assert_deleted, at_rest, end_retention, take_up_claims
from support.reviews import ReviewWorld

DATA = b"age,count\n40,12\n" * 1000
POINTS = ("store.changed", "retention.deleted", "retention.recorded", "sequencer.signed", "outbox.handled")
TESTS = Path(__file__).parents[2]
ROUNDS = count("kill -9 in the sweep of retention: passes of each point", ci=1, nightly=4)
_WORKER = (
    "import sys; from pathlib import Path; from support.retention import sweep_alone; "
    "sweep_alone(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))"
)


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    with cluster() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'broch.sqlite'}"
    fresh: str = request.getfixturevalue("server").fresh()
    return fresh


def test_every_class_ends_in_a_certificate(url: str, tmp_path: Path) -> None:
    place = ReviewWorld(tmp_path, url)
    made = [at_rest(place, status, b"%d" % n, name=f"{n}.csv") for n, status in enumerate(RESTING)]
    for request in made:
        age(place, request)
    assert end_retention(place) == len(made)
    for request in made:
        assert_deleted(place, request)
    place.store.engine.dispose()


@pytest.mark.parametrize("passes", range(1, ROUNDS + 1))
@pytest.mark.parametrize("point", POINTS)
def test_a_sweep_that_is_killed_ends_once_when_it_starts_again(
    url: str, tmp_path: Path, point: str, passes: int
) -> None:
    place = ReviewWorld(tmp_path, url)
    request = at_rest(place, Status.QUARANTINED, DATA)
    age(place, request)
    words = [sys.executable, "-c", _WORKER, str(tmp_path), url, point, str(passes)]
    killed = subprocess.run(words, capture_output=True, text=True, cwd=TESTS, check=False)
    assert killed.returncode in {-signal.SIGKILL, 0}, killed.stderr
    assert passes > 1 or killed.returncode == -signal.SIGKILL, "the point was never passed"
    take_up_claims(place)
    end_retention(place)
    assert_deleted(place, request)
    place.store.engine.dispose()
