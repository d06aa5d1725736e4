"""The broker's sandboxes: started, waiting warm, taken once, ended for certain."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import secrets
import time
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import structlog

from broch_workspaces.sandboxes.settings import BrokerSettings
from broch_workspaces.sandboxes.starting import Starter, StartFailed

_log = structlog.get_logger(__name__)
_LOOK_SECONDS = 2.0
"""How often a pod that has not called back is looked at."""
_RETRY_SECONDS = 0.5
_LONGEST_PAUSE = 60.0
_END_TRIES = 8
"""Tries to delete a pod, at growing distances; the sweep has the rest."""


@dataclass(eq=False)
class Sandbox:
    """A sandbox that has called back."""

    name: str
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    since: float = field(default_factory=time.monotonic)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when its connection may be closed."""


@dataclass(eq=False)
class _Warm:
    sandbox: Sandbox
    watch: asyncio.Task[bytes]
    """Ends when the sandbox says anything or goes, both before its time."""


class Pool:
    """All sandboxes of one broker.

    Args:
        starter: makes and ends them.
        settings: how many wait, and for how long.
    """

    def __init__(self, starter: Starter, settings: BrokerSettings) -> None:
        self._starter = starter
        self._settings = settings
        self._invited: dict[bytes, tuple[str, asyncio.Future[Sandbox]]] = {}
        self._warm: deque[_Warm] = deque()
        self._names: set[str] = set()
        self._wanted = asyncio.Event()
        self._background: set[asyncio.Task[None]] = set()
        self.failure = ""
        """Why the last start failed; empty after one that did not."""

    @property
    def warm(self) -> int:
        """How many wait for a job."""
        return len(self._warm)

    def admit(
        self, token: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Sandbox | None:
        """Take in a sandbox that calls back; None for a token that is unknown or was shown before."""
        digest = hashlib.sha256(token).digest()
        # Found by digest: what can be measured says nothing of the token. It is good once.
        known = next((one for one in self._invited if hmac.compare_digest(one, digest)), None)
        if known is None:
            return None
        name, arrival = self._invited.pop(known)
        if arrival.done():
            return None
        sandbox = Sandbox(name, reader, writer)
        arrival.set_result(sandbox)
        return sandbox

    async def take(self) -> Sandbox:
        """Return a sandbox that nobody has used: one that waits, or a fresh one.

        Raises:
            StartFailed: none can be made.
        """
        while self._warm:
            waiting = self._warm.popleft()
            self._wanted.set()
            try:
                quiet = await _still_quiet(waiting)
            except BaseException:  # who asked has gone: nobody else knows this one any more
                self.end(waiting.sandbox)
                raise
            if quiet:
                return waiting.sandbox
            self.end(waiting.sandbox)
        return await self._start()

    def end(self, sandbox: Sandbox) -> None:
        """End a sandbox, now and for certain; its pod is deleted in the background."""
        sandbox.over.set()
        self._in_background(self._delete(sandbox.name))

    async def keep_warm(self) -> None:
        """Keep as many waiting as are wanted, none of them too long. Runs until cancelled."""
        pause = 1.0
        while True:
            self._wanted.clear()
            self._retire()
            if len(self._warm) >= self._settings.warm:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wanted.wait(), _LONGEST_PAUSE / 4)
                continue
            try:
                sandbox = await self._start()
            except StartFailed as failed:
                _log.warning("sandboxes.warm_failed", reason=failed.what)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            pause = 1.0
            self._hold(sandbox)

    async def keep_swept(self) -> None:
        """Remove what brokers that died have left, at once and now and then. Runs until cancelled."""
        while True:
            try:
                if removed := await self._starter.sweep(self._names):
                    _log.info("sandboxes.swept", removed=removed)
            except StartFailed as failed:
                _log.warning("sandboxes.sweep_failed", reason=failed.what)
            await asyncio.sleep(self._settings.sweep_seconds)

    async def close(self) -> None:
        """End everything that waits, and wait for what is being deleted."""
        while self._warm:
            waiting = self._warm.popleft()
            waiting.watch.cancel()
            self.end(waiting.sandbox)
        if self._background:
            await asyncio.wait(self._background, timeout=10)

    def _hold(self, sandbox: Sandbox) -> None:
        waiting = _Warm(sandbox, asyncio.create_task(sandbox.reader.read(1)))
        self._warm.append(waiting)
        waiting.watch.add_done_callback(lambda _: self._lost(waiting))

    def _lost(self, waiting: _Warm) -> None:
        """Replace one that went, or spoke, while it waited."""
        if waiting in self._warm:
            self._warm.remove(waiting)
            self.end(waiting.sandbox)
            self._wanted.set()

    def _retire(self) -> None:
        """Replace those that have waited long: their deadline is counted from their start."""
        oldest = time.monotonic() - self._settings.warm_seconds
        for waiting in [one for one in self._warm if one.sandbox.since < oldest]:
            self._warm.remove(waiting)
            waiting.watch.cancel()
            self.end(waiting.sandbox)

    async def _start(self) -> Sandbox:
        """Have one made, and wait until it calls back."""
        name = f"sandbox-{secrets.token_hex(8)}"
        token = secrets.token_hex(32)
        arrival: asyncio.Future[Sandbox] = asyncio.get_running_loop().create_future()
        digest = hashlib.sha256(token.encode()).digest()
        self._invited[digest] = (name, arrival)
        self._names.add(name)
        started = time.monotonic()
        try:
            sandbox = await self._arrival(name, token, arrival)
        except BaseException as error:
            if arrival.done() and not arrival.cancelled():
                arrival.result().over.set()
            arrival.cancel()
            if isinstance(error, StartFailed):
                self.failure = error.what
            self._in_background(self._delete(name))
            raise
        finally:
            self._invited.pop(digest, None)
        self.failure = ""
        _log.info("sandboxes.started", sandbox=name, seconds=round(time.monotonic() - started, 3))
        return sandbox

    async def _arrival(self, name: str, token: str, arrival: asyncio.Future[Sandbox]) -> Sandbox:
        deadline = time.monotonic() + self._settings.start_seconds
        while True:
            try:
                await self._starter.start(name, token)
                break
            except StartFailed as failed:
                if failed.lasting or time.monotonic() > deadline:
                    raise
                await asyncio.sleep(_RETRY_SECONDS)
        while (left := deadline - time.monotonic()) > 0:
            await asyncio.wait({arrival}, timeout=min(left, _LOOK_SECONDS))
            if arrival.done():
                return arrival.result()
            if trouble := await self._starter.trouble(name):
                raise StartFailed(trouble)
        raise StartFailed("The sandbox did not start in time.")

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _delete(self, name: str) -> None:
        pause = _RETRY_SECONDS
        for _ in range(_END_TRIES):
            try:
                await self._starter.end(name)
                break
            except StartFailed as failed:
                _log.warning("sandboxes.end_failed", sandbox=name, reason=failed.what)
                await asyncio.sleep(pause)
                pause *= 2
        # From here on the sweep may have it.
        self._names.discard(name)


async def _still_quiet(waiting: _Warm) -> bool:
    """Stop watching; False when it has gone or spoken."""
    if waiting.watch.done():
        return False
    waiting.watch.cancel()
    await asyncio.wait({waiting.watch})
    return waiting.watch.cancelled() and not waiting.sandbox.reader.at_eof()
