"""A broker whose sandboxes are real processes of this machine: the courier beside it, the module in bubblewrap.

What runs is what runs in a pod; only who starts it differs. Everything runs as an ordinary user.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path

from broch_workspaces.sandbox import launch
from broch_workspaces.sandbox.profile import Bind, Limits, SandboxProfile
from broch_workspaces.sandbox.runtime import runtime_binds, system_links
from broch_workspaces.sandboxes.client import BrokerSandbox
from broch_workspaces.sandboxes.serve import serve
from broch_workspaces.sandboxes.settings import BrokerSettings
from support.cluster.authority import Authority
from support.ordinary import become_ordinary

NAME = "localhost"
TOKEN = "web-token-of-the-test"


class ProcessStarter:
    """Makes sandboxes of processes.

    Args:
        folder: for their files.
        authority: PEM.
        port: of the broker, for sandboxes.
    """

    def __init__(self, folder: Path, authority: str, port: int) -> None:
        self._folder = folder
        self._authority = authority
        self._port = port
        self._processes: dict[str, list[subprocess.Popen[bytes]]] = {}

    async def start(self, name: str, token: str) -> None:
        self._start(name, token)

    def _start(self, name: str, token: str) -> None:
        folder = self._folder / name
        inputs, meeting = folder / "in", folder / "m"
        for one in (inputs, meeting):
            one.mkdir(parents=True)
        environment = {
            "BROCH_SANDBOX_HOST": "127.0.0.1",
            "BROCH_SANDBOX_PORT": str(self._port),
            "BROCH_SANDBOX_NAME": NAME,
            "BROCH_SANDBOX_CA": self._authority,
            "BROCH_SANDBOX_TOKEN": token,
            "BROCH_SANDBOX_INPUTS": str(inputs),
            "BROCH_SANDBOX_MEETING": str(meeting),
            "PATH": "/usr/bin:/bin",
        }
        python = [sys.executable, "-I", "-B", "-m"]
        carry = subprocess.Popen(
            [*python, "broch_workspaces.sandboxes.inside.carry"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        profile = SandboxProfile(
            binds=(
                *runtime_binds(("broch_airlock", "broch_workspaces")),
                Bind(inputs, "/in"),
                Bind(meeting, "/run/sandbox"),
            ),
            links=system_links(),
            tmpfs=(),
            limits=Limits(processes=32),
        )
        look = launch.start(
            profile,
            [*python, "broch_workspaces.sandboxes.inside.look"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._processes[name] = [carry, look]

    async def trouble(self, name: str) -> str:
        ended = [one.poll() for one in self._processes[name] if one.poll() is not None]
        return f"A process of the sandbox ended with {ended[0]}." if ended else ""

    async def end(self, name: str) -> None:
        for process in self._processes.pop(name, []):
            process.kill()
            await asyncio.to_thread(process.wait)
        shutil.rmtree(self._folder / name, ignore_errors=True)

    async def sweep(self, keep: Container[str]) -> int:
        left = [name for name in self._processes if name not in keep]
        for name in left:
            await self.end(name)
        return len(left)


@dataclass
class Rig:
    """A running broker."""

    folder: Path
    pid: int
    port: int
    pods_port: int
    authority: Authority

    def sandbox(self, token: str = TOKEN, tls: str = "web") -> BrokerSandbox:
        """Return web's side."""
        file = self.folder / f"token-{token[:40]}"
        file.write_text(token + "\n")
        file.chmod(0o644)
        return BrokerSandbox(f"{NAME}:{self.port}", self.folder / tls, file)

    def pods(self) -> list[str]:
        """Return the names of the sandboxes that there are."""
        return sorted(path.name for path in (self.folder / "pods").iterdir())

    def kill(self) -> None:
        """Kill the broker as a node that fails would."""
        os.kill(self.pid, signal.SIGKILL)


def settings_of(folder: Path, **changes: object) -> BrokerSettings:
    """Return settings for one broker on loopback."""
    values: dict[str, object] = {
        "tls": folder / "broker",
        "secrets": folder / "secrets",
        "listen": "127.0.0.1",
        "port": 0,
        "pods_port": 0,
        "address": "127.0.0.1",
        "name": NAME,
        "owner": "broker-1",
        "namespace": "broch-sandboxes",
        "image": "registry.test/broch@sha256:" + "0" * 64,
        "start_seconds": 20.0,
        "connections_each": 64,
        "warm": 0,
    }
    return BrokerSettings.model_validate(values | changes)


def prepare(folder: Path, authority: Authority) -> None:
    """Write certificates and the token of web."""
    for who in ("broker", "web"):
        authority.issue(NAME, f"{who}.test").write(folder / who)
    Authority("another").issue(NAME).write(folder / "stranger")
    # The authority that a stranger believes is ours: it is we who must not believe the stranger.
    authority.write(folder / "stranger" / "ca.crt")
    (folder / "secrets").mkdir()
    (folder / "secrets" / "sandboxes").write_text(TOKEN + "\n")
    (folder / "pods").mkdir()


@contextlib.contextmanager
def running(**changes: object) -> Iterator[Rig]:
    """Run a broker as an ordinary user, and end it with everything that it made."""
    folder = Path(tempfile.mkdtemp(prefix="broch-rig-"))
    authority = Authority()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            try:
                os.close(reading)
                os.setsid()
                become_ordinary(folder)
                prepare(folder, authority)
                _broker(folder, writing, changes)
            except BaseException:  # noqa: BLE001 - a forked child reports everything and never returns
                traceback.print_exc(file=sys.__stderr__)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.readline()
    assert told, "the broker did not start"
    port, pods_port = json.loads(told)
    try:
        yield Rig(folder, pid, port, pods_port, authority)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)
        shutil.rmtree(folder, ignore_errors=True)


def _broker(folder: Path, writing: int, changes: dict[str, object]) -> None:
    settings = settings_of(folder, **changes)
    starter = ProcessStarter(folder / "pods", (folder / "broker" / "ca.crt").read_text(), 0)

    def ready(port: int, pods_port: int) -> None:
        starter._port = pods_port
        os.write(writing, json.dumps([port, pods_port]).encode() + b"\n")
        os.close(writing)

    asyncio.run(serve(settings, starter, ready))
