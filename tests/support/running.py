"""A whole Broch of the tests' own: `broch up` as a person would start it, on free ports, in a folder of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from support.ports import free_port

START_SECONDS = 180.0


@dataclass
class RunningBroch:
    """One running instance."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def shell(self) -> str:
        """Origin of the shell, for browsers."""
        return f"http://broch.localhost:{self.port}"

    @property
    def api(self) -> str:
        """Address for clients that do not resolve names below localhost."""
        return f"http://127.0.0.1:{self.port}"

    def logs(self) -> str:
        """Return the ends of all logs, for failure messages."""
        return "\n".join(
            f"--- {path.name}\n{path.read_text(errors='replace')[-6000:]}"
            for path in sorted((self.folder / "logs").glob("*.log"))
        )


DIRECT = (sys.executable, "-P", "-m", "broch.cli.main")
"""The `broch` command as this process would run it."""


@contextmanager
def running_broch(
    folder: Path, *, command: Sequence[str] = DIRECT, options: Sequence[str] = (), **environment: str
) -> Iterator[RunningBroch]:
    """Run `broch up` for the time of a `with` block; the same folder again is a second start."""
    folder.mkdir(parents=True, exist_ok=True)
    state = folder / "state"
    port = free_port()
    console = folder / "console.log"
    with console.open("wb") as output:
        process = subprocess.Popen(
            [*command, "up", "--dir", str(state), "--port", str(port), *options],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            env={**os.environ, "HOME": str(folder), **environment},
            start_new_session=True,
        )
    broch = RunningBroch(state, port, process)
    try:
        _await_start(broch, console)
        yield broch
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End it as Ctrl-C would; insist after half a minute."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _await_start(broch: RunningBroch, console: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if broch.process.poll() is not None:
            break
        if "Broch is ready" in console.read_text(errors="replace"):
            return
        time.sleep(0.1)
    raise AssertionError(f"broch up did not start:\n{console.read_text(errors='replace')}\n{broch.logs()}")


def client(broch: RunningBroch, handle: str) -> httpx.Client:
    """Return a signed-in client of the API."""
    answer = httpx.post(f"{broch.api}/api/v1/sessions", json={"handle": handle}, trust_env=False, timeout=60)
    answer.raise_for_status()
    token = answer.json()["token"]
    return httpx.Client(
        base_url=broch.api, headers={"Authorization": f"Bearer {token}"}, trust_env=False, timeout=30
    )
