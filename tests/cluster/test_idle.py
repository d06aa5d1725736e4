"""Idle workspaces on a cluster: what trains is kept, what rests is warned and stopped, also when the hub was away."""

import math
import time
from datetime import datetime

import pytest

from integration.spawner.hub_client import run_cell, within
from support.busy import slower
from support.cluster.cluster import eventually
from support.cluster.hub_rig import running_hub

from .test_hub import base_of, browser_of, measured, pods_of

pytestmark = pytest.mark.timeout(900)
TRAINS, RESTS = "w" + "t" * 25, "w" + "r" * 25
FACTOR = min(math.ceil(slower()), 2)
IDLE, WARN = 29 * FACTOR, 18 * FACTOR
"""Seconds, and no whole minute: a busy machine needs twenty for the next hub."""


@pytest.fixture(scope="module")
def rig(cluster, authority, image, tmp_path_factory):
    with running_hub(
        cluster, authority, image("workspace-python"), tmp_path_factory.mktemp("hub")
    ) as running:
        yield running


def begin(rig, principal, code, until=None):
    """Run a cell to its end, or until it printed something, and close the browser."""
    browser = browser_of(rig, principal)
    eventually(lambda: browser.get(base_of(principal) + "lab")[0].status_code == 200)
    said = within(120, run_cell(browser, base_of(principal), code, until=until))
    assert until is None or until in said
    browser.close()


def ends(rig, principal):
    return [one for one in rig.events(principal) if one["event"] in {"stopped", "failed"}]


def test_a_notebook_that_trains_is_kept_and_an_idle_one_is_stopped_with_its_files_kept(rig):
    for principal in (TRAINS, RESTS):
        rig.plan(principal, idle_seconds=IDLE, warn_seconds=WARN)
        assert rig.start(principal).status_code in (201, 202)
    for principal in (TRAINS, RESTS):
        rig.until_ready(principal)
    code = """
import os, time
print("BEGUN", flush=True)
while not os.path.exists("/home/researcher/enough"): print("a step", flush=True); time.sleep(1)
"""
    begin(rig, TRAINS, code, "BEGUN")
    alone = time.monotonic()
    begin(rig, RESTS, "open('/home/researcher/result', 'w').write('kept')")
    # The next hub knows the policy and goes on from what the servers report.
    rig.stop_hub(kill=True)
    rig.start_hub()
    assert rig.ready(TRAINS)
    assert rig.ready(RESTS)

    told = rig.told(RESTS, f"It was idle for {IDLE} seconds. Your files are kept.", 3 * IDLE)
    assert told["event"] == "stopped"
    warned = [one for one in rig.events(RESTS) if one["event"] == "idle" and one["stop_at"]][-1]
    stop_at = datetime.fromisoformat(warned["stop_at"]).timestamp()
    measured("warned before the stop", stop_at - warned["at"])
    assert 0 < stop_at - warned["at"] <= WARN
    assert told["at"] >= stop_at
    eventually(lambda: not rig.ready(RESTS))

    time.sleep(max(0, alone + 3 * IDLE - 5 - time.monotonic()))
    assert rig.ready(TRAINS), rig.logs()
    assert not ends(rig, TRAINS)
    [trains] = pods_of(rig, TRAINS)
    done = time.monotonic()
    rig.cluster.exec(rig.namespace, trains["metadata"]["name"], "touch", "/home/researcher/enough")

    assert rig.start(RESTS).status_code in (201, 202)
    eventually(lambda: rig.ready(RESTS))
    browser = browser_of(rig, RESTS)
    eventually(lambda: browser.get(base_of(RESTS) + "lab")[0].status_code == 200)
    code = "print(open('/home/researcher/result').read())"
    assert "kept" in within(60, run_cell(browser, base_of(RESTS), code))
    browser.close()
    rig.told(TRAINS, "It was idle", 2 * IDLE + 10)
    assert time.monotonic() - done > IDLE - 5
