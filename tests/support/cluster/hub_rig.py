"""A hub beside a cluster, with the rights and the neighbours that it has in one: for tests of starts and ends.

It runs in the node's network, with the kubeconfig of its own service account, the real gateway, and a control plane that
keeps the contract.
"""

from __future__ import annotations

import json
import secrets
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from broch_workspaces.cluster.manifests import zone_manifests
from broch_workspaces.cluster.settings import ZoneSettings
from broch_workspaces.cluster.spec import Home, Quota, ZoneSpec, home_claim
from support.cluster.authority import Authority
from support.cluster.cluster import Cluster, eventually
from support.cluster.places import answers

TESTS = Path(__file__).parents[2]
RELEASE = "broch"
SHELL, CONTROL, PROXY, API, GATEWAY = 9000, 9444, 9443, 9081, 8443
SHELL_ORIGIN = f"https://broch.test:{SHELL}"
HUB_ORIGIN = f"https://hub.broch.test:{PROXY}"
ROLE = f"""
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: {RELEASE}-zone-hub}}
rules:
  - {{apiGroups: [""], resources: [pods], verbs: [get, list, watch, create, delete]}}
  - {{apiGroups: [""], resources: [events], verbs: [get, list, watch]}}
"""
"""As the chart has it."""
GATEWAY_CODE = "from broch_workspaces.gateway import main; main()"


@dataclass
class HubRig:
    """One hub and what stands around it."""

    cluster: Cluster
    authority: Authority
    image: str
    state: Path
    queue: str | None = None
    """ClusterQueue of Kueue in which workspaces with GPUs of all zones wait."""
    zone: ZoneSpec = field(init=False)
    """The zone that plans are in, where they name no other."""
    hub: subprocess.Popen[bytes] | None = None
    _stack: ExitStack = field(default_factory=ExitStack)
    _hub_stack: ExitStack = field(default_factory=ExitStack)

    @property
    def namespace(self) -> str:
        """Namespace of the zone."""
        return self.zone.namespace

    @property
    def address(self) -> str:
        """Address of hub, control plane and gateway."""
        return self.cluster.place.address

    # ---- the hub ------------------------------------------------------------

    def start_hub(self) -> None:
        """Start the hub process and wait for its API."""
        words = [sys.executable, "-m", "broch_spawner.serve", self.state / "hub.json"]
        environment = {"KUBECONFIG": str(self.state / "hub.kubeconfig"), "PYTHONDONTWRITEBYTECODE": "1"}
        self.hub = self._hub_stack.enter_context(
            self.cluster.place.running(
                words,
                self.state / "hub.log",
                environment=environment,
                ready=answers(self.address, API),
                seconds=180,
            )
        )

    def stop_hub(self, *, kill: bool = False) -> None:
        """End the hub, as a restart of its pod does; `kill`: without a chance to say goodbye."""
        if kill and self.hub is not None:
            self.hub.kill()
        self._hub_stack.close()

    def api(
        self, method: str, path: str, *, body: Any = None, name: str = "web", token: str = "web"
    ) -> httpx.Response:
        """Call the hub's API with the certificate of a component, and the token of one."""
        context = ssl.create_default_context(cafile=self.state / "tls-web" / "ca.crt")
        context.load_cert_chain(
            self.state / f"tls-{name}" / "tls.crt", self.state / f"tls-{name}" / "tls.key"
        )
        with httpx.Client(verify=context, timeout=60, trust_env=False) as client:
            return client.request(
                method,
                f"https://{self.address}:{API}/hub/api{path}",
                headers={"Authorization": f"token {(self.state / 'secrets' / token).read_text()}"},
                json=body,
            )

    def logs(self) -> str:
        """Return the end of what the hub printed."""
        return (self.state / "hub.log").read_text(errors="replace")[-12000:]

    # ---- workspaces ---------------------------------------------------------

    def plan(self, principal: str, zone: ZoneSpec | None = None, **changes: Any) -> None:
        """Say what a principal's next start is given; `changes` go over a small workspace of Python in the rig's zone."""
        zone = zone or self.zone
        cluster = {"namespace": zone.namespace, "pod": "", "image": self.image, "user_namespace": False}
        plan = {
            "workspace_id": "ws1",
            "project_id": zone.project_id,
            "project_name": "Cohort",
            "mounts": [{"source": "project", "target": "/project", "read_only": False}],
            "home": home_claim(zone.homes[0].person_id),
            "door_token": "",
            "profile": {"memory_bytes": 700 << 20, "cpu": 1.0, "tmp_bytes": 64 << 20},
        }
        cluster |= changes.pop("cluster", {})
        path = self.state / "plans" / f"{principal}.json"
        path.write_text(json.dumps(plan | changes | {"cluster": cluster}))

    def events(self, principal: str) -> list[dict[str, Any]]:
        """Return what was told of a principal's workspaces, in order."""
        path = self.state / "events.json"
        told = json.loads(path.read_text()) if path.exists() else []
        return [event for event in told if event["principal"] == principal]

    def start(self, principal: str, body: Any = None) -> httpx.Response:
        """Have a workspace started."""
        assert self.api("POST", f"/users/{principal}").status_code in (201, 409), self.logs()
        return self.api("POST", f"/users/{principal}/server", body=body)

    def ready(self, principal: str) -> bool:
        """Return whether the hub says that it is ready."""
        server = self.api("GET", f"/users/{principal}").json().get("servers", {}).get("")
        return bool(server and server["ready"])

    def until_ready(self, principal: str, seconds: float = 120) -> None:
        """Wait for a workspace that was started."""

        def settled() -> bool:
            failed = [event for event in self.events(principal) if event["event"] == "failed"]
            if failed:  # it will not become ready any more
                pytest.fail(f"{failed}\n{self.logs()}")
            return self.ready(principal)

        eventually(settled, seconds)

    def stop(self, principal: str) -> None:
        """Have a workspace stopped, and wait until the hub has forgotten it."""
        self.api("DELETE", f"/users/{principal}/server")
        eventually(lambda: not self.api("GET", f"/users/{principal}").json().get("servers"), 60)

    def told(self, principal: str, word: str, seconds: float) -> dict[str, Any]:
        """Wait until something with this word in it was told of a principal; return it."""
        found: list[dict[str, Any]] = []

        def heard() -> bool:
            found[:] = [event for event in self.events(principal) if word in event["detail"]]
            assert found, f"told: {self.events(principal)}\n{self.logs()}"
            return True

        eventually(heard, seconds, pause=0.05)
        return found[0]

    def pods(self) -> list[dict[str, Any]]:
        """Return the workspaces' pods of the zone."""
        found: list[dict[str, Any]] = self.cluster.get(
            "pod", namespace=self.namespace, selector="broch.dev/role=workspace"
        )["items"]
        return found

    # ---- around it ----------------------------------------------------------

    def make_zone(self, spec: ZoneSpec, *, without: tuple[str, ...] = (), queue: str | None = None) -> None:
        """Make a zone as the controller does, without its policies: the hub is not a pod here, so none lets it in."""
        settings = ZoneSettings(
            ca_bundle=self.authority.pem.decode(),
            access_mode="ReadWriteOnce",
            kueue_queue=queue or self.queue,
        )
        kinds = [
            manifest
            for manifest in zone_manifests(spec, settings)
            if manifest["kind"] != "NetworkPolicy" and manifest["metadata"]["name"] not in without
        ]
        self.cluster.apply(*kinds)

    def _account(self) -> None:
        self.cluster.kubectl("apply", "--filename=-", stdin=ROLE)
        names = self.cluster.kubectl("get", "namespace", "--output=name").split()
        if f"namespace/{RELEASE}" not in names:
            self.cluster.kubectl("create", "namespace", RELEASE)
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": f"{RELEASE}-hub"}}
        self.cluster.apply(account, namespace=RELEASE)
        token = self.cluster.kubectl(
            "create", "token", f"{RELEASE}-hub", "-n", RELEASE, "--duration=8h"
        ).strip()
        config = json.loads(self.cluster.kubectl("config", "view", "--raw", "--output=json"))
        config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
        (self.state / "hub.kubeconfig").write_text(json.dumps(config))

    def _write_settings(self) -> None:
        names = {
            "web": f"{RELEASE}-web",
            "hub": f"{RELEASE}-hub",
            "gateway": f"{RELEASE}-gateway",
            "other": "other",
        }
        for part, name in names.items():
            more = ["gateway.broch.internal"] if part == "gateway" else []
            more += ["broch.test"] if part == "web" else []
            more += ["hub.broch.test", "*.hub.broch.test"] if part == "hub" else []
            issued = self.authority.issue(name, *more, addresses=[self.address, "127.0.0.1"])
            issued.write(self.state / f"tls-{part}")
        for token in ("hub", "web", "hub-oauth", "gateway"):
            (self.state / "secrets" / token).write_text(secrets.token_urlsafe(32))
        settings = {
            "mode": "cluster",
            "state_dir": str(self.state / "kept"),
            "run_dir": str(self.state / "run"),
            "shell_origin": SHELL_ORIGIN,
            "hub_origin": HUB_ORIGIN,
            "control_url": f"https://{self.address}:{CONTROL}",
            "tls": str(self.state / "tls-hub"),
            "secrets": str(self.state / "secrets"),
            "proxy_port": PROXY,
            "api_port": API,
            "start_seconds": 120,
            "node_seconds": 20,
            "pods": {
                "gateway_address": self.address,
                "image_prefixes": ["local/"],
                "importer_image": "local/broch@sha256:" + "0" * 64,
                "gpu_queue": self.queue is not None,
            },
        }
        (self.state / "hub.json").write_text(json.dumps(settings))

    @contextmanager
    def running(self) -> Iterator[HubRig]:
        """Start everything for the time of a `with` block."""
        for name in ("plans", "secrets"):
            (self.state / name).mkdir()
        self._write_settings()
        self._account()
        with self._stack as stack:
            path = {"PYTHONPATH": str(TESTS)}
            words = [sys.executable, TESTS / "cluster" / "hub_control.py", self.state, self.address]
            words += [SHELL, CONTROL, HUB_ORIGIN]
            place = self.cluster.place
            ready = answers(self.address, CONTROL)
            stack.enter_context(
                place.running(words, self.state / "control.log", environment=path, ready=ready, seconds=120)
            )
            stack.enter_context(
                place.running(
                    [sys.executable, "-c", GATEWAY_CODE],
                    self.state / "gateway.log",
                    environment={
                        "BROCH_GATEWAY_DOOR": f"https://{self.address}:{CONTROL}",
                        "BROCH_GATEWAY_HUB": f"https://{self.address}:{API}",
                        "BROCH_GATEWAY_KUBECONFIG": str(self.cluster.kubeconfig),
                        "BROCH_TLS": str(self.state / "tls-gateway"),
                        "BROCH_SECRETS": str(self.state / "secrets"),
                    },
                    ready=answers(self.address, GATEWAY),
                    seconds=120,
                )
            )
            self.start_hub()
            try:
                yield self
            finally:
                self.stop_hub()


def new_project() -> str:
    """Return the id of a project that there was not yet."""
    return "01HUBTEST" + secrets.token_hex(8).upper()[:17].ljust(17, "0")


def zone_of(project_id: str, **more: Any) -> ZoneSpec:
    """Return a small zone with one home."""
    home = Home(person_id="01HUBRESEARCHER00000000000", size_bytes=64 << 20)
    values: dict[str, Any] = {
        "project_id": project_id,
        "quota": Quota(cpu=8, memory_bytes=6 << 30, gpus=2, pods=6),
        "homes": (home,),
        "project_bytes": 64 << 20,
        "imports_bytes": 64 << 20,
    }
    return ZoneSpec(**values | more)


@contextmanager
def running_hub(
    cluster: Cluster, authority: Authority, image: str, state: Path, *, queue: str | None = None
) -> Iterator[HubRig]:
    """Run a hub with a zone of its own; both are gone afterwards."""
    # Unix socket paths end at 107 bytes, and folders of pytest's are long.
    short = Path("/tmp") / f"bh-{secrets.token_hex(4)}"
    short.mkdir(mode=0o700)
    rig = HubRig(cluster, authority, image, short, queue)
    rig.zone = spec = zone_of(new_project())
    try:
        rig.make_zone(spec)
        with rig.running():
            yield rig
    finally:
        cluster.delete("namespace", spec.namespace, wait=False)
        for log in short.glob("*.log"):
            shutil.copy(log, state / log.name)
        shutil.rmtree(short, ignore_errors=True)
