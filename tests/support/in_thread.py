"""An event loop in a thread, for tests that meet what runs in it from outside."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager


@contextmanager
def in_thread(name: str, what: AbstractAsyncContextManager[object]) -> Iterator[asyncio.AbstractEventLoop]:
    """Have something run in an event loop of its own for the time of a `with` block; what fails at its start fails here.

    Args:
        name: what a failure calls it.
        what: entered in the loop, and left at the end.
    """
    loops: list[asyncio.AbstractEventLoop] = []
    failure: list[BaseException] = []
    ready, stop = threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with what:
            loops.append(asyncio.get_running_loop())
            ready.set()
            await stop.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            failure.append(error)
            ready.set()
            raise

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    assert ready.wait(30), f"{name} does not start"
    if failure:
        raise failure[0]
    try:
        yield loops[0]
    finally:
        loops[0].call_soon_threadsafe(stop.set)
        thread.join(40)
        assert not thread.is_alive(), f"{name} does not end"
