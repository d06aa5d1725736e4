"""Sandboxes that wait for a job: each is given to one who asks, or ended; none is lost between."""

from __future__ import annotations

import asyncio
from collections.abc import Container
from types import SimpleNamespace
from typing import Any

import pytest

from broch_workspaces.sandboxes.pool import Pool


class CallsBack:
    """Makes sandboxes that call back at once."""

    def __init__(self) -> None:
        self.pool: Any = None
        self.made: list[Any] = []
        self.ended: list[str] = []

    async def start(self, _name: str, token: str) -> None:
        self.made.append(self.pool.admit(token.encode(), asyncio.StreamReader(), SimpleNamespace()))

    async def trouble(self, _name: str) -> str:
        return ""

    async def end(self, name: str) -> None:
        self.ended.append(name)

    async def sweep(self, _keep: Container[str]) -> int:
        return 0


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_a_sandbox_whose_asker_goes_at_that_moment_is_ended(turns: int) -> None:
    async def story() -> None:
        starter = CallsBack()
        settings: Any = SimpleNamespace(warm=1, warm_seconds=600.0, start_seconds=10.0)
        starter.pool = pool = Pool(starter, settings)
        keeping = asyncio.create_task(pool.keep_warm())
        for _ in range(20):
            await asyncio.sleep(0)
        assert pool.warm == 1
        keeping.cancel()
        [waiting] = starter.made
        asking = asyncio.create_task(pool.take())
        for _ in range(turns):
            await asyncio.sleep(0)
        asking.cancel()
        [got] = await asyncio.gather(asking, return_exceptions=True)
        await asyncio.sleep(0.01)
        kept = bool(pool.warm) or got is waiting
        assert kept is not waiting.over.is_set()
        assert kept is not (starter.ended == [waiting.name])

    asyncio.run(story())
