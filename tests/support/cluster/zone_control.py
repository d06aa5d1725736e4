"""What a controller needs beside a cluster: an internal API that says what shall be, an account, and its process."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml
from aiohttp import web

from broch_core.tls import client_context, server_context
from broch_workspaces.cluster.spec import ZoneReport, ZoneSpec, ZoneSpecs, ZoneState
from support.cluster.authority import Authority
from support.cluster.cluster import Cluster, eventually
from support.documented import ROOT

TOKEN = "token-of-the-controller"
DIGEST = "local/broch@sha256:" + "0" * 64


class InternalApi:
    """A real HTTPS server that asks for a certificate and a token, serves what shall be and keeps what is reported."""

    def __init__(self, tls: Path) -> None:
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._changed = asyncio.Event()
        self._zones: dict[str, ZoneSpec] = {}
        self._lock = threading.Lock()
        self.reports: list[tuple[str, float, ZoneReport]] = []
        self._closing = False
        self.port = 0

    @contextmanager
    def running(self) -> Iterator[InternalApi]:
        thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        thread.start()
        runner = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._close)
            asyncio.run_coroutine_threadsafe(runner.cleanup(), self._loop).result(10)
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join(10)
            self._loop.close()

    def _close(self) -> None:
        self._closing = True
        self._changed.set()

    async def _start(self) -> web.AppRunner:
        app = web.Application()
        app.add_routes(
            [
                web.get("/internal/v1/zones", self._list),
                web.post("/internal/v1/zones/{project}/report", self._take),
            ]
        )
        runner = web.AppRunner(app, shutdown_timeout=2.0)
        await runner.setup()
        context: ssl.SSLContext = server_context(self._tls, clients=True)
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        self.port = runner.addresses[0][1]
        return runner

    def _specs(self) -> ZoneSpecs:
        with self._lock:
            items = tuple(self._zones[key] for key in sorted(self._zones))
        text = ZoneSpecs(digest="", items=items).model_dump_json()
        return ZoneSpecs(digest=str(abs(hash(text))), items=items)

    async def _list(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.Response(status=401)
        end = self._loop.time() + min(30.0, float(request.query["wait"]))
        while (specs := self._specs()).digest == request.query["after"] and not self._closing:
            self._changed.clear()
            try:
                async with asyncio.timeout(end - self._loop.time()):
                    await self._changed.wait()
            except TimeoutError:
                break
        if specs.digest == request.query["after"]:
            specs = ZoneSpecs(digest=specs.digest, items=())
        return web.Response(text=specs.model_dump_json(), content_type="application/json")

    async def _take(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.Response(status=401)
        report = ZoneReport.model_validate_json(await request.read())
        with self._lock:
            self.reports.append((request.match_info["project"], time.monotonic(), report))
            spec = self._zones.get(request.match_info["project"])
            if spec is not None and (report.delivered or report.undelivered):
                over = {*report.delivered, *report.undelivered}
                left = tuple(one for one in spec.deliveries if one.id not in over)
                self._zones[spec.project_id] = spec.model_copy(update={"deliveries": left})
                self._changed.set()
        return web.json_response({"changed": True})

    def want(self, *specs: ZoneSpec) -> float:
        """Say what shall be of these zones, and return when."""
        with self._lock:
            self._zones.update({spec.project_id: spec for spec in specs})
        self._loop.call_soon_threadsafe(self._changed.set)
        return time.monotonic()

    def forget(self, spec: ZoneSpec) -> None:
        """Leave a zone out of the list."""
        with self._lock:
            self._zones.pop(spec.project_id, None)
        self._loop.call_soon_threadsafe(self._changed.set)

    def last(self, spec: ZoneSpec) -> ZoneReport | None:
        """Return the last report on exactly this spec."""
        with self._lock:
            found = [
                report
                for project, _, report in self.reports
                if project == spec.project_id and report.digest == spec.digest()
            ]
        return found[-1] if found else None

    def wait(self, spec: ZoneSpec, phase: str, *, seconds: float = 60) -> ZoneReport:
        """Wait until the last report on this spec is of a phase."""

        def there() -> bool:
            report = self.last(spec)
            assert report is not None, "no report yet"
            assert report.phase == phase, f"{report.phase}: {report.message}"
            return True

        eventually(there, seconds=seconds, pause=0.01)
        report = self.last(spec)
        assert report is not None
        return report


@dataclass
class Running:
    """A controller's process."""

    process: subprocess.Popen[bytes]
    identity: str
    log: Path
    tls: Path
    port: int = 0
    ended: bool = field(default=False)

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return what it logged of one event."""
        lines = self.log.read_text().splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [one for one in found if one["event"] == name]

    def get(self, path: str) -> httpx.Response:
        """Ask its listener."""
        context = client_context(self.tls, present=False)
        return httpx.get(f"https://localhost:{self.port}{path}", verify=context, trust_env=False)

    def gauge(self, name: str) -> float:
        """Return one of its metrics."""
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.get("/metrics").text, re.MULTILINE)
        assert found is not None, name
        return float(found[1])

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it, and return its exit status."""
        self.process.send_signal(number)
        status = self.process.wait(20)
        self.ended = True
        return status


class ControlRoom:
    """Starts controllers with the account that the documents describe, in a namespace of their release."""

    def __init__(self, cluster: Cluster, authority: Authority, folder: Path, release: str) -> None:
        self.cluster = cluster
        self.release = release
        self.folder = folder
        self.tls = folder / "tls"
        authority.issue("localhost", addresses=["127.0.0.1"]).write(self.tls)
        self.plane = InternalApi(self.tls)
        self.importer_image = DIGEST
        self.storage_class = "local"
        self.queue: str | None = None
        """ClusterQueue of Kueue that the zones' queues lead to."""
        self._kubeconfig = folder / "kubeconfig"
        self._processes: list[Running] = []

    def prepare(self) -> None:
        """Make the account and its rights, as the documents have them."""
        text = (ROOT / "docs" / "cluster.md").read_text()
        block = re.search(r"<!-- rights of the controller -->\n```yaml\n(.*?)```", text, re.DOTALL)
        assert block is not None
        rules = yaml.safe_load(block[1])
        name, space = f"{self.release}-controller", self.release
        subject = [{"kind": "ServiceAccount", "name": name, "namespace": space}]
        rbac = "rbac.authorization.k8s.io"
        lease = {
            "apiGroups": ["coordination.k8s.io"],
            "resources": ["leases"],
            "verbs": ["get", "create", "update"],
        }
        hub = [
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch", "create", "delete"]},
            {"apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": ["get", "list", "watch"]},
        ]

        def bound(kind: str, role: str, metadata: dict[str, str]) -> dict[str, Any]:
            reference = {"apiGroup": rbac, "kind": role, "name": name}
            return {
                "apiVersion": f"{rbac}/v1",
                "kind": kind,
                "metadata": metadata,
                "roleRef": reference,
                "subjects": subject,
            }

        inside = {"name": name, "namespace": space}
        self.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}})
        self.cluster.apply(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": inside},
            {"apiVersion": f"{rbac}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules},
            {
                "apiVersion": f"{rbac}/v1",
                "kind": "ClusterRole",
                "metadata": {"name": f"{self.release}-zone-hub"},
                "rules": hub,
            },
            {"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": inside, "rules": [lease]},
            bound("ClusterRoleBinding", "ClusterRole", {"name": name}),
            bound("RoleBinding", "Role", inside),
        )
        token = self.cluster.kubectl("create", "token", name, "--namespace", space, "--duration=2h").strip()
        admin = yaml.safe_load(self.cluster.kubeconfig.read_text())
        admin["users"] = [{"name": one["name"], "user": {"token": token}} for one in admin["users"]]
        self._kubeconfig.write_text(yaml.safe_dump(admin))
        (self.folder / "token").write_text(TOKEN + "\n")

    def start(self, **changes: Any) -> Running:
        """Start one more controller."""
        identity = f"controller-{secrets.token_hex(3)}"
        settings = {
            "control_plane": f"https://localhost:{self.plane.port}",
            "zones": {
                "release": self.release,
                "release_namespace": self.release,
                "storage_class": self.storage_class,
                "access_mode": "ReadWriteOnce",
                "kueue_queue": self.queue,
            },
            "pods": {
                "release": self.release,
                "release_namespace": self.release,
                "gateway_address": "10.0.0.1",
                "image_prefixes": ["local/"],
                "importer_image": self.importer_image,
            },
            "identity": identity,
            "tls": str(self.tls),
            "token": str(self.folder / "token"),
            "kubeconfig": str(self._kubeconfig),
            "host": "127.0.0.1",
            "port": 0,
        } | changes
        file = self.folder / f"{identity}.json"
        file.write_text(json.dumps(settings))
        log = self.folder / f"{identity}.log"
        script = Path(__file__).with_name("run_controller.py")
        with log.open("wb") as output:
            process = subprocess.Popen([sys.executable, "-P", script, file], stdout=output, stderr=output)
        running = Running(process, identity, log, self.tls)
        self._processes.append(running)

        def listens() -> bool:
            assert process.poll() is None, log.read_text()[-3000:]
            return bool(running.events("controller.started"))

        eventually(listens, seconds=30)
        running.port = running.events("controller.started")[0]["port"]
        return running

    def holder(self) -> str:
        """Return who holds the lease."""
        lease = self.cluster.get("lease", "broch-controller", self.release)
        return str(lease["spec"].get("holderIdentity", ""))

    def start_leader(self) -> Running:
        """Start a controller and wait until it leads and knows what shall be."""
        running = self.start()

        def knows() -> bool:
            said = running.get("/healthz").json()
            return bool(said["role"] == "leader" and said["poll_age_seconds"] is not None)

        eventually(knows, seconds=60)
        return running

    def end_all(self) -> None:
        """End what still runs."""
        for one in self._processes:
            if one.process.poll() is None:
                one.end()
        self._processes.clear()

    def remove(self) -> None:
        """Remove the account and its rights."""
        for kind, name in (
            ("clusterrolebinding", "controller"),
            ("clusterrole", "controller"),
            ("clusterrole", "zone-hub"),
        ):
            self.cluster.delete(kind, f"{self.release}-{name}")
        self.cluster.delete("namespace", self.release, wait=False)

    def clear(self, *specs: ZoneSpec) -> None:
        """Remove zones, however they are."""
        for spec in specs:
            self.cluster.delete("namespace", spec.namespace, wait=False)
            label = f"broch.dev/project={spec.project_id.lower()}"
            self.cluster.kubectl("delete", "persistentvolumes", "--selector", label, "--wait=false")


def ended(spec: ZoneSpec) -> ZoneSpec:
    """Return the same zone at its end."""
    return spec.model_copy(update={"state": ZoneState.ENDED})
