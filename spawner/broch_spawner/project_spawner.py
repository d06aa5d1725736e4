"""JupyterHub spawner on a cluster: one pod per workspace, in its project's zone, by the control plane's plan alone.

Of KubeSpawner it is the connection to the API server and the place in JupyterHub. What KubeSpawner would make from
options (namespaces, claims, secrets, services) and its reflectors are never called: the plan says what the pod is, the
controller makes everything else, and the zone's own watch says how it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any, ClassVar

import aiohttp
from jupyterhub.utils import url_path_join, wait_for_http_server
from kubespawner import KubeSpawner
from traitlets import Float, Instance, Unicode

from broch_spawner.inside.idle import Policy
from broch_spawner.inside.lab import TLS_CERTIFICATE, TLS_KEY
from broch_spawner.peers import PEERS, Identity, UnknownPeer, new_identity
from broch_spawner.planned import WAS_STOPPED, PlannedSpawner
from broch_spawner.trouble import Ended, Trouble, address_of, ended, explain, is_fetching, is_running
from broch_spawner.zone_pods import PodNotMade, events_of, make_pod, remove_pod
from broch_spawner.zone_watch import Seen, ZoneWatch, ZoneWatches, read_pod
from broch_workspaces.cluster.hardened import NotHardened, Rules, assert_hardened
from broch_workspaces.cluster.pods import PodRefused, workspace_pod
from broch_workspaces.cluster.settings import NOTEBOOK_PORT, PodSettings
from broch_workspaces.plan import SpawnPlan

_EVENTS_EVERY = 1.0
"""Seconds between two looks at a pod's events while it does not run yet."""
_FIRST_TRY, _LONGEST_TRY = 0.02, 0.25
"""Seconds between two tries to reach a server that starts."""
_TELL_AFTER = {"volume": 1.0, "node": 1.0, "queue": 1.0}
"""Seconds that a trouble lasts before it is told, else at once: volumes that are just being made are none."""
_FOUND_AGAIN = 180.0
"""Seconds for a server to answer a hub that found it again: policies let a new hub in late, and servers may be busy."""
_PATIENCE = {"image": 30.0, "volume": 60.0, "container": 10.0}
"""Seconds that a trouble may last before the start fails. It is told at once, and a start goes on when it is over."""
_BEFORE_A_NODE = frozenset({"node", "queue"})
"""Troubles of a pod that has no node yet: nothing of it is being made."""


class _Late(Exception):
    """The start does not get on; the text is for the researcher."""


class ProjectSpawner(PlannedSpawner, KubeSpawner):  # type: ignore[misc]
    """Makes, watches and removes the pod of one workspace."""

    pods = Instance(PodSettings, help="what every workspace's pod is given").tag(config=True)
    workspace_api_url = Unicode(help="the hub's API as workspaces reach it").tag(config=True)
    start_seconds = Float(300.0, help="longest start on a node, seconds").tag(config=True)
    node_seconds = Float(600.0, help="longest wait for a node with room, seconds").tag(config=True)
    queue_seconds = Float(28800.0, help="longest wait in the queue for GPUs, seconds").tag(config=True)

    watches: ClassVar[ZoneWatches | None] = None
    """Of this hub, shared by all spawners."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # The server inside listens on the pod's network; policies say who reaches it.
        self.ip, self.port = "0.0.0.0", NOTEBOOK_PORT  # noqa: S104
        self._forget()
        self._watch: ZoneWatch | None = None
        self._told_waiting = ""

    def _forget(self) -> None:
        self.pod_name, self._zone, self._uid, self._pin = "", "", "", ""
        self._ended: Ended | None = None

    def get_state(self) -> dict[str, Any]:
        """Return what finds the pod again after a restart of the hub."""
        if not self.pod_name:
            return {}
        policy = self._idle_policy
        return {
            "pod": self.pod_name,
            "zone": self._zone,
            "uid": self._uid,
            "start": self._start,
            "pin": self._pin,
            "idle": [policy.idle.total_seconds(), policy.warn.total_seconds()],
            "shared": self.shared,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up what `get_state` returned."""
        self.pod_name, self._zone = str(state.get("pod", "")), str(state.get("zone", ""))
        self._uid, self._start = str(state.get("uid", "")), str(state.get("start", ""))
        self._pin = str(state.get("pin", ""))
        self._idle_policy = Policy.of_seconds(*state.get("idle", (0, 0)))
        if state.get("shared"):
            self._is_shared()

    def clear_state(self) -> None:
        """Forget the pod: it is gone."""
        self._leave_zone()
        PEERS.forget(self._pin)
        self._forget()

    async def load_user_options(self) -> None:
        """Look at nothing that a request to the hub holds."""

    async def delete_forever(self) -> None:
        """Delete nothing: homes are the controller's."""

    def _in_words(self, error: Exception) -> str | None:
        if isinstance(error, NotHardened):
            self.log.error("workspace.not_hardened principal=%s reasons=%s", self.user.name, error)
            return "The plan asks for a pod that no workspace may have. Tell your administrator."
        return str(error) if isinstance(error, PodNotMade | PodRefused | _Late) else None

    async def _launch(self, plan: SpawnPlan) -> str:
        identity = new_identity(self.user.name)
        pod = workspace_pod(plan, self.pods, self._environment(identity))
        assert_hardened(pod, Rules.for_workspace(plan, self.pods))
        self.pod_name, self._zone = pod["metadata"]["name"], pod["metadata"]["namespace"]
        self._ended, self._told_waiting, self._pin = None, "", identity.pin
        # Before the pod is: a hub that dies now finds it again.
        self.orm_spawner.state = self.get_state()
        self.db.commit()
        self._step = "Asking the cluster for room"
        watch = self._enter_zone()
        self._uid = await make_pod(self.api, pod)
        self.log.info("workspace.pod_made principal=%s pod=%s", self.user.name, self.pod_name)
        try:
            address = await self._until_it_answers()
        except _Late as error:
            # That it failed is told once the pod is gone, so that another try finds its quota free; why, at once.
            self._tell("waiting", str(error))
            raise
        self._follow_from(watch)
        return address

    def _environment(self, identity: Identity) -> dict[str, str]:
        return {
            **self._hub_environment(self.workspace_api_url),
            "JUPYTERHUB_SERVICE_URL": f"https://{self.ip}:{self.port}{self.server.base_url}",
            TLS_KEY: identity.key,
            TLS_CERTIFICATE: identity.certificate,
        }

    @property
    def server(self) -> Any:
        """The server's address as JupyterHub keeps it. It would ask for an authority's certificate there, so we ask."""
        found = super().server
        if found is not None:
            found.wait_up = self._wait_up
        return found

    @server.setter
    def server(self, server: Any) -> None:
        PlannedSpawner.server.fset(self, server)

    async def _wait_up(
        self,
        timeout: float = 10,  # noqa: ASYNC109 (JupyterHub's signature)
        http: bool = True,  # noqa: ARG002, FBT001, FBT002 (JupyterHub's signature)
        ssl_context: object = None,  # noqa: ARG002 (JupyterHub's signature)
        extra_path: str = "",
    ) -> Any:
        url = url_path_join(self.server.url, extra_path)
        return await wait_for_http_server(url, timeout=timeout, ssl_context=PEERS.pin(url))

    def _enter_zone(self) -> ZoneWatch:
        if self._watch is None:
            if ProjectSpawner.watches is None:
                ProjectSpawner.watches = ZoneWatches(lambda namespace: ZoneWatch(namespace, self.api))
            self._watch = ProjectSpawner.watches.enter(self._zone)
        return self._watch

    def _leave_zone(self) -> None:
        if self._watch is not None and ProjectSpawner.watches is not None:
            self._watch.forget(self.pod_name)
            ProjectSpawner.watches.leave(self._watch)
        self._watch = None

    async def _look(self) -> Seen | None:
        """Return the pod as it is; None: nothing is known at the moment."""
        watch = self._enter_zone()
        seen = watch.seen(self.pod_name) if watch.fresh else None
        return seen or await read_pod(self.api, self._zone, self.pod_name)

    async def _until_it_answers(self) -> str:
        """Wait for the server inside; return its address.

        Raises:
            _Late: it will not come, or not in time.
        """
        watch = self._enter_zone()
        until = time.monotonic() + self.start_seconds
        since: dict[str, float] = {}
        events_at, events = time.monotonic() + _EVENTS_EVERY, []
        while True:
            seen = await self._look()
            now = time.monotonic()
            if seen is not None and seen.gone:
                raise _Late("The workspace was ended while it started. Open it again.")
            pod = seen.pod if seen is not None else {}
            over = ended(pod) if pod else None
            if over is not None:
                raise _Late(over.text)
            address = address_of(pod)
            if is_running(pod) and address is not None:
                return await self._until_the_server_answers(self._at(address), until)
            if now >= events_at:
                events = await events_of(self.api, self._zone, self._uid)
                events_at = time.monotonic() + _EVENTS_EVERY
            trouble = explain(pod, events) if pod else None
            if self._is_over(trouble, since, now):
                raise _Late(f"{trouble.text} The start was given up." if trouble else "")
            if trouble is not None and trouble.kind in _BEFORE_A_NODE:
                until = now + self.start_seconds  # its clock begins with a node
            if now > until:
                raise _Late(
                    f"The workspace did not start within {self.start_seconds:.0f} seconds. Try again later."
                )
            lasts = trouble is not None and now - since[trouble.kind] >= _TELL_AFTER.get(trouble.kind, 0)
            self._say_step(trouble if lasts else None, fetching=is_fetching(events))
            await watch.change(max(events_at - time.monotonic(), 0.05))

    def _is_over(self, trouble: Trouble | None, since: dict[str, float], now: float) -> bool:
        """Tell whether a trouble has lasted too long; `since` remembers when each kind began."""
        for kind in [kind for kind in since if trouble is None or kind != trouble.kind]:
            del since[kind]
        if trouble is None:
            return False
        began = since.setdefault(trouble.kind, now)
        before = {"node": self.node_seconds, "queue": self.queue_seconds}
        return now - began > (_PATIENCE | before)[trouble.kind]

    def _say_step(self, trouble: Trouble | None, *, fetching: bool) -> None:
        if trouble is None:
            self._step = (
                "Fetching the workspace's image to its computer: minutes the first time, then never again"
                if fetching
                else "Making the workspace"
            )
            return
        self._step = trouble.text
        if trouble.text != self._told_waiting:
            self._told_waiting = trouble.text
            self.log.warning("workspace.waits principal=%s kind=%s", self.user.name, trouble.kind)
            self._tell("waiting", trouble.text)

    async def _until_the_server_answers(self, address: str, until: float) -> str:
        self._step = "Starting JupyterLab"
        try:
            PEERS.expect(address, self._pin)
        except UnknownPeer as error:
            raise _Late(f"{error} Stop it, and open it again.") from None
        url, pause = f"{address}{self.server.base_url}api", _FIRST_TRY
        timeout = aiohttp.ClientTimeout(total=2)
        async with aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as session:
            while time.monotonic() < until:
                with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                    async with session.get(url, allow_redirects=False, ssl=PEERS.pin(url)) as answer:
                        if answer.status < 500:
                            return address
                seen = await self._look()
                over = ended(seen.pod) if seen is not None and seen.pod else None
                if over is not None or (seen is not None and seen.gone):
                    raise _Late(
                        over.text if over is not None else "The workspace was ended while it started."
                    )
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, _LONGEST_TRY)
        raise _Late(f"JupyterLab did not answer within {self.start_seconds:.0f} seconds. Try again later.")

    async def get_url(self) -> str:
        """Return the server's address as the pod has it, once it answers: JupyterHub asks after a restart of the hub.

        It ends who does not answer it soon. So the waiting is here, where it is seen whether the pod is still there.
        """
        seen = await self._look()
        written = str(self.server.url)
        if seen is None or seen.gone:
            return written
        address = address_of(seen.pod)
        running = is_running(seen.pod) and address is not None
        try:
            if running:
                base = await self._until_the_server_answers(
                    self._at(address or ""), time.monotonic() + _FOUND_AGAIN
                )
            else:  # the other hub died in the middle of a start
                base = await self._until_it_answers()
        except _Late as error:
            now = await self._look()
            if now is not None and (now.gone or ended(now.pod) is not None):
                await self._settle(now)
            elif not running:
                self._why = str(error)
                await remove_pod(self.api, self._zone, self.pod_name)
                await self._settle(Seen(seen.pod, gone=True))
            return written
        # JupyterHub takes address and port of what this returns, and forgets the scheme.
        self.server.proto = "https"
        return f"{base}{self.server.base_url}"

    def _at(self, address: str) -> str:
        host = f"[{address}]" if ":" in address else address
        return f"https://{host}:{self.port}"

    def _follow_from(self, watch: ZoneWatch) -> None:
        self._while_running.append(self._keep(self._follow(watch)))

    async def _follow(self, watch: ZoneWatch) -> None:
        """Settle the end of the pod when it comes."""
        while True:
            seen = watch.seen(self.pod_name)
            if seen is not None and (seen.gone or ended(seen.pod) is not None):
                await self._settle(seen)
                if not self._stop_pending:
                    # Who stops it already cleans up: twice, the second would take the next start with it.
                    with contextlib.suppress(Exception):  # JupyterHub's next poll does the same
                        await self.poll_and_notify()
                return
            await watch.change(30)

    async def _settle(self, seen: Seen) -> None:
        """Tell what the pod ended with, and remove what is left of it."""
        if self._ended is not None:
            return
        if self._why:  # we ended it ourselves
            over = Ended(0, self._why, failed=False)
        else:
            gone = Ended(1, "The workspace was ended by the platform. Open it again.", failed=True)
            over = ended(seen.pod) or gone
        self._ended = over
        self.log.info("workspace.ended principal=%s pod=%s code=%d", self.user.name, self.pod_name, over.code)
        self._tell("failed" if over.failed else "stopped", over.text)
        if not seen.gone:
            # A pod that has ended holds nothing but its name and its quota's count of objects.
            self._keep(remove_pod(self.api, self._zone, self.pod_name))
        self._end_clocks()

    def _alive(self) -> bool:
        return bool(self.pod_name) and self._ended is None

    def _end_now(self) -> None:
        self._keep(self._delete_quietly())

    async def _delete_quietly(self) -> None:
        await remove_pod(self.api, self._zone, self.pod_name)

    async def poll(self) -> int | None:
        """Return None while the workspace runs, or nothing else is known; else its exit status. Never raises."""
        if not self.pod_name:
            return 0
        if self._ended is not None:
            return self._ended.code
        seen = await self._look()
        if seen is None:
            return None
        if not seen.gone and ended(seen.pod) is None:
            if not self._while_running and self.ready:  # found again after a restart of the hub
                self._follow_from(self._enter_zone())
                self._watch_idle(fresh=False)
            return None
        if self._start_pending:
            return None  # `_launch` is about to say so itself, with words
        await self._settle(seen)
        return self._code()

    def _code(self) -> int:
        return self._ended.code if self._ended is not None else 1

    async def stop(self, now: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 (JupyterHub's signature)
        """Remove the pod. JupyterHub forgets a server when this returns, so it returns when the pod is gone."""
        if self.pod_name:
            self._why = self._why or WAS_STOPPED
            await remove_pod(self.api, self._zone, self.pod_name)
            if self._ended is None:
                self._ended = Ended(0, self._why, failed=False)
                self._tell("stopped", self._why)
        await self._clean_up()

    async def _clean_up(self) -> None:
        if self.pod_name and self._ended is None:
            # A start that failed half-way.
            await remove_pod(self.api, self._zone, self.pod_name)
            self._ended = Ended(1, "", failed=True)
        self._end_clocks()
        self._leave_zone()
