"""Rights that end while a notebook runs with an open kernel: everything of it is gone in time, and neighbours go on.

Measured from outside: the websocket in the browser, the tokens by real questions, pods and volumes at the API server, the
mounts in the node's kernel. The hub is dead for the last of them.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import Frame, Page, WebSocket

from broch_core.clock import utc_now
from broch_workspaces.cluster.manifests import data_volume_name
from cluster.test_walls import Notebook
from support.cluster.browsing import SHELL, Desk, await_lab, call
from support.cluster.cluster import Cluster, eventually
from support.cluster.release import SPACE, zone_of

LIMIT = 60.0
"""Seconds (design, rule 8)."""
_CONNECT = """async () => {
  const base = location.pathname.split("/").slice(0, 3).join("/");
  const xsrf = document.cookie.split("; ").find(c => c.includes("_xsrf=")).split("_xsrf=")[1];
  const made = await fetch(base + "/api/kernels", {method: "POST", headers: {"X-XSRFToken": xsrf}, body: "{}"});
  const kernel = (await made.json()).id;
  window.held = new WebSocket(`wss://${location.host}${base}/api/kernels/${kernel}/channels?session_id=held`);
  await new Promise((open, broken) => { window.held.onopen = open; window.held.onerror = broken; });
  return kernel;
}"""
_LIVES = """async kernel => {
  const base = location.pathname.split("/").slice(0, 3).join("/");
  const xsrf = document.cookie.split("; ").find(c => c.includes("_xsrf=")).split("_xsrf=")[1];
  const there = await fetch(`${base}/api/kernels/${kernel}`, {headers: {"X-XSRFToken": xsrf}});
  return there.status === 200 && window.held.readyState === 1;
}"""
_ASK = """
import http.client, os, ssl, sys, urllib.parse
place = urllib.parse.urlsplit(os.environ["BROCH_DOOR_URL"])
context = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
line = http.client.HTTPSConnection(place.hostname, place.port, timeout=20, context=context)
line.request("GET", sys.argv[1], headers={"Authorization": sys.argv[2]})
print(line.getresponse().status)
"""


@dataclass
class Worker:
    """Somebody with a running notebook, a kernel in it, and its websocket."""

    cluster: Cluster
    page: Page
    project: str
    inside: Notebook = field(init=False)
    uid: str = field(init=False)
    kernel: str = field(init=False)
    sockets: list[WebSocket] = field(default_factory=list)

    def begin(self) -> None:
        """Open the workspace in the browser, and hold a kernel's websocket."""
        eventually(lambda: not self._stops())
        self.sockets.clear()
        self.page.on(
            "websocket", lambda socket: self.sockets.append(socket) if "held" in socket.url else None
        )
        self.page.goto(f"{SHELL}/projects/{self.project}")
        self.page.get_by_role("button", name="Open workspace").click()
        await_lab(self.page)
        self.kernel = self._frame().evaluate(_CONNECT)
        space = zone_of(self.cluster, self.project)
        found = self.cluster.get("pods", namespace=space, selector="broch.dev/role=workspace")["items"]
        (pod,) = [one for one in found if "deletionTimestamp" not in one["metadata"]]
        self.inside = Notebook(self.cluster, space, pod["metadata"]["name"])
        self.uid = pod["metadata"]["uid"]

    def _stops(self) -> bool:
        rows = call(self.page, "GET", "/api/v1/workspaces")["items"]
        return any(row["status"] == "stopping" for row in rows if row["project"]["id"] == self.project)

    def _frame(self) -> Frame:
        return next(frame for frame in self.page.frames if "/user/" in frame.url)

    def cut(self) -> bool:
        """Tell whether the websocket has ended."""
        self.page.wait_for_timeout(50)  # lets events of the browser in
        return bool(self.sockets) and all(socket.is_closed() for socket in self.sockets)

    def alive(self) -> bool:
        """Tell whether kernel, websocket and pod are those of the beginning."""
        frame = self._frame()
        there = frame.evaluate(_LIVES, self.kernel)
        pod = self.cluster.get("pod", self.inside.pod, self.inside.space)
        return bool(there) and not self.cut() and pod["metadata"]["uid"] == self.uid

    def ask(self, path: str, credential: str) -> int:
        """Ask the gateway from inside, with a credential of whomever."""
        return int(self.inside.run("/opt/venv/bin/python", "-I", "-c", _ASK, path, credential))

    def credentials(self) -> tuple[str, str]:
        """Copy the pod's own token and the hub's token out of the pod."""
        bound = self.inside.run("cat", "/run/broch/identity/token").strip()
        environment = self.inside.python("import os; print(os.environ['JUPYTERHUB_API_TOKEN'])").strip()
        return f"Bearer {bound}", f"token {environment}"


def make_project(desk: Desk, slug: str, *members: str) -> str:
    """Make an active project."""
    admin, today = desk.page("mona"), utc_now().date()
    for handle in members:
        desk.page(handle)
    body = {
        "slug": slug,
        "name": slug.title(),
        "starts_on": str(today),
        "ends_on": str(today + timedelta(days=9)),
    }
    project = str(call(admin, "POST", "/api/v1/projects", body)["id"])
    for handle in members:
        call(admin, "POST", f"/api/v1/projects/{project}/members", {"handle": handle})
    call(admin, "POST", f"/api/v1/projects/{project}/activate")
    return project


def is_believed(cluster: Cluster, bearer: str) -> bool:
    """Ask the API server about a pod's token, as the gateway does."""
    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": bearer.removeprefix("Bearer "), "audiences": ["broch-gateway"]},
    }
    said = cluster.kubectl("create", "-f", "-", "-o", "json", stdin=json.dumps(review))
    return bool(json.loads(said)["status"].get("authenticated"))


def mounts(cluster: Cluster, path: str) -> int:
    """Return how many mounts of a folder the processes of the node see, all zones together."""
    count = f"cat /proc/[0-9]*/mountinfo 2>/dev/null | grep -c {path} || true"
    return int(cluster.on_node("sh", "-c", count).strip())


@dataclass
class Stage:
    """One project that rights end in, with a grant, and one beside it that goes on."""

    desk: Desk
    cluster: Cluster
    ada: Worker
    ben: Worker
    dataset: str
    version: str

    def grant(self) -> str:
        ends = str(utc_now().date() + timedelta(days=5))
        body = {"project_id": self.ada.project, "version_id": self.version, "until": ends}
        made = call(self.desk.page("idris"), "POST", f"/api/v1/datasets/{self.dataset}/grants", body)
        return str(made["id"])

    def membership(self) -> str:
        members = call(self.desk.page("mona"), "GET", f"/api/v1/projects/{self.ada.project}/members")
        (there,) = [one["id"] for one in members if one["present"]]
        return str(there)

    def newest(self) -> dict[str, Any]:
        found: list[dict[str, Any]] = call(
            self.desk.page("mona"), "GET", f"/api/v1/projects/{self.ada.project}/revocations"
        )
        return found[0]


@pytest.fixture(scope="module")
def stage(desk: Desk, texture: str, cluster: Cluster) -> Iterator[Stage]:
    held = call(desk.page("mona"), "GET", f"/api/v1/projects/{texture}")["grants"][0]
    ending, beside = make_project(desk, "ending-rights", "ada"), make_project(desk, "beside-it", "ben")
    ada, ben = Worker(cluster, desk.page("ada"), ending), Worker(cluster, desk.page("ben"), beside)
    made = Stage(desk, cluster, ada, ben, held["dataset_id"], held["version_id"])
    ben.begin()
    yield made
    for project in (ending, beside):
        call(desk.page("mona"), "POST", f"/api/v1/projects/{project}/end")


def followed(
    stage: Stage, name: str, act: Callable[[], object], **gone: Callable[[], bool]
) -> dict[str, float]:
    """Do what ends a right, and return after how many seconds each thing was gone."""
    began, took = time.monotonic(), {}
    act()
    waiting = {"websocket": stage.ada.cut, **gone}
    while waiting and time.monotonic() - began < LIMIT + 5:
        for what in [what for what, question in waiting.items() if question()]:
            took[what] = time.monotonic() - began
            del waiting[what]
    told = ", ".join(f"{what} {seconds:.1f} s" for what, seconds in took.items())
    sys.stdout.write(f"{name}: {told}\n")
    assert not waiting, f"{name}: still there after {LIMIT} s: {[*waiting]}; {stage.newest()}"
    assert max(took.values()) <= LIMIT
    assert stage.ben.alive(), "the neighbour goes on"
    return took


def done_in_time(stage: Stage, name: str) -> dict[str, Any]:
    """Wait until the saga says so too; return it."""
    eventually(lambda: stage.newest()["done_at"])
    found = stage.newest()
    assert not found["late"]
    steps = {one["step"]: one["seconds"] for one in found["steps"]}
    sys.stdout.write(f"{name}, as confirmed: {steps}\n")
    assert all(seconds is not None and seconds <= LIMIT for seconds in steps.values())
    return found


@pytest.mark.parametrize("name", ["grant", "freeze", "member"])
def test_a_right_that_ends_takes_notebook_tokens_pod_and_volume_with_it(stage: Stage, name: str) -> None:
    ada, cluster, mona = stage.ada, stage.cluster, stage.desk.page("mona")
    grant = stage.grant() if name == "grant" else ""
    before = mounts(cluster, stage.version)
    ada.begin()
    bound, hubs = ada.credentials()
    assert ada.ask("/door/v1/requests", bound) == 200
    assert ada.ask("/hub/api/user", hubs) == 200
    assert is_believed(cluster, bound)
    volume = data_volume_name(ada.project, stage.version)
    more: dict[str, Callable[[], bool]] = {}
    if name == "grant":
        assert mounts(cluster, stage.version) > before
        assert cluster.exists("pv", volume)
        more = {
            "volume": lambda: not cluster.exists("pv", volume),
            "mount": lambda: mounts(cluster, stage.version) <= before,
        }
        act = lambda: call(stage.desk.page("idris"), "DELETE", f"/api/v1/grants/{grant}")  # noqa: E731
    elif name == "freeze":
        act = lambda: call(mona, "POST", f"/api/v1/projects/{ada.project}/freeze")  # noqa: E731
    else:
        member = f"/api/v1/projects/{ada.project}/members/{stage.membership()}"
        act = lambda: call(mona, "DELETE", member)  # noqa: E731
    followed(
        stage,
        name,
        act,
        pod=lambda: not cluster.exists("pod", ada.inside.pod, ada.inside.space),
        pods_token=lambda: not is_believed(cluster, bound),
        carried=lambda: stage.ben.ask("/door/v1/requests", bound) in {401, 403},
        hubs_token=lambda: stage.ben.ask("/hub/api/user", hubs) in {401, 403},
        **more,
    )
    done_in_time(stage, name)
    if name == "freeze":
        call(mona, "POST", f"/api/v1/projects/{ada.project}/thaw")
    if name == "member":
        call(mona, "POST", f"/api/v1/projects/{ada.project}/members", {"handle": "ada"})


def test_with_a_dead_hub_the_controller_ends_the_pod(stage: Stage) -> None:
    ada, cluster, mona = stage.ada, stage.cluster, stage.desk.page("mona")
    ada.begin()
    bound, hubs = ada.credentials()
    membership = stage.membership()
    cluster.kubectl("scale", "deployment/broch-hub", "-n", SPACE, "--replicas=0")
    eventually(
        lambda: not cluster.get("pods", namespace=SPACE, selector="app.kubernetes.io/component=hub")["items"],
        60,
    )
    began = time.monotonic()
    try:
        call(mona, "DELETE", f"/api/v1/projects/{ada.project}/members/{membership}")
        eventually(lambda: not cluster.exists("pod", ada.inside.pod, ada.inside.space), LIMIT)
        seconds = time.monotonic() - began
        assert not is_believed(cluster, bound)
        steps = {one["step"]: one["confirmed_at"] for one in stage.newest()["steps"]}
        assert steps["rights"]
        assert steps["hub"] is None, "what nobody has seen does not count"
    finally:
        cluster.kubectl("scale", "deployment/broch-hub", "-n", SPACE, "--replicas=1")
        cluster.kubectl(
            "rollout", "status", "deployment/broch-hub", "-n", SPACE, "--timeout=120s", seconds=150
        )
    sys.stdout.write(f"member removed, hub dead: pod gone after {seconds:.1f} s\n")
    eventually(lambda: stage.newest()["done_at"])
    assert stage.ben.ask("/hub/api/user", hubs) in {401, 403}
    pod = cluster.get("pod", stage.ben.inside.pod, stage.ben.inside.space)
    assert pod["metadata"]["uid"] == stage.ben.uid, "the neighbour goes on"
