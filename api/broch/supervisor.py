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
from functools import partial
from pathlib import Path

import structlog

log = structlog.get_logger()

_libc = ctypes.CDLL(None)  # loaded before any fork: between fork and exec nothing may wait for a lock
_PR_SET_PDEATHSIG = 1

BACKOFF_SECONDS = (0.2, 0.5, 1, 2, 5, 10, 30)
STEADY_SECONDS = 15.0
"""A child that ran this long starts again without delay."""
STOP_SECONDS = 9.0
"""All children together; what is deaf then is killed. A person waits for it, and nothing is lost by a kill."""
LEAST_STOP_SECONDS = 1.5
"""Kept back for each child that is still to be ended."""
CANNOT_START = 127
"""Status of a child that could not be started at all, as shells say it."""
LOG_BYTES = 20 << 20
"""A log larger than this at a start is set aside as `.1`."""


@dataclass
class Child:
    """One service."""

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    """All of its environment: no service sees the secrets of another."""
    process: asyncio.subprocess.Process | None = None
    restarts: int = 0


class Supervisor:
    """Keeps its children running until told to stop."""

    def __init__(self, logs: Path, *, announce: Callable[[str], None]) -> None:
        self._logs = logs
        self._announce = announce
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._children: dict[str, Child] = {}
        self._stopping = asyncio.Event()

    def add(self, child: Child) -> None:
        """Start a child and keep it."""
        self._children[child.name] = child
        self._tasks[child.name] = asyncio.create_task(self._keep(child), name=child.name)

    async def stop(self) -> None:
        """End the children within `STOP_SECONDS`, last started first; none is started again from now on."""
        self._stopping.set()
        deadline = time.monotonic() + STOP_SECONDS
        waiting = len(self._children)
        for name in reversed(self._children):
            waiting -= 1
            child = self._children[name]
            if child.process is not None and child.process.returncode is None:
                left = deadline - time.monotonic() - waiting * LEAST_STOP_SECONDS
                await _end(child.process, max(left, LEAST_STOP_SECONDS))
            self._tasks[name].cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._tasks[name]

    async def _keep(self, child: Child) -> None:
        failures = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            status = await self._run(child)
            if self._stopping.is_set():
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
        try:
            if path.exists() and path.stat().st_size > LOG_BYTES:
                path.replace(path.with_suffix(".log.1"))
            with path.open("ab") as output:
                child.process = await asyncio.create_subprocess_exec(
                    *child.arguments,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=child.environment,
                    cwd="/",
                    start_new_session=True,
                    preexec_fn=partial(_end_with_parent, os.getpid()),
                )
        except OSError as error:
            # A full disk or a program taken away: tried again later, like any other end.
            log.warning("child.cannot_start", name=child.name, error=str(error))
            return CANNOT_START
        return await child.process.wait()


def _end_with_parent(parent: int) -> None:
    """Ask the kernel to kill this child when the supervisor dies without a word (prctl(2), PR_SET_PDEATHSIG).

    SIGKILL: a child that is deaf to SIGTERM would keep ports and database, and every child survives being killed.
    """
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked
        os._exit(CANNOT_START)


async def _end(process: asyncio.subprocess.Process, seconds: float) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), seconds)
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
