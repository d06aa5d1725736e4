"""What takes all it can get is bounded, and a neighbour answers meanwhile."""

import pytest

from support.busy import slower
from support.kernel_bombs import BOMBS
from support.kernel_rig import running_world

SLOWEST_SECONDS = 5.0
"""Longest wait for a neighbour's answer while a bomb runs, on a machine that may be busy with other tests besides."""
USUAL_SECONDS = 1.0
"""Longest wait of 19 in 20."""
ANSWERS = 20


@pytest.fixture(scope="module")
def world():
    with running_world("bombs") as made:
        yield made


def responsive(times, record_property, what, busy):
    assert len(times) >= ANSWERS, "the neighbour was hardly asked"
    usual, slowest = times[int(len(times) * 0.95)], times[-1]
    record_property(
        "neighbour",
        f"{what}: {len(times)} answers, 95 % within {usual * 1000:.1f} ms, slowest {slowest * 1000:.0f} ms",
    )
    assert usual < USUAL_SECONDS * busy
    assert slowest < SLOWEST_SECONDS * busy


@pytest.mark.parametrize("bomb", BOMBS, ids=lambda bomb: bomb.name)
def test_a_bomb_is_bounded_and_harms_nobody(world, bomb, record_property):
    busy = slower()
    control = world.do("explode", name=bomb.name, bounded=False)
    assert "done" in control["said"], f"shows nothing, it stops by itself: {control['said']}"
    bounded = world.do("explode", name=bomb.name, bounded=True)
    assert "done" not in bounded["said"]
    told = " ".join([bounded["said"], *bounded["ended"]])
    assert bomb.becomes in told or (
        bounded["bounds"] == "cgroup" and "used more memory than its limit" in told
    ), told
    assert len(bounded["times"]) >= 1
    assert bounded["times"][-1] < SLOWEST_SECONDS * busy
    record_property("told", told.strip()[-200:])


def test_a_hundred_spinning_processes_leave_the_neighbour_its_time(world, record_property):
    busy = slower()  # before: what spins here is waited for too, and others in sessions of their own as well
    found = world.do("spin", seconds=3, answers=ANSWERS, longest=min(180, int(60 * busy)))
    responsive(found["times"], record_property, "100 spinning processes", busy)
