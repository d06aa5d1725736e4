"""kill -9 of hub (the proxy is in it), control plane and sandbox in any order, with work going on in a workspace."""

import asyncio
import itertools
import random
import sys
import time

import pytest

from integration.spawner.kernel_socket import KernelSocket, enter
from integration.up.up_acts import (
    all_gone,
    await_ready,
    got,
    kill,
    open_workspace,
    project_of,
    sandboxes,
    services,
    until,
    workspace,
)
from support.counts import count

ORDERS = list(itertools.permutations(["hub", "web", "sandbox"]))
SEED = 4
"""Fixed, so that a failure repeats; the nightly run tries every order."""
WRITE = "open('kept.txt', 'a').write('MARK\\n'); print(open('kept.txt').read().split())"


def orders():
    wanted = count("orders of killing hub, control plane and sandbox", ci=2, nightly=len(ORDERS))
    return random.Random(SEED).sample(ORDERS, wanted)


def kept(broch, client):
    """Return what the kept file of the person's home has, read outside."""
    found = list((broch.folder / "zones" / project_of(client) / "home").glob("*/kept.txt"))
    return found[0].read_text().split() if found else []


async def work(broch, client, mark):
    """Write a line in the running workspace over a kernel's websocket; return it, still open."""
    row = await asyncio.to_thread(open_workspace, client)
    token = client.headers["Authorization"].split()[1]
    browser, base = await asyncio.to_thread(enter, broch, row, token)
    socket = await KernelSocket(browser, base).open()
    said = await socket.run(WRITE.replace("MARK", mark))
    assert said.split()[-1].strip("[]'") == mark
    return row, socket


@pytest.mark.parametrize("order", orders(), ids="-".join)
def test_no_workspace_survives_unsupervised_and_all_come_back_with_the_work(broch, ada, order):
    asyncio.run(killed(broch, ada, "-".join(order), order))


async def killed(broch, ada, mark, order):
    await_ready(broch)
    before = kept(broch, ada)
    row, socket = await work(broch, ada, mark)
    try:
        inside = sandboxes(broch)
        old = {name: services(broch)[name] for name in ("hub", "web")}
        began = time.monotonic()
        for name in order:
            victim = inside[0] if name == "sandbox" else old[name]
            if victim.is_running():
                kill(victim)
        await socket.cut(10)
        all_gone(inside, 5)
        gone = time.monotonic() - began

        def all_new():
            now = services(broch)
            return all(name in now and now[name].pid != old[name].pid for name in old)

        await asyncio.to_thread(until, all_new, 20, "not every service was started again")
        await asyncio.to_thread(await_ready, broch)
        ready = time.monotonic() - began
        await asyncio.to_thread(until, lambda: ended(ada, row), 20, "nobody said that the workspace ended")
        assert kept(broch, ada) == [*before, mark]
    finally:
        await socket.close()
    again, socket = await work(broch, ada, mark)
    await socket.close()
    assert again["id"] == row["id"]
    assert kept(broch, ada) == [*before, mark, mark]
    got(ada.post(f"/api/v1/workspaces/{row['id']}/stop"), 202)
    until(lambda: ended(ada, row), 20, "it did not stop")
    all_gone(sandboxes(broch), 10)
    sys.stdout.write(f"{mark}: websocket and processes gone after {gone:.1f} s, ready after {ready:.1f} s\n")


def ended(client, row):
    found = workspace(client, row["id"])
    return found if found and found["status"] in {"stopped", "failed"} and found["message"] else None


def test_work_goes_on_under_the_hub_while_the_control_plane_comes_back(broch, ada):
    asyncio.run(web_killed(broch, ada))


async def web_killed(broch, ada):
    await_ready(broch)
    row, socket = await work(broch, ada, "web-killed")
    try:
        inside = sandboxes(broch)
        kill(services(broch)["web"])
        assert await socket.run("print('without the control plane')") == "without the control plane\n"
        await asyncio.to_thread(await_ready, broch)
        assert await socket.run("print('and after it')") == "and after it\n"
        assert socket.closed_at is None
        assert {one.pid for one in inside} <= {one.pid for one in sandboxes(broch)}
        assert workspace(ada, row["id"])["status"] == "running"
        got(ada.post(f"/api/v1/workspaces/{row['id']}/stop"), 202)
        await socket.cut(20)
        all_gone(inside, 10)
    finally:
        await socket.close()
