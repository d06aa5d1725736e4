"""From a pod that is Ready to a hub that says so, five at once, beside a stock KubeSpawner (docs/benchmarks.md).

Both hubs start the same image: a listener of some megabytes that answers at once, so that what is measured is the waiting.
Ours speaks TLS with it, the stock one does not.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import httpx
from kubernetes import client as api
from kubernetes import watch

from broch.dev import images
from broch.dev.bench import Result
from broch_core.tls import client_context
from support.cluster.authority import Authority
from support.cluster.bringing_up import any_cluster
from support.cluster.cluster import Cluster, eventually
from support.cluster.hub_rig import API, HubRig, running_hub
from support.cluster.places import answers

NAME = "spawn"
AT_ONCE, ROUNDS, LABS = 5, 6, 3
P50_MS, P99_MS = 100.0, 300.0
_LOOK_SECONDS = 0.02
"""How often the log is read. The times are those in it: a hub that is asked all the time is slower."""
_READY = re.compile(r"\[I (?P<at>[-0-9]+ [0-9:.]+) .*\] User (?P<who>\w+) took [0-9.]+ seconds to start")
"""JupyterHub's own line, the moment that it calls a server ready."""
_PORT, _PROXY_PORT, _HUB_PORT = 8888, 9543, 9581
_PEOPLE = ["w" + letter * 25 for letter in "abcde"]

Ask = Callable[[str, str], httpx.Response]
"""One call to a hub's API: method and path."""


def run() -> Iterator[Result]:
    """Start five workspaces at once, several times, with one hub and then with the other."""
    with any_cluster() as cluster, tempfile.TemporaryDirectory(prefix="broch-bench-") as name:
        folder = Path(name)
        image = cluster.load_image("bench-listener", _listener(folder / "image"))
        with running_hub(cluster, Authority(), image, folder) as rig:
            for person in _PEOPLE:
                rig.plan(person, profile={"memory_bytes": 256 << 20, "cpu": 1.0, "tmp_bytes": 16 << 20})
            with _our_hub(rig) as hub:
                ours = sorted(_measured(cluster, rig.namespace, hub))
                lab = list(_labs(cluster, rig, hub))
            with _stock_hub(cluster, rig, folder) as (namespace, hub):
                stock = sorted(_measured(cluster, namespace, hub))
    for title, values, limit in (
        ("p50", [statistics.median(times) * 1000 for times in (ours, stock)], P50_MS),
        ("p99", [times[-1] * 1000 for times in (ours, stock)], P99_MS),
    ):
        value, baseline = values
        yield Result(
            f"spawn/pod Ready to hub-ready, {title}",
            value,
            "ms",
            baseline,
            value / baseline,
            f"<= {limit:g} ms",
            value <= limit,
        )
    yield Result.measured("spawn/Lab: from the request to a pod that is Ready", _median(lab, 0), "s")
    yield Result.measured("spawn/Lab: from there to hub-ready", _median(lab, 1) * 1000, "ms")


def _median(pairs: list[tuple[float, float]], which: int) -> float:
    return statistics.median(pair[which] for pair in pairs)


def _labs(cluster: Cluster, rig: HubRig, hub: _Hub) -> Iterator[tuple[float, float]]:
    """Start JupyterLab from the image that people get, alone; yield seconds to Ready, and from there to hub-ready."""
    lab = cluster.load_image(
        "workspace-python", images.build(["workspace-python"])["workspace-python"].layout
    )
    person = _PEOPLE[0]
    rig.plan(person, cluster={"image": lab})
    for number in range(LABS + 1):
        with _ready_pods(cluster, rig.namespace, 1) as pods:
            hub.mark()
            began = time.time()
            hub.ask("POST", f"/users/{person}/server")
            ready = hub.until_ready(1)[person]
            eventually(lambda: pods, 30)
        if number:  # the first unpacks the image
            at = _of(pods, person)
            yield at - began, max(0.0, ready - at)
        hub.ask("DELETE", f"/users/{person}/server")
        eventually(lambda: not hub.servers(), 120)
        eventually(lambda: not cluster.get("pod", namespace=rig.namespace)["items"], 120)


def _listener(root: Path) -> Path:
    """Return a root file system that answers everything, as soon as it runs.

    Raises:
        RuntimeError: there is no Go, which compiles it.
    """
    go = shutil.which("go")
    if go is None:
        raise RuntimeError("This benchmark wants Go, to compile the listener that both hubs start.")
    for folder in ("etc", "opt/venv/bin", "opt/broch", "home/researcher", "project", "tmp"):
        (root / folder).mkdir(parents=True)
    (root / "etc" / "passwd").write_text("listener:x:1000:1000::/tmp:/bin/false\n")
    subprocess.run(
        [
            go,
            "build",
            "-trimpath",
            "-ldflags=-s -w",
            "-o",
            root / "opt" / "venv" / "bin" / "python",
            "main.go",
        ],
        cwd=Path(__file__).with_name("listener"),
        env=os.environ | {"CGO_ENABLED": "0", "GO111MODULE": "off"},
        check=True,
    )
    return root


def _measured(cluster: Cluster, namespace: str, hub: _Hub) -> Iterator[float]:
    """Yield, for every start, the seconds from Ready as a watch shows it to ready as the hub says it."""
    for person in _PEOPLE:
        assert hub.ask("POST", f"/users/{person}").status_code in (201, 409)
    for number in range(ROUNDS + 1):
        with _ready_pods(cluster, namespace) as pods:
            hub.mark()
            starting = threading.Thread(target=_all_at_once, args=(hub.ask, "POST"))
            starting.start()
            ready = hub.until_ready(AT_ONCE)
            starting.join()
            eventually(lambda: len(pods) >= AT_ONCE, 30)
        if number:  # the first round warms both
            yield from (max(0.0, ready[one] - _of(pods, one)) for one in _PEOPLE)
        _all_at_once(hub.ask, "DELETE")
        eventually(lambda: not hub.servers(), 120)
        eventually(lambda: not cluster.get("pod", namespace=namespace)["items"], 120)


def _all_at_once(ask: Ask, method: str) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda person: ask(method, f"/users/{person}/server"), _PEOPLE))


def _of(pods: dict[str, float], person: str) -> float:
    [at] = [at for name, at in pods.items() if person[1:] in name]
    return at


@dataclass
class _Hub:
    """A running hub: how to ask it, and what it writes."""

    ask: Ask
    log: Path
    read: int = 0
    """How much of the log belongs to earlier starts."""

    def mark(self) -> None:
        """Forget what was written until now."""
        self.read = self.log.stat().st_size

    def until_ready(self, many: int, seconds: float = 120) -> dict[str, float]:
        """Wait until it has written of so many servers that they are ready; return when it did, by the clock."""
        end = time.monotonic() + seconds
        while True:
            with self.log.open("rb") as file:
                file.seek(self.read)
                text = file.read().decode(errors="replace")
            ready = {found["who"]: _moment(found["at"]) for found in _READY.finditer(text)}
            if len(ready) >= many:
                return ready
            if time.monotonic() > end:
                raise TimeoutError(f"ready are only {sorted(ready)}")
            time.sleep(_LOOK_SECONDS)

    def servers(self) -> list[str]:
        """Return who has a server."""
        users = self.ask("GET", "/users?state=active&sort=id&offset=0&limit=50").json()
        return [user["name"] for user in users if user["servers"]]


def _moment(text: str) -> float:
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S.%f").astimezone().timestamp()


@contextmanager
def _ready_pods(cluster: Cluster, namespace: str, many: int = AT_ONCE) -> Iterator[dict[str, float]]:
    """Watch the pods of a namespace; the names of those that are Ready, each with the moment when it was seen."""
    seen: dict[str, float] = {}
    following = watch.Watch()

    def follow() -> None:
        with cluster.api_client() as connection:
            pods = api.CoreV1Api(connection)
            for event in following.stream(pods.list_namespaced_pod, namespace, timeout_seconds=180):
                conditions = event["object"].status.conditions or ()
                if any(one.type == "Ready" and one.status == "True" for one in conditions):
                    seen.setdefault(event["object"].metadata.name, time.time())
                if len(seen) >= many:
                    return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        following.stop()
        thread.join(30)


@contextmanager
def _our_hub(rig: HubRig) -> Iterator[_Hub]:
    """Yield a way to ask our hub, as the control plane does: one connection, by mutual TLS."""
    tls = rig.state / "tls-web"
    with httpx.Client(
        base_url=f"https://{rig.address}:{API}/hub/api",
        headers={"Authorization": f"token {(rig.state / 'secrets' / 'web').read_text()}"},
        verify=client_context(tls),
        timeout=120,
        trust_env=False,
    ) as client:
        yield _Hub(client.request, rig.state / "hub.log")


@contextmanager
def _stock_hub(cluster: Cluster, rig: HubRig, folder: Path) -> Iterator[tuple[str, _Hub]]:
    """Run a stock hub in the same place, with the rights of an administrator; yield its namespace and a way to ask it."""
    token, place = secrets.token_hex(16), cluster.place
    with cluster.namespace("bench-stock") as namespace:
        given = {
            "address": place.address,
            "proxy_port": _PROXY_PORT,
            "hub_port": _HUB_PORT,
            "token": token,
            "namespace": namespace,
            "image": rig.image,
            "command": ["/opt/venv/bin/python"],
            "port": _PORT,
            "shown": str(folder / "stock-shown.json"),
        }
        words = [sys.executable, "-m", "jupyterhub", "-f", Path(__file__).with_name("stock_hub.py")]
        environment = {"KUBECONFIG": str(cluster.kubeconfig), "BENCH_STOCK": json.dumps(given)}
        ready = answers(place.address, _HUB_PORT)
        with (
            place.running(words, folder / "stock.log", environment=environment, ready=ready, seconds=120),
            httpx.Client(
                base_url=f"http://{place.address}:{_HUB_PORT}/hub/api",
                headers={"Authorization": f"token {token}"},
                timeout=120,
                trust_env=False,
            ) as client,
        ):
            yield namespace, _Hub(client.request, folder / "stock.log")
