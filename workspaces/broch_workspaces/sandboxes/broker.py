"""The broker: lets web have a sandbox, and puts the two together. It reads nothing that a sandbox writes."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from broch_workspaces.sandboxes.frames import (
    ACCEPTED,
    ASK,
    CHUNK,
    JOB,
    ORDER,
    REFUSED,
    TOKEN,
    BrokenFrame,
    frame,
    read_frame,
)
from broch_workspaces.sandboxes.order import Order
from broch_workspaces.sandboxes.pool import Pool, Sandbox
from broch_workspaces.sandboxes.settings import BrokerSettings
from broch_workspaces.sandboxes.starting import StartFailed

T = TypeVar("T")
_log = structlog.get_logger(__name__)
_FIRST_WORDS_SECONDS = 10.0
"""How long whoever connects may take to say who they are; web says all at once."""
_BUSY = (
    "All sandboxes are in use.",
    "Try again in a minute. If this stays, raise `sandboxes.checks` or `sandboxes.renders`.",
)
_NOT_MADE = "Look at the pods and events of the sandboxes' namespace."


class Refusal(Exception):
    """What web is told instead of being given a sandbox."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


class Broker:
    """Serves both doors.

    Args:
        pool: of sandboxes.
        settings: limits.
        token: returns the token that web is known by, anew each time: a Secret may change.
    """

    def __init__(self, pool: Pool, settings: BrokerSettings, token: Callable[[], bytes]) -> None:
        self._pool = pool
        self._settings = settings
        self._token = token
        self._slots = {kind: asyncio.Semaphore(most) for kind, most in settings.slots().items()}
        self._waiting = dict.fromkeys(settings.slots(), 0)
        self._running = dict.fromkeys(settings.slots(), 0)

    async def serve_sandbox(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take in a sandbox that calls back, and keep its connection as long as it is needed."""
        try:
            async with asyncio.timeout(_FIRST_WORDS_SECONDS):
                _, token = await read_frame(reader.readexactly, TOKEN)
        except (BrokenFrame, OSError, TimeoutError):
            return
        sandbox = self._pool.admit(token, reader, writer)
        if sandbox is None:
            _log.warning("sandboxes.unknown_token")
            return
        await sandbox.over.wait()

    async def serve_web(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one question of web, or give it one sandbox."""
        try:
            async with asyncio.timeout(_FIRST_WORDS_SECONDS):
                _, token = await read_frame(reader.readexactly, TOKEN)
                self._require_known(token)
                kind, payload = await read_frame(reader.readexactly, ORDER, ASK)
                if kind == ASK:
                    writer.write(frame(ACCEPTED, self._health()))
                    return
                _, job = await read_frame(reader.readexactly, JOB)
                order = self._checked(payload)
            await self._serve(order, payload, job, reader, writer)
        except Refusal as refusal:
            _log.warning("sandboxes.refused", reason=refusal.what)
            with contextlib.suppress(OSError):
                writer.write(_refused(refusal))
                await writer.drain()
        except (BrokenFrame, OSError, TimeoutError) as error:
            _log.info("sandboxes.caller_left", error=type(error).__name__)

    def _require_known(self, token: bytes) -> None:
        ours = self._token()
        shown, known = hashlib.sha256(token).digest(), hashlib.sha256(ours).digest()
        if not ours or not hmac.compare_digest(shown, known):
            raise Refusal("The broker does not know this token.", "Give both the same Secret.")

    def _health(self) -> bytes:
        """Return how things stand.

        Raises:
            Refusal: the last sandbox could not be made.
        """
        if self._pool.failure:
            raise Refusal(self._pool.failure, _NOT_MADE)
        return json.dumps({"warm": self._pool.warm, "running": self._running}).encode()

    def _checked(self, payload: bytes) -> Order:
        try:
            order = Order.parse(payload)
        except ValueError as error:
            raise Refusal(
                f"The broker does not take this order: {error}.", "Run the same release everywhere."
            ) from None
        if order.total > self._settings.inputs_bytes:
            raise Refusal(
                f"The files are {order.total} bytes together; a sandbox takes {self._settings.inputs_bytes}.",
                "Send them in several requests, or raise `sandboxes.inputsBytes`.",
            )
        return order

    async def _serve(
        self,
        order: Order,
        head: bytes,
        job: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        kind = order.kind
        await _unless_gone(reader, self._turn(kind), undo=lambda _: self._slots[kind].release())
        self._running[kind] += 1
        started = time.monotonic()
        end = "not_made"
        try:
            try:
                sandbox = await _unless_gone(reader, self._pool.take(), undo=self._pool.end)
            except StartFailed as failed:
                raise Refusal(failed.what, _NOT_MADE) from None
            try:
                sandbox.writer.write(frame(ORDER, head) + frame(JOB, job))
                writer.write(frame(ACCEPTED))
                end = await self._together(order.total, reader, writer, sandbox)
            finally:
                # At once: whatever it still does, nobody listens any more.
                self._pool.end(sandbox)
        finally:
            self._running[kind] -= 1
            self._slots[kind].release()
            seconds = round(time.monotonic() - started, 3)
            _log.info("sandboxes.ended", kind=kind, end=end, bytes_in=order.total, seconds=seconds)

    async def _turn(self, kind: str) -> None:
        """Wait for a turn, first come first served.

        Raises:
            Refusal: too many wait, or it took too long.
        """
        if self._waiting[kind] >= self._settings.waiting:
            raise Refusal(*_BUSY)
        self._waiting[kind] += 1
        try:
            async with asyncio.timeout(self._settings.wait_seconds()[kind]):
                await self._slots[kind].acquire()
        except TimeoutError:
            raise Refusal(*_BUSY) from None
        finally:
            self._waiting[kind] -= 1

    async def _together(
        self, total: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sandbox: Sandbox
    ) -> str:
        """Pass bytes both ways until either side ends; returns which."""
        inward = asyncio.create_task(_inputs(total, reader, sandbox.writer))
        outward = asyncio.create_task(_output(sandbox.reader, writer))
        try:
            done, _ = await asyncio.wait(
                {inward, outward},
                timeout=self._settings.most_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not done:
                return "too_long"
            return "sandbox" if outward in done else "caller"
        finally:
            inward.cancel()
            outward.cancel()
            await asyncio.wait({inward, outward})


async def _inputs(total: int, reader: asyncio.StreamReader, sandbox: asyncio.StreamWriter) -> None:
    """Pass the inputs in; then wait for the caller to go. Anything it says besides ends this too."""
    with contextlib.suppress(OSError):
        while total:
            part = await reader.read(min(total, CHUNK))
            if not part:
                return
            total -= len(part)
            sandbox.write(part)
            await sandbox.drain()
        await reader.read(1)


async def _output(sandbox: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass out what the sandbox writes, no faster than it is taken."""
    with contextlib.suppress(OSError):
        while part := await sandbox.read(CHUNK):
            writer.write(part)
            await writer.drain()


async def _unless_gone(
    reader: asyncio.StreamReader, work: Awaitable[T], undo: Callable[[T], None] | None = None
) -> T:
    """Return what the work comes to, or give it up as soon as the caller goes.

    Raises:
        BrokenFrame: the caller went, or spoke while it had to wait.
    """
    gone = asyncio.create_task(reader.read(1))
    working = asyncio.ensure_future(work)
    given = False
    try:
        await asyncio.wait({gone, working}, return_when=asyncio.FIRST_COMPLETED)
        if gone.done():
            raise BrokenFrame("the caller went before its turn")
        result = working.result()
        given = True
        return result
    finally:
        gone.cancel()
        working.cancel()
        await asyncio.wait({gone, working})
        if undo and not given and not working.cancelled() and working.exception() is None:
            undo(working.result())


def _refused(refusal: Refusal) -> bytes:
    return frame(REFUSED, json.dumps({"what": refusal.what[:500], "remedy": refusal.remedy[:500]}).encode())
