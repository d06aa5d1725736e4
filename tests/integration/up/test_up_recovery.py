"""Whatever is killed comes back by itself, and nothing that was acknowledged is lost."""

import itertools
import random
import time

import psutil
import pytest

from integration.up.up_acts import (
    all_gone,
    await_ready,
    draft,
    got,
    kill,
    open_workspace,
    outcome,
    sandboxes,
    services,
    submit,
    until,
    workspace,
)
from support.counts import count

ORDERS = list(itertools.permutations(["web", "hub", "clamd"]))
SEED = 20
"""Fixed, so that a failure repeats; the nightly run tries every order."""


def orders():
    wanted = count("orders of killing web, hub and clamd", ci=1, nightly=len(ORDERS))
    return random.Random(SEED).sample(ORDERS, wanted)


def stopped(client, row, seconds=60):
    """Wait until a workspace says that it stopped, and why."""

    def ended():
        found = workspace(client, row["id"])
        return found if found and found["status"] in {"stopped", "failed"} else None

    found = until(ended, seconds, "the workspace did not stop")
    assert found["message"], found
    return found


def test_a_killed_sandbox_is_told_and_opens_again(broch, ada):
    await_ready(broch)
    row = open_workspace(ada)
    inside = sandboxes(broch)
    assert inside
    kill(inside[0])
    all_gone(inside, 5)
    assert "unexpectedly" in stopped(ada, row)["message"]
    again = open_workspace(ada)
    assert again["id"] == row["id"]
    got(ada.post(f"/api/v1/workspaces/{row['id']}/stop"), 202)
    stopped_row = until(
        lambda: (found := workspace(ada, row["id"])) and found["status"] == "stopped" and found, 20
    )
    assert stopped_row
    all_gone(sandboxes(broch), 5)


def test_no_workspace_survives_its_hub(broch, ada):
    await_ready(broch)
    row = open_workspace(ada)
    inside = sandboxes(broch)
    assert inside
    kill(services(broch)["hub"])
    all_gone(inside, 5)
    await_ready(broch)
    assert "unexpectedly" in stopped(ada, row)["message"]
    assert open_workspace(ada)["status"] == "running"
    got(ada.post(f"/api/v1/workspaces/{row['id']}/stop"), 202)
    stopped(ada, row)


def test_work_that_web_was_killed_in_is_finished_by_the_next(broch, ada):
    await_ready(broch)
    request = draft(ada, {"model.py": b"print('kept')\n" * 1000})
    submit(ada, request)
    kill(services(broch)["web"])
    await_ready(broch)
    found = outcome(ada, request)
    assert found["status"] == "in_review", found
    assert found["file_list"][0]["sha256"] == request["file_list"][0]["sha256"]


@pytest.mark.parametrize("order", orders(), ids="-".join)
def test_every_service_comes_back_and_what_was_acknowledged_is_there(broch, ada, order):
    await_ready(broch)
    before = {name: process.pid for name, process in services(broch).items()}
    assert set(before) == {"web", "hub", "clamd"}
    request = draft(ada, {f"kept-{'-'.join(order)}.py": b"print('kept')\n"})
    for name in order:
        kill(psutil.Process(before[name]))

    def all_new():
        now = {name: process.pid for name, process in services(broch).items()}
        return set(now) == set(before) and not set(now.values()) & set(before.values())

    began = time.monotonic()
    until(all_new, 20, "not every service was started again")
    await_ready(broch, 20 - (time.monotonic() - began))
    found = got(ada.get(f"/api/v1/airlock/requests/{request['id']}"))
    assert found["file_list"] == request["file_list"]
    submit(ada, request)
    assert outcome(ada, request)["status"] == "in_review"
