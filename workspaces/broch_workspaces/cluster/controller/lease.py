"""Who leads: one Lease of Kubernetes. Only its holder writes, and it stops in time when it cannot renew it.

No clock is compared between machines: a waiting controller counts, by its own clock, how long the lease has not
changed; the holder counts from before its last renewal. Each renewal names the version it renews, so two can never
both succeed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import structlog

from broch_workspaces.cluster.controller.api import Api
from broch_workspaces.cluster.controller.failures import ApiError, ClusterError
from broch_workspaces.cluster.controller.kinds import LEASE, Manifest, Ref

DURATION = 20.0
"""Seconds that others wait after the last renewal that they saw."""
DEADLINE = 11.0
"""Seconds after its last renewal in which the holder may still begin a write. With the longest write (7 s) this ends
two seconds before anybody else begins."""
RENEW = 3.0
"""Seconds between renewals."""
RETRY = 1.0
log = structlog.get_logger()


class Leadership:
    """One contender for a lease.

    Args:
        api: the API server, not fenced.
        namespace: of the lease: the release's own.
        name: of the lease.
        holder: this process; unlike every other one.
    """

    def __init__(self, api: Api, *, namespace: str, name: str, holder: str) -> None:
        self._api = api
        self._ref = Ref(LEASE, namespace, name)
        self._holder = holder
        self._renewed: float | None = None
        self._observed: tuple[str, float] = ("", 0.0)

    def holds(self) -> bool:
        """Return whether a write may begin now."""
        return self._renewed is not None and _now() - self._renewed < DEADLINE

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Contend for ever; while this process leads, `lead` runs, and is cancelled when it no longer does."""
        while True:
            await self._acquire()
            log.info("leader.began", holder=self._holder)
            work = asyncio.ensure_future(lead())
            try:
                await self._keep(work)
            finally:
                self._renewed = None
                work.cancel()
                # Also what broke in the work: it was told there, and the next term begins anew.
                with suppress(Exception, asyncio.CancelledError):
                    await work
                log.info("leader.ended", holder=self._holder)
            await asyncio.sleep(RETRY)

    async def release(self) -> None:
        """Let the next one in at once. For an orderly end, after everything has stopped."""
        with suppress(ClusterError):
            lease = await self._api.get(self._ref)
            if lease is not None and lease["spec"].get("holderIdentity") == self._holder:
                lease["spec"]["holderIdentity"] = ""
                await self._api.replace(self._ref, lease)

    async def _acquire(self) -> None:
        while True:
            with suppress(ClusterError):
                if await self._try():
                    return
            await asyncio.sleep(RETRY)

    async def _keep(self, work: asyncio.Future[None]) -> None:
        while not work.done():
            await asyncio.wait({work}, timeout=RENEW)
            try:
                async with asyncio.timeout(max(0.1, DEADLINE - self._age())):
                    if not await self._try():
                        return
            except (ClusterError, TimeoutError):
                if not self.holds():
                    return

    def _age(self) -> float:
        return DEADLINE if self._renewed is None else _now() - self._renewed

    async def _try(self) -> bool:
        """Take or renew the lease. The time that counts is the one before we asked."""
        asked = _now()
        lease = await self._api.get(self._ref)
        if lease is None:
            taken = await self._write(lambda: self._api.create(self._ref, self._lease(None)))
        elif self._free(lease, asked):
            taken = await self._write(lambda: self._api.replace(self._ref, self._lease(lease)))
        else:
            taken = False
        self._renewed = asked if taken else None
        return taken

    def _free(self, lease: Manifest, now: float) -> bool:
        version = lease["metadata"]["resourceVersion"]
        if self._observed[0] != version:
            self._observed = (version, now)
        holder = (lease.get("spec") or {}).get("holderIdentity")
        return not holder or holder == self._holder or now - self._observed[1] > DURATION

    async def _write(self, write: Callable[[], Awaitable[Manifest]]) -> bool:
        try:
            await write()
        except ApiError as error:
            if error.status == 409:
                return False
            raise
        return True

    def _lease(self, before: Manifest | None) -> Manifest:
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        spec: dict[str, Any] = dict((before or {}).get("spec") or {})
        if spec.get("holderIdentity") != self._holder:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + (before is not None)
        spec |= {"holderIdentity": self._holder, "leaseDurationSeconds": int(DURATION), "renewTime": now}
        metadata = {"namespace": self._ref.namespace, "name": self._ref.name}
        if before is not None:
            metadata["resourceVersion"] = before["metadata"]["resourceVersion"]
        return {
            "apiVersion": LEASE.group_version,
            "kind": LEASE.name,
            "metadata": metadata,
            "spec": spec,
        }


def _now() -> float:
    return asyncio.get_running_loop().time()
