"""Storage classes: whether they exist, and whether their volumes wait for a first user."""

from __future__ import annotations

import asyncio

from broch_workspaces.cluster.controller.api import Api
from broch_workspaces.cluster.controller.kinds import STORAGE_CLASS, Ref
from broch_workspaces.cluster.controller.readiness import CLASS_MISSING

TRUST = 15.0
"""Seconds for which an answer is good: an administrator who adds a class sees zones go on soon."""


class StorageClasses:
    """Asks once for many zones."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._known: dict[str, tuple[float, str]] = {}

    async def mode(self, name: str) -> str:
        """Return the volume binding mode of a class, or `missing`."""
        now = asyncio.get_running_loop().time()
        at, mode = self._known.get(name, (-TRUST, ""))
        if now - at < TRUST:
            return mode
        there = await self._api.get(Ref(STORAGE_CLASS, "", name))
        mode = CLASS_MISSING if there is None else str(there.get("volumeBindingMode") or "Immediate")
        self._known[name] = (now, mode)
        return mode
