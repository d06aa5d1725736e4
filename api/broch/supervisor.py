"""The supervisor of one machine: starts web, hub and clamd, restarts what dies, ends them in order."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog

log = structlog.get_logger()

BACKOFF_SECONDS = (0.2, 0.5, 1, 2, 5, 10, 30)
STEADY_SECONDS = 60.0
"""A child that ran this long starts again without delay."""
STOP_SECONDS = 15.0
LOG_BYTES = 20 << 20
"""A log larger than this at a start is set aside as `.1`."""


@dataclass
class Child:
    """One service."""

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    process: asyncio.subprocess.Process | None = None
    restarts: int = 0


class Supervisor:
    """Keeps its children running until told to stop."""

    def __init__(self, logs: Path, *, announce: Callable[[str], None]) -> None:
        self._logs = logs
        self._announce = announce
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._children: dict[str, Child] = {}
        self._stopping = False

    def add(self, child: Child) -> None:
        """Start a child and keep it."""
        self._children[child.name] = child
        self._tasks[child.name] = asyncio.create_task(self._keep(child), name=child.name)

    async def stop(self) -> None:
        """End the children, last started first."""
        self._stopping = True
        for name in reversed(self._children):
            child = self._children[name]
            if child.process is not None and child.process.returncode is None:
                await _end(child.process)
            self._tasks[name].cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._tasks[name]

    async def _keep(self, child: Child) -> None:
        failures = 0
        while not self._stopping:
            began = time.monotonic()
            status = await self._run(child)
            if self._stopping:
                return
            failures = 0 if time.monotonic() - began > STEADY_SECONDS else failures + 1
            delay = BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS)) - 1] if failures else 0.0
            child.restarts += 1
            log.warning("child.ended", name=child.name, status=status, again_in_seconds=delay)
            self._announce(
                f"{child.name} ended with status {status}; starting it again. Its log: {self._logs / child.name}.log"
            )
            await asyncio.sleep(delay)

    async def _run(self, child: Child) -> int:
        path = self._logs / f"{child.name}.log"
        if path.exists() and path.stat().st_size > LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
        with path.open("ab") as output:
            child.process = await asyncio.create_subprocess_exec(
                *child.arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **child.environment},
                cwd="/",
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
        return await child.process.wait()


def _end_with_parent() -> None:
    """Ask the kernel to end this child when the supervisor dies without a word (prctl(2), PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), STOP_SECONDS)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def wait_for(question: Callable[[], Awaitable[bool]], seconds: float, *, every: float = 0.05) -> bool:
    """Ask until the answer is yes; tell whether it was within `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if await question():
            return True
        await asyncio.sleep(every)
    return False
