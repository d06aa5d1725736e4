"""JupyterHub spawner of the one-machine mode: one sandbox per workspace, by the control plane's plan and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jupyterhub.spawner import Spawner
from tornado import web
from traitlets import Unicode

from broch_spawner.control import ControlPlane, ControlPlaneError, Event
from broch_spawner.hub_gate import HubGate
from broch_spawner.workspace import (
    HUB_SOCKET,
    LAB,
    SETTINGS,
    PlanRefused,
    workspace_profile,
    workspace_quotas,
)
from broch_workspaces.plan import SpawnPlan
from broch_workspaces.sandbox import launch
from broch_workspaces.sandbox.bounds import Bounds
from broch_workspaces.sandbox.errors import CgroupUnavailable, SandboxUnavailable

_TAIL = 64 << 10
"""Bytes of a workspace's output that are kept for error texts."""
_FROM_HUB = ("JUPYTERHUB_", "JPY_")


class SandboxSpawner(Spawner):  # type: ignore[misc]
    """Starts, watches and ends the sandbox of one workspace."""

    state_dir = Unicode(help="folder of the installation").tag(config=True)
    run_dir = Unicode(help="folder of sockets and secrets").tag(config=True)
    control_token = Unicode(help="bearer token for the control plane").tag(config=True)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._process: subprocess.Popen[bytes] | None = None
        self._gate: HubGate | None = None
        self._bounds: Bounds | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._while_running: list[asyncio.Task[None]] = []
        self._tail = b""
        self._why = ""
        self._start = ""
        self._step = "Waiting for the control plane"

    @property
    def _run(self) -> Path:
        return Path(self.run_dir)

    @property
    def _own_dir(self) -> Path:
        """Folder of this workspace's sockets; the hub's number of the user keeps it short."""
        return self._run / "ws" / str(self.user.id)

    def _control(self) -> ControlPlane:
        return ControlPlane(self._run / "control.sock", self.control_token)

    async def start(self) -> str:
        """Ask for the plan, make the sandbox, and return the address of the server in it.

        Raises:
            tornado.web.HTTPError: 409, with a text for the researcher.
        """
        self._why, self._tail, self._start = "", b"", ""
        self._step = "Asking the control plane what this workspace may have"
        try:
            plan = await self._control().spawn_plan(self.user.name)
            self._start = plan.start
            left = self._seconds_left(plan)
            self._step = "Making the sandbox"
            address = await self._launch(plan)
        except (
            ControlPlaneError,
            PlanRefused,
            SandboxUnavailable,
            CgroupUnavailable,
            ValueError,
            OSError,
        ) as error:
            text = (
                str(error)
                if not isinstance(error, OSError)
                else f"The sandbox could not be made: {error.strerror}."
            )
            self.log.warning("workspace.refused principal=%s reason=%s", self.user.name, text)
            await self._clean_up()
            self._tell("failed", text)
            raise web.HTTPError(409, text) from error
        self._step = "Starting JupyterLab"
        self._while_running = [self._keep(self._stop_at_deadline(left)), self._keep(self._say_running())]
        return address

    def _seconds_left(self, plan: SpawnPlan) -> float:
        if self.name:
            raise PlanRefused("A project has one workspace per person.")
        left = (plan.deadline_at - datetime.now(UTC)).total_seconds()
        if left <= 0:
            raise PlanRefused("The time for this workspace is over.")
        return left

    async def _launch(self, plan: SpawnPlan) -> str:
        own = self._own_dir
        shutil.rmtree(own, ignore_errors=True)
        own.mkdir(mode=0o700, parents=True)
        self._gate = HubGate(self._run / "hub" / "hub.sock", own / "hub.sock", self.user.name)
        await self._gate.start()
        profile = workspace_profile(
            plan,
            state_dir=Path(self.state_dir),
            door_dir=self._run / "door",
            hub_socket=own / "hub.sock",
            env=self._environment(),
        )
        bounds = self._bounds = Bounds(
            plan.principal,
            plan.profile,
            tmpfs=profile.tmpfs,
            quotas=workspace_quotas(plan),
            on_excess=self._on_excess,
        )
        lab_socket = own / "lab.sock"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(lab_socket))
            lab_socket.chmod(0o600)
            listener.listen(128)
            listener.setblocking(False)  # noqa: FBT003 (the system's signature)
            fd = listener.fileno()
            # From the hub's main thread: the sandbox dies with the thread that makes it.
            self._process = launch.start(
                profile, self._command(fd), pass_fds=[fd], before_run=bounds.before_run
            )
        bounds.watch(self._process)
        self._watch(self._process, bounds, plan)
        return "http+unix://" + quote(str(lab_socket), safe="")

    def _command(self, listener: int) -> list[str]:
        # ServerApp.sock makes Jupyter ask for a unix listener, and lab.py hands it the one made outside.
        return [
            *(sys.executable, "-I", LAB, str(listener)),
            "--ServerApp.sock=/run/lab.sock",
            "--ServerApp.root_dir=/home/researcher",
            "--ServerApp.terminado_settings=shell_command=['/bin/bash']",
            "--FileContentsManager.delete_to_trash=False",
            "--LabApp.extension_manager=readonly",
            "--LabApp.news_url=None",
            f"--LabApp.app_settings_dir={SETTINGS}",
            "--ServerApp.jpserver_extensions={'jupyter_lsp': False, 'notebook_shim': False}",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            *self.get_args(),
        ]

    def _environment(self) -> dict[str, str]:
        environment = {name: value for name, value in self.get_env().items() if name.startswith(_FROM_HUB)}
        # jupyterhub-singleuser listens on a unix socket only when the port is its default.
        environment["JUPYTERHUB_SERVICE_URL"] = "http://127.0.0.1:8888" + self.server.base_url
        environment["JUPYTERHUB_API_URL"] = f"http+unix://{quote(HUB_SOCKET, safe='')}/hub/api"
        environment["JUPYTERHUB_ACTIVITY_URL"] = (
            environment["JUPYTERHUB_API_URL"] + f"/users/{self.user.name}/activity"
        )
        environment["JUPYTERHUB_SINGLEUSER_EXTENSION"] = "1"
        return environment

    def _on_excess(self, why: str) -> None:
        # In a watchdog's thread.
        self._why = why
        if self._process is not None:
            self._process.kill()

    def _watch(self, process: subprocess.Popen[bytes], bounds: Bounds, plan: SpawnPlan) -> None:
        self.log.info(
            "workspace.started principal=%s pid=%d memory=%s limit=%d",
            self.user.name,
            process.pid,
            bounds.memory,
            plan.profile.memory_bytes,
        )
        output = process.stdout
        assert output is not None  # noqa: S101 (it is always a pipe)
        os.set_blocking(output.fileno(), False)
        loop = asyncio.get_running_loop()

        def drain() -> None:
            data = output.read(65536)
            if data:
                self._tail = (self._tail + data)[-_TAIL:]
            elif data == b"":
                loop.remove_reader(output.fileno())
                output.close()
                self._keep(self._ended(process))

        loop.add_reader(output.fileno(), drain)

    async def _ended(self, process: subprocess.Popen[bytes]) -> None:
        """Say what became of the workspace, once its output ended."""
        status = await asyncio.to_thread(process.wait)
        if self._process is not process:
            return
        why = await asyncio.to_thread(self._release)
        self._why = self._why or why
        if self._why or status == 0:
            detail = self._why or "The workspace ended by itself."
            self._tell("stopped", detail)
        else:
            last = self._tail.decode("utf-8", "replace").strip().splitlines()[-12:]
            self.log.warning("workspace.died principal=%s status=%d", self.user.name, status)
            self._tell("failed", "The workspace ended unexpectedly.\n" + "\n".join(last))

    async def _stop_at_deadline(self, seconds: float) -> None:
        # A sleep of days would miss a clock that is set right meanwhile; the plan is asked for at each start anyway.
        await asyncio.sleep(seconds)
        self._why = "The time for this workspace is over."
        if self._process is not None:
            self._process.kill()

    async def _say_running(self) -> None:
        while not self.ready:
            if self._process is None or self._process.poll() is not None:
                return
            await asyncio.sleep(0.05)
        self._tell("running", "")

    def _tell(self, event: Event, detail: str) -> None:
        self._keep(self._post(event, detail, self._start))

    async def _post(self, event: Event, detail: str, start: str) -> None:
        for pause in (0.0, 1.0, 5.0):
            await asyncio.sleep(pause)
            try:
                await self._control().post_event(self.user.name, event, detail, start)
            except ControlPlaneError as error:
                self.log.warning(
                    "workspace.event_lost principal=%s event=%s reason=%s", self.user.name, event, error
                )
            else:
                return

    def _keep(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def poll(self) -> int | None:
        """Return None while the workspace runs, else its exit status. Never raises."""
        return 0 if self._process is None else self._process.poll()

    async def stop(self, now: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 (JupyterHub's signature)
        """End the sandbox: everything in it is gone when this returns. Files stay."""
        self._why = self._why or "The workspace was stopped."
        if self._process is not None:
            process = self._process
            process.kill()
            await asyncio.to_thread(process.wait)
            self._process = None
            self._tell("stopped", self._why)
        await self._clean_up()

    def _release(self) -> str:
        """Give back what bounded the workspace; return what the kernel ended it for, if it did."""
        if self._bounds is None:
            return ""
        bounds, self._bounds = self._bounds, None
        why = bounds.why_it_ended()
        bounds.release()
        return why

    async def _clean_up(self) -> None:
        await asyncio.to_thread(self._release)
        for task in self._while_running:
            task.cancel()
        self._while_running = []
        if self._gate is not None:
            with contextlib.suppress(OSError):
                await self._gate.stop()
            self._gate = None
        shutil.rmtree(self._own_dir, ignore_errors=True)

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """Yield what is being done (JupyterHub's interface)."""
        said = ""
        while True:
            if self._step != said:
                said = self._step
                yield {"progress": 50, "message": said}
            await asyncio.sleep(0.2)
