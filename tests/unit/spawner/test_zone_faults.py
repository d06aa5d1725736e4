"""Ten minutes of an API server in trouble, many times in virtual time: no healthy notebook is stopped."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from broch_spawner.idle_watch import Signs
from broch_spawner.inside.idle import Policy
from support.counts import count
from support.virtual_time import run
from unit.spawner.faulty_zone import FaultyZone
from unit.spawner.test_project_spawner import NAME, RUNNING, ended, made

SEEDS = count("ten minutes of trouble of the API server", ci=40, nightly=4000)
TROUBLE, POLL = 600.0, 5.0
NOON = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


def now():
    return NOON + timedelta(seconds=asyncio.get_running_loop().time())


@pytest.fixture
def _virtual(monkeypatch):
    clock = SimpleNamespace(monotonic=lambda: asyncio.get_running_loop().time())
    monkeypatch.setattr("broch_spawner.zone_watch.time", clock)
    monkeypatch.setattr("broch_spawner.zone_pods.time", clock)


def trained(monkeypatch, seed, *, works=True):
    """Return a zone in trouble, and the spawner of a notebook in it whose policy is five minutes."""
    zone = FaultyZone(random.Random(seed), TROUBLE)
    zone.change(NAME, **RUNNING)
    spawner, control = made(monkeypatch, zone)
    spawner.signs = Signs(now)
    spawner._idle_policy = Policy.of_seconds(300, 60)
    monkeypatch.setattr(spawner, "_reported", lambda: now() if works else NOON)
    spawner._watch_idle()
    return zone, spawner, control


async def polled(spawner, seconds):
    """Poll as JupyterHub does; return what the polls said."""
    statuses = []
    for _ in range(int(seconds / POLL)):
        spawner.signs.heard(spawner.user.name)
        statuses.append(await spawner.poll())
        await asyncio.sleep(POLL)
    return statuses


@pytest.mark.usefixtures("_virtual")
def test_a_healthy_notebook_lives_through_ten_minutes_of_trouble(monkeypatch):
    seen = {}

    async def story(seed):
        zone, spawner, control = trained(monkeypatch, seed)
        assert set(await polled(spawner, TROUBLE + 60)) == {None}, seed
        assert (zone.deleted, control.told) == ([], []), seed
        assert NAME in zone.pods
        assert spawner._watch.fresh, seed
        # It can end all the same, and then that is seen.
        zone.change(NAME, **ended(137, "OOMKilled"))
        assert (await polled(spawner, 10))[-1] == 137, seed
        assert "ran out of memory" in control.told[0][1]
        spawner.clear_state()
        for kind, number in zone.faults.items():
            seen[kind] = seen.get(kind, 0) + number

    for seed in range(SEEDS):
        run(story(seed))
    assert set(seen) == {"timeout", "refused", "status", "junk", "stranger", "cut", "gone-place"}
    assert min(seen.values()) > SEEDS


@pytest.mark.usefixtures("_virtual")
def test_an_idle_notebook_is_stopped_in_the_middle_of_the_trouble(monkeypatch):
    async def story():
        zone, spawner, _ = trained(monkeypatch, 1, works=False)
        await polled(spawner, 330)
        assert zone.deleted[0] == NAME
        assert spawner._why == "It was idle for 5 minutes. Your files are kept."
        spawner.clear_state()

    run(story())
