"""Idle workspaces on a cluster: what trains is kept, what rests is warned and stopped, also when the hub was away."""

import contextlib
import time
from datetime import datetime

import pytest

from integration.spawner.hub_client import run_cell, within
from support.cluster.cluster import eventually
from support.cluster.hub_rig import running_hub

from .test_hub import base_of, browser_of, measured

TRAINS, RESTS = "w" + "t" * 25, "w" + "r" * 25
IDLE, WARN = 30, 18
"""Seconds: a busy machine needs twenty for the next hub."""


@pytest.fixture(scope="module")
def rig(cluster, authority, image, tmp_path_factory):
    with running_hub(
        cluster, authority, image("workspace-python"), tmp_path_factory.mktemp("hub")
    ) as running:
        yield running


def begin(rig, principal, code, seconds):
    """Run a cell, and close the browser after a while."""
    browser = browser_of(rig, principal)
    eventually(lambda: browser.get(base_of(principal) + "lab")[0].status_code == 200)
    with contextlib.suppress(TimeoutError):
        within(seconds, run_cell(browser, base_of(principal), code))
    browser.close()


def ends(rig, principal):
    return [one for one in rig.events(principal) if one["event"] in {"stopped", "failed"}]


def test_a_notebook_that_trains_is_kept_and_an_idle_one_is_stopped_with_its_files_kept(rig):
    for principal in (TRAINS, RESTS):
        rig.plan(principal, idle_seconds=IDLE, warn_seconds=WARN)
        assert rig.start(principal).status_code in (201, 202)
    for principal in (TRAINS, RESTS):
        rig.until_ready(principal)
    began = time.monotonic()
    begin(
        rig,
        TRAINS,
        f"import time\nfor step in range({3 * IDLE}): print(step, flush=True); time.sleep(1)",
        3,
    )
    begin(rig, RESTS, "open('/home/researcher/result', 'w').write('kept')", 20)
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

    time.sleep(max(0, began + 3 * IDLE - 5 - time.monotonic()))
    assert rig.ready(TRAINS), rig.logs()
    assert not ends(rig, TRAINS)

    assert rig.start(RESTS).status_code in (201, 202)
    eventually(lambda: rig.ready(RESTS))
    browser = browser_of(rig, RESTS)
    eventually(lambda: browser.get(base_of(RESTS) + "lab")[0].status_code == 200)
    code = "print(open('/home/researcher/result').read())"
    assert "kept" in within(60, run_cell(browser, base_of(RESTS), code))
    browser.close()
    rig.told(TRAINS, "It was idle", 2 * IDLE + 10)
    assert time.monotonic() - began > 4 * IDLE - 5
