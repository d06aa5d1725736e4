"""How a sandbox comes to be: the one thing that differs between a cluster and a test with real processes."""

from __future__ import annotations

from collections.abc import Container
from typing import Protocol


class StartFailed(Exception):
    """A sandbox was not made.

    Args:
        what: one sentence for a person.
        lasting: trying again within the minute is of no use.
    """

    def __init__(self, what: str, *, lasting: bool = False) -> None:
        super().__init__(what)
        self.what = what
        self.lasting = lasting


class Starter(Protocol):
    """Makes sandboxes that call the broker back, and ends them."""

    async def start(self, name: str, token: str) -> None:
        """Ask for a sandbox of this name that shows this token.

        Raises:
            StartFailed: it was refused.
        """

    async def trouble(self, name: str) -> str:
        """Return why this sandbox will never call back, for a person; empty while it may."""

    async def end(self, name: str) -> None:
        """End it and remove what is left of it; one that is gone is ended.

        Raises:
            StartFailed: that could not be asked for now.
        """

    async def sweep(self, keep: Container[str]) -> int:
        """Remove sandboxes that nobody will: ours that are not in `keep`, others' that are over. Returns how many.

        Raises:
            StartFailed: that could not be asked for now.
        """
