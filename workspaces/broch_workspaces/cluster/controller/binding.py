"""Claims of data and their volumes: how they become bound at once, and not with the cluster's next round.

Kubernetes looks at every claim and volume when it changes, and besides only every 15 seconds. Two things make it miss the
moment: a claim that is there before its volume was taken in, and a volume whose state both its workers write at the same
time, so that one gives up with a conflict and leaves the claim as it is (kube-controller-manager, `pv_controller.go`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

from broch_workspaces.cluster.controller.api import Api
from broch_workspaces.cluster.controller.cache import Cache
from broch_workspaces.cluster.controller.failures import ApiError
from broch_workspaces.cluster.controller.kinds import CLAIM, VOLUME, Manifest, Ref

WAIT = 0.3
"""Seconds that a claim has to become bound after its volume was, before it is touched."""
MOST_TOUCHES = 5
"""Then Kubernetes has more than a conflict, and its next round comes anyway."""
TOUCHED = "broch.dev/touched"
"""Annotation whose change has Kubernetes look at a claim again. It means nothing else."""


class Bindings:
    """Sees which claims and volumes wait for each other.

    Args:
        api: the API server, fenced.
        cache: what it showed.
    """

    def __init__(self, api: Api, cache: Cache) -> None:
        self._api = api
        self._cache = cache
        self._halfway: dict[Ref, tuple[str, float, int]] = {}

    def too_early(self, ref: Ref, manifest: Manifest) -> bool:
        """Tell whether an object is a new claim of a volume that the cluster has not taken in yet."""
        volume = _volume_of(ref, manifest)
        if volume is None or self._cache.get(ref) is not None:
            return False
        now = self._cache.get(volume)
        return now is None or now.leaving or now.state in {"", "Pending"}

    async def touch(self, wanted: Mapping[Ref, Manifest]) -> float | None:
        """Touch claims whose volume is bound while they are not.

        Args:
            wanted: the objects of a zone.

        Returns:
            Seconds until such a claim wants another look; None: there is none.
        """
        now = asyncio.get_running_loop().time()
        again = None
        for ref, manifest in wanted.items():
            uid = self._halfway_uid(ref, manifest)
            if uid is None:
                self._halfway.pop(ref, None)
                continue
            before = self._halfway.get(ref)
            if before is None or before[0] != uid:
                before = (uid, now, 0)
                self._halfway[ref] = before
            _, since, touches = before
            if touches >= MOST_TOUCHES:
                continue
            again = WAIT
            if now - since >= WAIT:
                self._halfway[ref] = (uid, now, touches + 1)
                with contextlib.suppress(ApiError):  # it would have been a help, no more
                    await self._api.apply(ref, _touched(manifest, touches + 1))
        return again

    def _halfway_uid(self, ref: Ref, manifest: Manifest) -> str | None:
        volume = _volume_of(ref, manifest)
        claim = self._cache.get(ref)
        if volume is None or claim is None or claim.leaving or claim.state != "Pending":
            return None
        there = self._cache.get(volume)
        return claim.uid if there is not None and there.state == "Bound" else None

    def forget(self, namespace: str) -> None:
        """Forget a zone."""
        self._halfway = {ref: known for ref, known in self._halfway.items() if ref.namespace != namespace}


def _volume_of(ref: Ref, manifest: Manifest) -> Ref | None:
    name = manifest["spec"].get("volumeName") if ref.kind is CLAIM else None
    return Ref(VOLUME, "", name) if name else None


def _touched(manifest: Manifest, number: int) -> Manifest:
    metadata = manifest["metadata"]
    annotations = {**(metadata.get("annotations") or {}), TOUCHED: str(number)}
    return {**manifest, "metadata": {**metadata, "annotations": annotations}}
