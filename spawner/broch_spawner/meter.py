"""Bytes that went to browsers, per workspace: counted by the proxy, told to the control plane."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog
from pydantic import TypeAdapter

from broch_spawner.control import ControlPlaneError

log = structlog.get_logger()

_COUNTS = TypeAdapter(dict[str, int])
EVERY_SECONDS = 10.0
FULL = 8 << 20
"""Bytes that one workspace may have uncounted before they are told at once. A hub that is killed forgets what was counted
since the last report: at most these, those of one call to the control plane, and ten seconds."""


class Meter:
    """Adds up what each workspace showed, and tells the difference every few seconds.

    What the control plane does not take is kept in a file, told later, and survives a restart of the hub. A report whose
    answer got lost is told again: it may be counted twice, never not at all.

    Args:
        post: tells that a principal's workspace showed so many more bytes; raises `ControlPlaneError`.
        file: where counts wait that were not taken.
        every: seconds between two reports.
        full: bytes of one workspace that are told at once.
    """

    def __init__(
        self,
        post: Callable[[str, int], Awaitable[None]],
        file: Path,
        *,
        every: float = EVERY_SECONDS,
        full: int = FULL,
    ) -> None:
        self._post = post
        self._file = file
        self._every = every
        self._full = full
        self._waiting: defaultdict[str, int] = defaultdict(int)
        self._now = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Take up what an earlier process left, and begin."""
        with contextlib.suppress(OSError, ValueError):
            for principal, size in _COUNTS.validate_json(self._file.read_bytes()).items():
                self._waiting[principal] += size
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Tell what is left, and end."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self.flush()

    def add(self, host: str, size: int) -> None:
        """Count `size` bytes sent to a browser from a workspace's `host`, whose first label is the principal."""
        principal = host.partition(".")[0]
        self._waiting[principal] += size
        if self._waiting[principal] >= self._full:
            self._now.set()

    def close(self, host: str) -> None:
        """Tell at once what is left of a workspace that ends."""
        if self._waiting.get(host.partition(".")[0]):
            self._now.set()

    async def flush(self) -> None:
        """Tell everything; what is not taken waits in the file."""
        for principal in list(self._waiting):
            size = self._waiting.pop(principal)
            try:
                await self._post(principal, size)
            except ControlPlaneError:
                self._waiting[principal] += size
            except BaseException:
                self._waiting[principal] += size
                self._keep()
                raise
        self._keep()

    def _keep(self) -> None:
        """Write down what waits. Where that fails it waits in memory, and telling goes on: a full disk ends no count."""
        try:
            if not self._waiting:
                self._file.unlink(missing_ok=True)
                return
            fresh = self._file.with_suffix(".new")
            fresh.write_text(json.dumps(self._waiting), encoding="ascii")
            fresh.chmod(0o600)
            os.replace(fresh, self._file)  # noqa: PTH105 - says in one word that it is atomic
        except OSError:
            log.exception("workspace.shown_unkept", workspaces=len(self._waiting))

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._now.wait(), self._every)
            self._now.clear()
            await self.flush()
            if self._waiting:
                # Nobody took it, or more came meanwhile: not again at once.
                await asyncio.sleep(min(1.0, self._every))
