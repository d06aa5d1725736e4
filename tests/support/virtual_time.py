"""An event loop whose clock jumps to whatever is due next: hours of waiting take no time, in the same order."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class VirtualLoop(asyncio.SelectorEventLoop):
    """For code that waits only by the loop's own clock, and talks to nobody outside."""

    _virtual = 0.0

    def time(self) -> float:
        return self._virtual

    def _run_once(self) -> None:
        if not self._ready:
            due = [handle._when for handle in self._scheduled if not handle._cancelled]
            if not due:
                raise AssertionError("everything waits, and nothing will ever happen")
            self._virtual = max(self._virtual, min(due))
        super()._run_once()


def run(main: Coroutine[Any, Any, Any]) -> Any:
    """Run to the end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
