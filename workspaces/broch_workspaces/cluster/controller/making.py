"""A zone's objects applied on the API server until they are as they shall be, and never what is not Broch's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import structlog

from broch_workspaces.cluster.controller.api import Api
from broch_workspaces.cluster.controller.binding import Bindings
from broch_workspaces.cluster.controller.cache import Cache
from broch_workspaces.cluster.controller.failures import ApiError, Permanent, Temporary, fixed, plain
from broch_workspaces.cluster.controller.inventory import Proof, Wanted, in_force, proof, stages
from broch_workspaces.cluster.controller.kinds import CLAIM, FIXED, NAMESPACE, VOLUME, Manifest, Ref
from broch_workspaces.cluster.controller.objects import Seen, digest, has_foreign_fields, never_bound, seen
from broch_workspaces.cluster.spec import namespace_of

_OF_A_CLAIM = ("accessModes", "resources", "storageClassName", "volumeMode")
"""What of a claim cannot be changed at all, or not by everybody."""
KEPT_AGAIN = 3600.0
"""Seconds after which a claim that kept its size is tried again: its class may let volumes grow by then."""
T = TypeVar("T")
log = structlog.get_logger()


class Maker:
    """Applies, and remembers what the API server answered.

    Args:
        api: the API server, fenced.
        cache: what it showed.
        bindings: which claims wait for their volumes.
    """

    def __init__(self, api: Api, cache: Cache, bindings: Bindings) -> None:
        self._api = api
        self._cache = cache
        self._bindings = bindings
        self._applied: dict[str, dict[Ref, Proof]] = {}
        self._kept: dict[str, dict[Ref, float]] = {}

    def again(self, project: str) -> float | None:
        """Return the seconds until something of a zone is tried again that was kept as it is; None: nothing was."""
        due = self._kept.get(namespace_of(project))
        return max(min(due.values()) - _now(), 1.0) if due else None  # never a busy loop

    def proofs(self, project: str) -> dict[Ref, Proof]:
        """Return what is kept of the answers about a zone."""
        return self._applied.setdefault(project, {})

    def forget(self, project: str) -> None:
        """Forget a zone."""
        self._applied.pop(project, None)
        self._kept.pop(namespace_of(project), None)

    async def make(self, project: str, wanted: Wanted, *, extensions: bool) -> None:
        """Apply what is not yet as it shall be, stage by stage.

        Args:
            project: in lower case.
            wanted: the objects of its zone.
            extensions: those of kinds that an extension of the cluster brings, or all others.

        Raises:
            Temporary: try again.
            Permanent: a person must do something first.
        """
        applied = self.proofs(project)
        kept = self._kept.get(namespace_of(project), {})
        for ref in kept.keys() - wanted.keys():
            del kept[ref]
        for ref in (applied.keys() - wanted.keys()) | {ref for ref in kept if kept[ref] <= _now()}:
            applied.pop(ref, None)
        part = {ref: wanted[ref] for ref in wanted if bool(ref.kind.extension) is extensions}
        for stage in stages(part):
            # Those of a stage need nothing of each other; what failed is told when all are through.
            now = [ref for ref in stage if not self._bindings.too_early(ref, wanted[ref])]
            results = await asyncio.gather(
                *(self._make_one(applied, ref, wanted[ref]) for ref in now), return_exceptions=True
            )
            failures = [result for result in results if isinstance(result, BaseException)]
            if failures:
                raise min(failures, key=lambda failure: not isinstance(failure, Permanent))

    async def _make_one(self, applied: dict[Ref, Proof], ref: Ref, manifest: Manifest) -> None:
        meant = digest(manifest)
        now = self._cache.get(ref)
        if in_force(applied.get(ref), meant, now) and not _is_spent(ref, now):
            return
        self._kept.get(ref.namespace, {}).pop(ref, None)
        if not ref.kind.namespaced:
            await self._may_take(ref, now, manifest)
        if now is not None and _is_spent(ref, now):
            # Its claim is gone, or it lost its volume: only a new one binds. The bytes lie elsewhere and stay.
            await written(ref, self._api.delete(ref, uid=now.uid, version=now.version))
            raise Temporary("A data volume is being attached anew.", delay=0.5)
        if ref.kind is VOLUME and now is not None and now.leaving:
            await written(ref, self._attach_anew(ref, manifest))
            return
        got = await written(ref, self._apply_one(ref, manifest))
        if got is None:
            return
        if ref.kind.strict and has_foreign_fields(got):
            version = got["metadata"]["resourceVersion"]
            whole = {**manifest, "metadata": {**manifest["metadata"], "resourceVersion": version}}
            got = await written(ref, self._api.replace(ref, whole))
            log.warning("zone.repaired", object=str(ref))
        applied[ref] = proof(meant, seen(ref.kind, got))

    async def _apply_one(self, ref: Ref, manifest: Manifest) -> Manifest | None:
        """Return what is there now; None: another one has to be made, once this one is gone."""
        try:
            return await self._api.apply(ref, manifest)
        except ApiError as error:
            if ref.kind is CLAIM and fixed(error):
                return await self._keep(ref, manifest, error)
            if ref.kind is VOLUME and fixed(error):
                await self._attach_anew(ref, manifest)
                return None
            there = await self._api.get(ref) if ref.kind in FIXED and error.status == 422 else None
            if there is None:
                raise
            # Which role it binds, or where it leads, cannot be changed. It is another than it should: away with it.
            log.warning("zone.repaired", object=str(ref))
            await self._api.delete(ref, uid=there["metadata"]["uid"])
            return await self._api.apply(ref, manifest)

    async def _keep(self, ref: Ref, manifest: Manifest, refusal: ApiError) -> Manifest | None:
        """Apply a claim with the size and class that it has: bytes of people are in it, and it does its work as it is.

        One that never had a volume holds nothing, and goes: another one has to be made.

        Raises:
            ApiError: it holds none, or the cluster refuses more than that.
        """
        found: list[Manifest] = []
        await self._api.list(CLAIM, found.append, namespace=ref.namespace)
        there = next((one for one in found if one["metadata"]["name"] == ref.name), None)
        if there is None or not seen(CLAIM, there).kept:
            raise refusal
        if never_bound(there):
            # The version says that no volume came meanwhile.
            metadata = there["metadata"]
            if "deletionTimestamp" not in metadata:
                await self._api.delete(ref, uid=metadata["uid"], version=metadata["resourceVersion"])
            return None
        self._kept.setdefault(ref.namespace, {})[ref] = _now() + KEPT_AGAIN
        log.warning("zone.volume_kept", object=str(ref), reason=refusal.message[:300])
        as_it_is = {key: there["spec"][key] for key in _OF_A_CLAIM if key in there["spec"]}
        return await self._api.apply(ref, {**manifest, "spec": {**manifest["spec"], **as_it_is}})

    async def _attach_anew(self, ref: Ref, manifest: Manifest) -> None:
        """Delete a data volume with its claim, so that another is made: its bytes lie elsewhere, and stay.

        Kubernetes keeps both until no pod mounts them any more.
        """
        claim = manifest["spec"]["claimRef"]
        for one in (Ref(CLAIM, claim["namespace"], claim["name"]), ref):
            now = self._cache.get(one)
            if now is not None and now.ours and not now.kept and not now.leaving:
                log.warning("zone.data_moved", object=str(one))
                await self._api.delete(one, uid=now.uid, version=now.version)

    async def _may_take(self, ref: Ref, now: Seen | None, manifest: Manifest) -> None:
        """Refuse to take over what is not Broch's, or another project's."""
        if now is not None and now.leaving and ref.kind is NAMESPACE:
            raise Temporary("An earlier zone of this project is still being removed.", delay=1)
        if now is None:
            there = await written(ref, self._api.get(ref))
            if there is None:
                return
            labels = {**manifest["metadata"]["labels"], **(there["metadata"].get("labels") or {})}
            # Its managed fields tell, also where somebody took its labels away.
            now = seen(ref.kind, {**there, "metadata": {**there["metadata"], "labels": labels}})
        if not now.ours or now.project != seen(ref.kind, manifest).project:
            raise Permanent(
                f"What carries the name of this zone's {ref.kind.words} on the cluster is not Broch's; "
                "ask your administrator."
            )


def _now() -> float:
    return asyncio.get_running_loop().time()


async def written(ref: Ref, call: Awaitable[T]) -> T:
    """Await a call about an object.

    Raises:
        Temporary: try again.
        Permanent: a person must do something first.
    """
    try:
        return await call
    except ApiError as error:
        raise said(error, ref) from error


def said(error: ApiError, ref: Ref) -> Temporary | Permanent:
    """Say in plain words what a refusal means; the log has the API server's own."""
    words = plain(error, ref)
    log.warning("zone.refused", object=str(ref), status=error.status, reason=error.message[:300])
    return words


def _is_spent(ref: Ref, now: Seen | None) -> bool:
    """Return whether a volume or claim of a dataset can never be used again, as it is."""
    if now is None or now.leaving or now.kept or not now.ours:
        return False
    return (ref.kind is VOLUME and now.state in {"Released", "Failed"}) or (
        ref.kind is CLAIM and now.state == "Lost"
    )
