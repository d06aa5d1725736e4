"""JupyterHub spawner of the one-machine mode: one sandbox per workspace, by the control plane's plan and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

from traitlets import Unicode

from broch_spawner.hub_gate import HubGate
from broch_spawner.lab_files import LAB
from broch_spawner.planned import WAS_STOPPED, PlannedSpawner
from broch_spawner.workspace import HUB_SOCKET, workspace_profile, workspace_quotas
from broch_workspaces.plan import SpawnPlan
from broch_workspaces.sandbox import launch
from broch_workspaces.sandbox.bounds import Bounds
from broch_workspaces.sandbox.errors import CgroupUnavailable, SandboxUnavailable

_TAIL = 64 << 10
"""Bytes of a workspace's output that are kept for error texts."""


class SandboxSpawner(PlannedSpawner):
    """Starts, watches and ends the sandbox of one workspace."""

    state_dir = Unicode(help="folder of the installation").tag(config=True)
    run_dir = Unicode(help="folder of sockets and secrets").tag(config=True)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._process: subprocess.Popen[bytes] | None = None
        self._gate: HubGate | None = None
        self._bounds: Bounds | None = None
        self._tail = b""

    @property
    def _run(self) -> Path:
        return Path(self.run_dir)

    @property
    def _own_dir(self) -> Path:
        """Folder of this workspace's sockets; the hub's number of the user keeps it short."""
        return self._run / "ws" / str(self.user.id)

    def _in_words(self, error: Exception) -> str | None:
        """Return what the researcher is told of an error."""
        if isinstance(error, OSError):
            return f"The sandbox could not be made: {error.strerror}."
        known = isinstance(error, SandboxUnavailable | CgroupUnavailable | ValueError)
        return str(error) if known else None

    async def _launch(self, plan: SpawnPlan) -> str:
        self._tail = b""
        self._step = "Making the sandbox"
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
            *self.get_args(),
        ]

    def _environment(self) -> dict[str, str]:
        api_url = f"http+unix://{quote(HUB_SOCKET, safe='')}/hub/api"
        # jupyterhub-singleuser listens on a unix socket only when the port is its default.
        service_url = "http://127.0.0.1:8888" + self.server.base_url
        return {**self._hub_environment(api_url), "JUPYTERHUB_SERVICE_URL": service_url}

    def _on_excess(self, why: str) -> None:
        # In a watchdog's thread.
        self._why = why
        self._end_now()

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

    def _alive(self) -> bool:
        """Whether the sandbox is still there."""
        return self._process is not None and self._process.poll() is None

    def _end_now(self) -> None:
        """Kill the sandbox."""
        if self._process is not None:
            self._process.kill()

    def _ask_to_end(self) -> bool:
        """Send the server inside SIGTERM: it interrupts its kernels, and ends them."""
        return self._process is not None and launch.terminate(self._process)

    async def poll(self) -> int | None:
        """Return None while the workspace runs, else its exit status. Never raises."""
        return 0 if self._process is None else self._process.poll()

    async def stop(self, now: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 (JupyterHub's signature)
        """End the sandbox: everything in it is gone when this returns. Files stay."""
        self._why = self._why or WAS_STOPPED
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
        self._end_clocks()
        if self._gate is not None:
            with contextlib.suppress(OSError):
                await self._gate.stop()
            self._gate = None
        shutil.rmtree(self._own_dir, ignore_errors=True)
