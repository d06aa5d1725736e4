"""One controller's connection to the model of an API server, where things go wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from broch_workspaces.cluster.controller.api import Event
from broch_workspaces.cluster.controller.client import WRITE_SECONDS
from broch_workspaces.cluster.controller.failures import ApiError, Unreachable
from broch_workspaces.cluster.controller.kinds import (
    LEASE,
    NAMESPACE,
    STORAGE_CLASS,
    VOLUME,
    Kind,
    Manifest,
    Ref,
)
from broch_workspaces.cluster.spec import PART_OF, PROJECT_LABEL
from support.cluster_model import OURS, Model, copied


class ModelClient:
    """One controller's connection to the model: this is where things go wrong."""

    def __init__(self, model: Model, who: str) -> None:
        self._model = model
        self._who = who
        self.dead = False
        self.lease_away_until = 0.0
        """Until then the lease alone cannot be reached: the worst that can happen to a leader that still writes."""

    async def _fault(self, ref: Ref | None = None) -> None:
        """Take some time, and perhaps fail before anything was done."""
        rng = self._model.rng
        await asyncio.sleep(rng.uniform(0.001, 0.02))
        if self.dead:
            raise Unreachable("dead")
        if (
            ref is not None
            and ref.kind is LEASE
            and asyncio.get_running_loop().time() < self.lease_away_until
        ):
            await asyncio.sleep(rng.uniform(0.0, WRITE_SECONDS))
            raise Unreachable("the lease is away")
        if rng.random() < self._model.faults:
            if rng.random() < 0.4:
                await asyncio.sleep(rng.uniform(0.0, WRITE_SECONDS))
                raise Unreachable("time-out")
            status = rng.choice([429, 500, 503, 409])
            raise ApiError(status, "Conflict" if status == 409 else "", "by the seed")

    async def _write(self, ref: Ref, act: Callable[[], Any]) -> Any:
        await self._fault(ref)
        rng, late = self._model.rng, False
        if rng.random() < self._model.faults:
            # Done, some time before the caller gives up, and the answer is lost.
            await asyncio.sleep(rng.uniform(0.0, WRITE_SECONDS - 0.1))
            late = True
        answer = act()
        self._model.wrote(self._who, ref)
        if late or self.dead:
            raise Unreachable("the answer was lost")
        return answer

    async def get(self, ref: Ref) -> Manifest | None:
        await self._fault(ref)
        if ref.kind is STORAGE_CLASS:
            return {"volumeBindingMode": "Immediate"}
        return copied(self._model.objects.get(ref))

    async def list(
        self, kind: Kind, each: Callable[[Manifest], None], *, selector: str = "", namespace: str = ""
    ) -> str:
        await self._fault()
        version = str(self._model.version)
        for ref, item in list(self._model.objects.items()):
            wanted = ref.kind is kind and (not namespace or ref.namespace == namespace)
            if wanted and (not selector or _selected(item)):
                each(copied(item))
        if self._model.rng.random() < self._model.faults:
            raise Unreachable("in the middle of a list")
        return version

    async def watch(self, kind: Kind, *, selector: str, version: str) -> AsyncIterator[Event]:
        del selector
        await self._fault()
        model, at = self._model, int(version)
        shown = {ref for ref, item in model.objects.items() if ref.kind is kind and _selected(item)}
        while True:
            wake = model.changed(kind)
            for number, event, ref, item in model.since(at, kind):
                at = number
                if model.rng.random() < model.faults / 4:
                    raise Unreachable("cut")
                if not _selected(item) or event == "DELETED":
                    if ref in shown or event == "DELETED" or item["metadata"].get("labels"):
                        yield Event("DELETED", copied(item))
                    continue
                yield Event("MODIFIED", copied(item))
            # Twice: it wakes for its own kind's changes only.
            if model.rng.random() < model.faults * 2:
                return
            await asyncio.sleep(model.rng.uniform(0.0, 0.3 if model.faults else 0.01))
            if self.dead:
                raise Unreachable("dead")
            await wake.wait()

    async def apply(self, ref: Ref, manifest: Manifest) -> Manifest:
        return await self._write(ref, lambda: self._apply(ref, manifest))

    def _apply(self, ref: Ref, manifest: Manifest) -> Manifest:
        there = self._model.objects.get(ref)
        item = copied(manifest)
        if there is None:
            item["metadata"] = self._model.new_metadata(ref, manifest) | {"managedFields": [OURS]}
            return self._model.store(ref, item, new=True)
        merged = copied(there)
        merged["metadata"]["labels"] |= manifest["metadata"].get("labels") or {}
        merged["metadata"].setdefault("annotations", {}).update(manifest["metadata"].get("annotations") or {})
        others = [
            entry for entry in there["metadata"].get("managedFields", ()) if entry["manager"] != "broch"
        ]
        merged["metadata"]["managedFields"] = [OURS, *others]
        for part in set(item) - {"metadata", "apiVersion", "kind"}:
            added = (
                {"theirs": there[part]["theirs"]} if others and "theirs" in (there.get(part) or {}) else {}
            )
            kept = {key: there[part][key] for key in ("volumeName",) if key in (there.get(part) or {})}
            if ref.kind is VOLUME:
                kept["claimRef"] = (there[part] or {}).get("claimRef")
            merged[part] = item[part] if not isinstance(item[part], dict) else {**item[part], **kept, **added}
        if merged == there:
            return copied(there)
        return self._model.store(ref, merged, new=False)

    async def replace(self, ref: Ref, manifest: Manifest) -> Manifest:
        def act() -> Manifest:
            there = self._model.objects.get(ref)
            if there is None:
                raise ApiError(404, "NotFound", "")
            if manifest["metadata"].get("resourceVersion") != there["metadata"]["resourceVersion"]:
                raise ApiError(409, "Conflict", "the object has been modified")
            item = copied(manifest)
            item["metadata"] = {**there["metadata"], **item["metadata"]}
            if ref.kind is not LEASE:
                item["metadata"]["managedFields"] = [OURS]
            if "status" in there:
                item["status"] = there["status"]
            return self._model.store(ref, item, new=False)

        return await self._write(ref, act)

    async def create(self, ref: Ref, manifest: Manifest) -> Manifest:
        def act() -> Manifest:
            if ref in self._model.objects:
                raise ApiError(409, "AlreadyExists", "already exists")
            item = copied(manifest)
            item["metadata"] = self._model.new_metadata(ref, manifest) | {"managedFields": []}
            return self._model.store(ref, item, new=True)

        return await self._write(ref, act)

    async def merge(self, ref: Ref, patch: Manifest) -> Manifest:
        def act() -> Manifest:
            there = self._model.objects.get(ref)
            if there is None:
                raise ApiError(404, "NotFound", "")
            return self._model.store(ref, _merged(there, patch), new=False)

        return await self._write(ref, act)

    async def delete(self, ref: Ref, *, uid: str, version: str = "", grace: int | None = None) -> None:
        del grace

        def act() -> None:
            there = self._model.objects.get(ref)
            if there is None:
                return
            metadata = there["metadata"]
            if metadata["uid"] != uid or version not in {"", metadata["resourceVersion"]}:
                raise ApiError(409, "Conflict", "the precondition does not hold")
            if ref.kind is NAMESPACE:
                metadata["deletionTimestamp"] = "now"
                there["status"] = {"phase": "Terminating"}
                self._model.store(ref, there, new=False)
            else:
                self._model.remove(ref)

        await self._write(ref, act)


def _selected(item: Manifest) -> bool:
    labels = item["metadata"].get("labels") or {}
    return labels.get(PART_OF) == "broch" and PROJECT_LABEL in labels


def _merged(there: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    result = dict(there) if isinstance(there, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(result.get(key), value)
    return result
