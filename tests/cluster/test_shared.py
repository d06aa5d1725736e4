"""A shared workspace on a cluster: two members in one notebook, one put out while the other goes on, no door, no home."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import time
from typing import Any

import pytest
from playwright.sync_api import Error, Frame, FrameLocator, Locator, Page, WebSocket, expect

from cluster.test_revocation import LIMIT, make_project
from cluster.test_walls import Notebook
from support.cluster.browsing import LAB_MS, SHELL, Desk, call, eventually_called, run_cell
from support.cluster.cluster import Cluster, eventually
from support.cluster.release import SPACE, zone_of

pytestmark = pytest.mark.timeout(1500)
_MAKE = """async notebook => {
  const base = location.pathname.split("/").slice(0, 3).join("/");
  const xsrf = document.cookie.split("; ").find(c => c.includes("_xsrf=")).split("_xsrf=")[1];
  const made = await fetch(base + "/api/contents/ours.ipynb", {method: "PUT", headers: {"X-XSRFToken": xsrf},
    body: JSON.stringify({type: "notebook", format: "json", content: notebook})});
  return made.status;
}"""
_STATUS = """async path => {
  const base = location.pathname.split("/").slice(0, 3).join("/");
  const xsrf = document.cookie.split("; ").find(c => c.includes("_xsrf=")).split("_xsrf=")[1];
  try { return (await fetch(base + path, {headers: {"X-XSRFToken": xsrf}})).status; } catch { return 0; }
}"""
_DOOR = """
import http.client, os, ssl, urllib.parse
place = urllib.parse.urlsplit(os.environ["BROCH_DOOR_URL"])
context = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
bearer = "Bearer " + open(os.environ["BROCH_DOOR_TOKEN_FILE"]).read().strip()
for method, path in (("GET", "/door/v1/requests"), ("GET", "/door/v1/imports"), ("POST", "/door/v1/drafts")):
    line = http.client.HTTPSConnection(place.hostname, place.port, timeout=20, context=context)
    body = '{"purpose": "x"}' if method == "POST" else None
    line.request(method, path, body, {"Authorization": bearer, "Content-Type": "application/json"})
    answer = line.getresponse()
    print(answer.status, answer.read().decode()[:300])
print("HOME", os.listdir(os.path.expanduser("~")), "MOUNTS", open("/proc/self/mountinfo").read().count("home-"))
"""
_NOTEBOOK = {
    "cells": [
        {
            "cell_type": "code",
            "id": "one",
            "source": "'first'",
            "metadata": {},
            "outputs": [],
            "execution_count": None,
        }
    ],
    "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    "nbformat": 4,
    "nbformat_minor": 5,
}


def sockets(page: Page) -> list[WebSocket]:
    """Return the list that every websocket of a page is put into."""
    found: list[WebSocket] = []
    page.on("websocket", lambda socket: found.append(socket))  # noqa: PLW0108 (Playwright writes on the handler)
    return found


def inside(page: Page) -> Frame:
    return next(frame for frame in page.frames if "/user/" in frame.url)


def is_shut_out(frame: Frame) -> bool:
    """Return whether a workspace's frame is gone, or refused what it asks for; it may go while it is asked."""
    try:
        return frame.is_detached() or frame.evaluate(_STATUS, "/api/status") in (403, 0)
    except Error:
        if not frame.is_detached():
            raise
        return True


def enter(page: Page, project: str) -> FrameLocator:
    page.goto(f"{SHELL}/projects/{project}/shared")
    lab = page.frame_locator("iframe")
    expect(lab.get_by_role("menuitem", name="Run")).to_be_visible(timeout=LAB_MS)
    return lab


def open_notebook(lab: FrameLocator) -> Locator:
    """Open the notebook; a list that is drawn anew between two clicks takes them for two single ones."""
    tab = lab.get_by_role("tab", name=re.compile("ours"))
    for _ in range(6):
        lab.get_by_role("listitem", name=re.compile("ours")).dblclick(timeout=LAB_MS)
        with contextlib.suppress(AssertionError):
            expect(tab.first).to_be_visible(timeout=15_000)
            break
    cell = lab.locator(".jp-Notebook .jp-CodeCell .cm-content").first
    expect(cell).to_be_visible(timeout=LAB_MS)
    return cell


def type_in(page: Page, cell: Locator, text: str) -> None:
    cell.click(timeout=LAB_MS)
    page.keyboard.press("Control+End")
    page.keyboard.type(text)


def restarted(cluster: Cluster) -> None:
    """End the hub, which is the proxy too, and wait for the next one."""
    hub = "deployment/broch-hub"
    cluster.kubectl("rollout", "restart", hub, "-n", SPACE)
    cluster.kubectl("rollout", "status", hub, "-n", SPACE, "--timeout=180s", seconds=200)


def measured(what: str, seconds: float) -> None:
    sys.stdout.write(f"{what}: {seconds:.1f} s\n")


def without_door_or_home(page: Page, cluster: Cluster, project: str) -> Any:
    """Ask the door from a cell with the pod's own token, and look what the pod mounts; return the pod."""
    said = run_cell(page, _DOOR)
    assert said.count("403 ") == 3, said
    assert "no door" in said
    assert re.search(r"MOUNTS 0$", said.strip()), said
    space = zone_of(cluster, project)
    (pod,) = cluster.get("pods", namespace=space, selector="broch.dev/role=workspace")["items"]
    volumes = pod["spec"]["volumes"]
    claims = [one["persistentVolumeClaim"]["claimName"] for one in volumes if "persistentVolumeClaim" in one]
    assert sorted(claims) == ["imports", "project"]
    return pod


def put_out(admin: Page, project: str, page: Page, opened: list[WebSocket]) -> None:
    """End Ben's membership, and wait until every websocket of his page is closed."""
    members = call(admin, "GET", f"/api/v1/projects/{project}/members")
    member = next(one["id"] for one in members if one["person"]["handle"] == "ben")
    began = time.monotonic()
    call(admin, "DELETE", f"/api/v1/projects/{project}/members/{member}")
    await_cut(page, opened, began)
    measured("removed member cut", time.monotonic() - began)


def await_cut(page: Page, opened: list[WebSocket], began: float) -> None:
    """Wait until every websocket of a page is closed; Lab tries again and again, and each of them ends too."""
    while not all(socket.is_closed() for socket in opened):
        assert time.monotonic() - began < LIMIT
        page.wait_for_timeout(50)  # lets events of the browser in


def test_two_members_write_one_notebook_and_one_is_put_out(desk: Desk, cluster: Cluster) -> None:
    project = make_project(desk, "four-hands", "ada", "ben")
    ada, ben, mona = desk.page("ada"), desk.page("ben"), desk.page("mona")
    here = f"/api/v1/projects/{project}/shared-workspace"
    assert not call(ada, "GET", here)["allowed"]
    call(mona, "POST", here, {"allowed": True})
    began = time.monotonic()
    call(ada, "POST", f"{here}/open", {})
    eventually_called(ada, here, {"status": "running"}, 180)
    measured("shared workspace opened", time.monotonic() - began)

    of_ada, of_ben = sockets(ada), sockets(ben)
    hers = enter(ada, project)
    assert inside(ada).evaluate(_MAKE, _NOTEBOOK) in (200, 201)
    cell_of_ada = open_notebook(hers)
    cell_of_ben = open_notebook(enter(ben, project))
    type_in(ada, cell_of_ada, " # from Ada")
    expect(cell_of_ben).to_contain_text("# from Ada", timeout=30_000)
    type_in(ben, cell_of_ben, ", from Ben")
    expect(cell_of_ada).to_contain_text("# from Ada, from Ben", timeout=30_000)
    ben.keyboard.type("!")
    expect(hers.locator(".jp-remote-userFlag-name")).to_have_text("Ben Okoro", timeout=30_000)
    present = [one["handle"] for one in call(ada, "GET", here)["present"]]
    assert present == ["ada", "ben"]

    pod = without_door_or_home(ada, cluster, project)
    space = zone_of(cluster, project)

    held = inside(ben)
    assert held.evaluate(_STATUS, "/api/status") == 200
    put_out(mona, project, ben, of_ben)
    assert is_shut_out(held)
    assert inside(ada).evaluate(_STATUS, "/api/status") == 200
    assert any("collaboration" in socket.url and not socket.is_closed() for socket in of_ada)
    type_in(ada, cell_of_ada, " # alone")
    expect(cell_of_ada).to_contain_text("# alone")
    now = cluster.get("pod", pod["metadata"]["name"], space)
    assert now["metadata"]["uid"] == pod["metadata"]["uid"]
    rights = f"/api/v1/projects/{project}/revocations"
    eventually(lambda: call(mona, "GET", rights)[0]["done_at"])
    assert not call(mona, "GET", rights)[0]["late"]

    # A hub that was away lets in who was in, and nobody else.
    restarted(cluster)
    eventually(lambda: inside(ada).evaluate(_STATUS, "/api/status") == 200, 120)
    assert is_shut_out(held)

    # What she wrote lies in /project, and everything goes with the policy.
    text = Notebook(cluster, space, pod["metadata"]["name"]).run("cat", "/project/ours.ipynb")
    assert "# alone" in json.dumps(json.loads(text)["cells"])
    began = time.monotonic()
    call(mona, "POST", here, {"allowed": False})
    eventually(lambda: not cluster.exists("pod", pod["metadata"]["name"], space), LIMIT)
    measured("not allowed any more: pod gone", time.monotonic() - began)
    await_cut(ada, of_ada, began)
    call(mona, "POST", f"/api/v1/projects/{project}/end")
