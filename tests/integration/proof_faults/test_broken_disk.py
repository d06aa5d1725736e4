"""EIO and ENOSPC at every named point, and a disk that is full in earnest: an error in words, nothing lost, then on."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import structlog

from broch_core import faults
from support.counts import NIGHTLY, count
from support.crossing import Crossing
from support.fault_acts import assert_nothing_half_visible, fresh, recover, striking

from .conftest import Prepared

ERRORS = (errno.EIO, errno.ENOSPC)
TRIALS = count("disk errors at points", ci=40, nightly=400)
TESTS = Path(__file__).parents[2]


def fail_at(one: Prepared, folder: Path, after: int, number: int) -> list[str]:
    """Do an act with one error of the disk on the way; return what was acknowledged."""
    acks: list[str] = []

    def strike(name: str) -> None:
        raise OSError(number, os.strerror(number), name)

    here = Crossing(folder)
    faults.arm(striking(after, strike))
    try:
        with suppress(Exception):  # an error is an answer too; what counts is what is left behind
            one.stage.act(here, one.request, acks.append)
    finally:
        faults.arm(None)
        here.close()
    return acks


@pytest.mark.timeout(3600)  # nightly counts
def test_an_error_of_the_disk_loses_nothing_and_the_next_try_goes_on(
    prepared: dict[str, Prepared], tmp_path: Path
) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    places = [(one, after) for one in prepared.values() for after in range(len(one.points))]
    trials = [(one, after, error) for error in ERRORS for one, after in places]
    step = max(1, len(trials) / TRIALS)
    tried = 0
    for number in range(min(TRIALS, len(trials))):
        one, after, error = trials[int(number * step)]
        folder = fresh(one.folder, tmp_path / f"{number}")
        where = one.name, one.points[after], os.strerror(error)
        try:
            acks = fail_at(one, folder, after, error)
            assert_nothing_half_visible(folder)
            recover(folder, one.stage, one.request, acks)
        except Exception as broken:
            raise AssertionError(f"failed in {where}") from broken
        tried += 1
    structlog.reset_defaults()
    assert tried >= min(TRIALS, len(places))


@pytest.mark.parametrize("name", ["upload", "submit", "decide", "release", "download", "sequencer"])
def test_a_full_disk_loses_nothing_and_when_there_is_room_it_goes_on(
    prepared: dict[str, Prepared], name: str
) -> None:
    """In a mount namespace of its own, on a file system of a few mebibytes, with less and less room left."""
    one = prepared[name]
    rooms = [0, 8, 24, 48, 96, 160] if NIGHTLY else [0, 32]
    done = subprocess.run(
        [
            *("unshare", "--user", "--map-root-user", "--mount", sys.executable, "-m", "support.full_disk"),
            *(str(one.folder), name, one.request, *map(str, rooms)),
        ],
        cwd=TESTS,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.split()
    assert len(lines) == len(rooms)
    assert "full" in lines, "no act met a full disk: the trial says nothing"
