"""The throw-away sandbox of one request: our Python, the files read-only, no network, no disk, hard limits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

from broch_workspaces.sandbox import launch
from broch_workspaces.sandbox.profile import Bind, SandboxProfile
from broch_workspaces.sandbox.runtime import runtime_binds, system_links
from broch_workspaces.sandboxes.order import limits_for


class SandboxProcess(Protocol):
    """One sandboxed program under way: a `Popen` on this machine, or a pod that looks like one."""

    @property
    def stdout(self) -> IO[bytes] | None:
        """What it writes; ends when it ends, however it does."""

    def kill(self) -> None:
        """End it and everything inside; from any thread, more than once."""

    def wait(self) -> int:
        """Wait for its end; returns its status, below zero when it was cut."""


class Sandbox(Protocol):
    """Starts the sandboxed side: `BubblewrapSandbox`, or `broch_workspaces.sandboxes.client.BrokerSandbox`."""

    def start(
        self, module: str, inputs: Sequence[Path], job: Mapping[str, Any], cpu_seconds: int
    ) -> SandboxProcess:
        """Start `module` with the inputs at `/in/0`, `/in/1`... and the descriptor of the job (JSON) as argument.

        Raises:
            SandboxUnavailable: no sandbox can be made here.
        """


class BubblewrapSandbox:
    """A fresh bubblewrap sandbox for every start.

    Files go in as read-only mounts, not as descriptors: a descriptor could be opened again for writing through /proc.
    """

    def start(
        self, module: str, inputs: Sequence[Path], job: Mapping[str, Any], cpu_seconds: int
    ) -> subprocess.Popen[bytes]:
        """Start `python -I -m module`; killing the process ends everything inside."""
        binds = [Bind(path.absolute(), f"/in/{number}") for number, path in enumerate(inputs)]
        profile = SandboxProfile(
            binds=(*runtime_binds(("broch_airlock",)), *binds),
            links=system_links(),
            tmpfs=(),
            env={"LANG": "C.UTF-8", "PATH": "/usr/bin:/bin"},
            limits=limits_for(cpu_seconds),
            hostname="checks",
        )
        # By a memory file: bubblewrap could write no file inside, because nothing may be written there at all.
        descriptor = os.memfd_create("job", os.MFD_CLOEXEC)
        with os.fdopen(descriptor, "wb") as file:
            file.write(json.dumps(job).encode())
            file.flush()
            file.seek(0)
            command = [sys.executable, "-I", "-B", "-m", module, str(descriptor)]
            return launch.start(
                profile, command, pass_fds=[descriptor], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
