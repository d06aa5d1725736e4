"""The real hub, proxy, sandbox and Lab with a short policy: what computes is kept, what is idle is warned and stopped."""

import json
import math
import time
from datetime import UTC, datetime, timedelta

import pytest

from integration.spawner.hub_client import Browser, admin, run_cell, wait_for, within
from integration.spawner.real_hub import running_hub
from support.busy import slower

pytestmark = pytest.mark.timeout(900)
TRAINS, RESTS, ENDS = ("w" + letter * 24 for letter in "abc")
FACTOR = min(math.ceil(slower()), 3)
"""All clocks here run against what others do on this machine; whole, as policies are, and none makes whole minutes."""
IDLE, WARN = 11 * FACTOR, 7 * FACTOR
START = "0123456789abcdef"


@pytest.fixture(scope="module")
def place():
    """A hub; the plans of two workspaces have a short policy, and the time of the third is over soon."""
    with running_hub() as here:
        for principal in (TRAINS, RESTS):
            plan(here, principal, idle_seconds=IDLE, warn_seconds=WARN, start=START)
        plan(here, ENDS, deadline_at=(datetime.now(UTC) + timedelta(seconds=45 * FACTOR)).isoformat())
        for principal in (ENDS, TRAINS, RESTS):
            assert admin(here.run, "POST", f"/users/{principal}", here.token).status_code == 201
        yield here


@pytest.fixture(scope="module")
def ends(place):
    """The home of the workspace whose time is over soon: its kernel computes, and catches the interrupt."""
    open_it(place, ENDS)
    browser, base = browser_in(place, ENDS)
    begin(browser, base, """
import time, os
print("BEGUN", flush=True)
with open("before", "w") as file: file.write("x")
try:
    time.sleep(600)
except KeyboardInterrupt:
    with open(os.path.expanduser("~/saved"), "w") as file: file.write("the result so far")
""")  # fmt: skip
    home = place.state / "zones/p1/home" / ENDS
    wait_for("the cell to begin", (home / "before").exists)
    return home


def open_it(place, principal):
    answer = admin(place.run, "POST", f"/users/{principal}/server", place.token)
    assert answer.status_code in (201, 202), answer.text


def plan(place, principal, **changes):
    (place.state / f"plan-{principal}.json").write_text(json.dumps(changes))


def browser_in(place, principal):
    browser = Browser()
    browser.set("broch.localhost", "who", principal)
    base = place.base_of(principal)
    wait_for("Lab", lambda: browser.get(base + "lab")[0].status_code == 200, 90)
    return browser, base


def begin(browser, base, code):
    """Run a cell that says when it has begun, and close the browser while it computes."""
    assert "BEGUN" in within(90, run_cell(browser, base, code, until="BEGUN"))
    browser.close()


def events(place, principal):
    path = place.state / "events.json"
    told = json.loads(path.read_text()) if path.exists() else []
    return [one for one in told if one["principal"] == principal]


def runs(place, principal):
    return bool(admin(place.run, "GET", f"/users/{principal}", place.token).json().get("server"))


def stopped(place, principal):
    return [one for one in events(place, principal) if one["event"] in {"stopped", "failed"}]


def test_what_computes_is_kept_with_the_browser_closed_and_what_is_idle_is_warned_and_stopped(place, ends):
    open_it(place, TRAINS)
    trains, base = browser_in(place, TRAINS)
    begin(trains, base, """
import os, time
print("BEGUN", flush=True)
while not os.path.exists("enough"): print("a step"); time.sleep(1)
""")  # fmt: skip
    alone = time.monotonic()
    open_it(place, RESTS)
    rests, rests_base = browser_in(place, RESTS)
    within(90, run_cell(rests, rests_base, "open('mine', 'w').write('kept')"))
    rests.close()

    end = wait_for("the stop of the idle one", lambda: stopped(place, RESTS), 3 * IDLE)[0]
    assert end["event"] == "stopped"
    assert end["detail"] == f"It was idle for {IDLE} seconds. Your files are kept."
    warned = [one for one in events(place, RESTS) if one["event"] == "idle" and one["stop_at"]][-1]
    stop_at = datetime.fromisoformat(warned["stop_at"]).timestamp()
    assert warned["start"] == START
    assert WARN / 2 < stop_at - warned["at"] <= WARN
    assert 0 <= end["at"] - stop_at < 8 * FACTOR
    assert (place.state / "zones/p1/home" / RESTS / "mine").read_text() == "kept"

    time.sleep(max(0, alone + 2 * IDLE - 3 - time.monotonic()))
    assert runs(place, TRAINS)
    assert not stopped(place, TRAINS)
    done = time.monotonic()
    (place.state / "zones/p1/home" / TRAINS / "enough").touch()
    wait_for("its stop, once it is done", lambda: stopped(place, TRAINS), 3 * IDLE)
    assert time.monotonic() - done > IDLE - 2


def test_what_ends_writes_what_it_has(place, ends):
    """Its time is over: the server is asked first, and interrupts its kernels."""
    wait_for("its end", lambda: stopped(place, ENDS), 60 * FACTOR)
    assert stopped(place, ENDS)[0]["detail"] == "The time for this workspace is over."
    assert (ends / "saved").read_text() == "the result so far"


def test_the_page_is_told_and_whoever_is_there_keeps_it(place):
    wait_for("the hub to forget it", lambda: not runs(place, RESTS))
    open_it(place, RESTS)
    browser, base = browser_in(place, RESTS)
    host = base.split("/")[2].partition(":")[0]
    xsrf = {"X-XSRFToken": browser.cookie(host, "__Host-w-_xsrf")}
    told = browser.call("GET", f"{base}broch/notices").json()
    assert (told["idle_seconds"], told["warn_seconds"]) == (IDLE, WARN)
    assert told["deadline_at"]
    first = datetime.fromisoformat(told["idle_stop_at"])
    time.sleep(1.5)
    kept = browser.call("POST", f"{base}broch/active", headers=xsrf)
    assert kept.status_code == 200, kept.text
    assert datetime.fromisoformat(kept.json()["idle_stop_at"]) - first > timedelta(seconds=1)
    # Asking is not being there.
    again = browser.call("GET", f"{base}broch/notices").json()
    assert again["idle_stop_at"] == kept.json()["idle_stop_at"]
    assert browser.call("POST", f"{base}broch/active").status_code == 403
    browser.close()
    stranger = Browser()
    assert stranger.call("GET", f"{base}broch/notices").status_code in (302, 403)
    stranger.close()
