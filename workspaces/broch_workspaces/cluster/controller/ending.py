"""The end of a zone: nothing runs, people's volumes are set aside, and only then the zone is deleted.

Each step is confirmed on the API server before the next one, and each look begins anew: whatever was cut off in the
middle is found again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from broch_core.clock import rfc3339, utc_now
from broch_workspaces.cluster.controller.api import Api
from broch_workspaces.cluster.controller.cache import Cache
from broch_workspaces.cluster.controller.failures import Permanent, Temporary
from broch_workspaces.cluster.controller.kinds import (
    ARCHIVED_AT,
    ARCHIVED_LABEL,
    CLAIM,
    ENDING,
    NAMESPACE,
    POD,
    QUOTA,
    VOLUME,
    Manifest,
    Ref,
    ref_of,
)
from broch_workspaces.cluster.controller.objects import seen
from broch_workspaces.cluster.spec import PART_OF, PROJECT_LABEL, ZoneSpec

STILL_RUNNING = "Workspaces of this project are still being stopped."


def closing(manifest: Manifest, since: str) -> Manifest:
    """Return a namespace's manifest with the annotation that says that the zone ends."""
    metadata = dict(manifest["metadata"])
    metadata["annotations"] = {**(metadata.get("annotations") or {}), ENDING: since}
    return {**manifest, "metadata": metadata}


async def end_pods(api: Api, namespace: str, *, mounting: set[str] | None = None) -> int:
    """Delete pods of a namespace, and return how many are still there.

    Args:
        api: the API server.
        namespace: of the zone: there are no pods in it but ours.
        mounting: only those that mount one of these claims; None: all.
    """
    pods: list[tuple[Ref, str, bool]] = []

    def take(item: Manifest) -> None:
        claims = {
            volume["persistentVolumeClaim"]["claimName"]
            for volume in item["spec"].get("volumes") or ()
            if "persistentVolumeClaim" in volume
        }
        if mounting is None or claims & mounting:
            metadata = item["metadata"]
            pods.append((ref_of(POD, item), metadata["uid"], "deletionTimestamp" in metadata))

    await api.list(POD, take, namespace=namespace)
    for ref, uid, leaving in pods:
        if not leaving:
            await api.delete(ref, uid=uid)
    return len(pods)


class Ending:
    """Ends zones."""

    def __init__(self, api: Api, cache: Cache) -> None:
        self._api = api
        self._cache = cache

    async def go_on(self, spec: ZoneSpec, frame: dict[Ref, Manifest]) -> None:
        """Do what can be done now; returns when the zone is gone and everything that stays is safe.

        Args:
            spec: of the zone.
            frame: its namespace and quotas, as they are while nothing may run.

        Raises:
            Temporary: it is not over yet.
            Permanent: what carries the zone's name is not Broch's.
        """
        ref = Ref(NAMESPACE, "", spec.namespace)
        namespace = await self._api.get(ref)
        if namespace is not None:
            await self._close(spec, ref, namespace, frame)
        await self._delete_data_volumes(spec)
        if self._cache.get(ref) is not None:
            raise Temporary("The zone is being removed.", delay=1)

    async def _close(self, spec: ZoneSpec, ref: Ref, namespace: Manifest, frame: dict[Ref, Manifest]) -> None:
        project = spec.project_id.lower()
        known = seen(NAMESPACE, namespace)
        if not known.ours or known.project != project:
            raise Permanent(
                "What carries this zone's name on the cluster is not Broch's; ask your administrator."
            )
        if not known.leaving:
            since = (namespace["metadata"].get("annotations") or {}).get(ENDING) or rfc3339(utc_now())
            await self._api.apply(ref, closing(frame[ref], since))
            for other, manifest in frame.items():
                if other.kind is QUOTA:
                    await self._api.apply(other, manifest)
        if await end_pods(self._api, spec.namespace):
            raise Temporary(STILL_RUNNING, delay=1)
        if spec.held:
            # Without the namespace the hub would be refused for ever, and never know that the pods are gone.
            raise Temporary("The hub has not seen yet that the workspaces of this project are gone.", delay=1)
        await self._archive(spec)
        if not known.leaving:
            await self._api.delete(ref, uid=known.uid)
        raise Temporary("The zone is being removed.", delay=1)

    async def _archive(self, spec: ZoneSpec) -> None:
        """Set aside every volume that holds work of people. Confirmed: each is read again as the server has it."""
        claims: list[Manifest] = []
        await self._api.list(CLAIM, claims.append, namespace=spec.namespace)
        kept = [claim for claim in claims if seen(CLAIM, claim).kept]
        await self._delete_unbound(claim for claim in kept if not _volume_of(claim))
        for claim in kept:
            ref = Ref(VOLUME, "", _volume_of(claim))
            volume = await self._api.get(ref)
            if volume is None:
                continue
            if not _is_archived(volume, spec):
                await self._api.merge(ref, _archived(spec))
                volume = await self._api.get(ref)
            if volume is None or not _is_archived(volume, spec):
                raise Temporary("Volumes of this project are being archived.", delay=1)

    async def _delete_unbound(self, claims: Iterable[Manifest]) -> None:
        """Delete claims that never had a volume: one that came yet would go with the zone, and nobody would set it aside.

        Nothing runs, so nothing can have been written. The version says that no volume came meanwhile.
        """
        found = False
        for claim in claims:
            metadata, found = claim["metadata"], True
            await self._api.delete(
                ref_of(CLAIM, claim), uid=metadata["uid"], version=metadata["resourceVersion"]
            )
        if found:
            raise Temporary("Volumes of this project are being archived.", delay=1)

    async def _delete_data_volumes(self, spec: ZoneSpec) -> None:
        """Delete the static volumes of datasets: their bytes lie elsewhere and stay as they are."""
        left = [
            (ref, now)
            for ref, now in self._cache.of(spec.project_id.lower())
            if ref.kind is VOLUME and now.ours and not now.kept
        ]
        for ref, now in left:
            if not now.leaving:
                await self._api.delete(ref, uid=now.uid, version=now.version)
        if left:
            raise Temporary("Data volumes of the zone are being removed.", delay=1)


def _volume_of(claim: Manifest) -> str:
    return str((claim.get("spec") or {}).get("volumeName") or "")


def _archived(spec: ZoneSpec) -> dict[str, Any]:
    return {
        "metadata": {
            # Our own selector must never find it again: what is archived is out of reach of all pruning.
            "labels": {ARCHIVED_LABEL: spec.project_id.lower(), PROJECT_LABEL: None, PART_OF: None},
            "annotations": {ARCHIVED_AT: rfc3339(utc_now())},
        },
        "spec": {"persistentVolumeReclaimPolicy": "Retain"},
    }


def _is_archived(volume: Manifest, spec: ZoneSpec) -> bool:
    labels = volume["metadata"].get("labels") or {}
    return (
        labels.get(ARCHIVED_LABEL) == spec.project_id.lower()
        and PART_OF not in labels
        and volume["spec"].get("persistentVolumeReclaimPolicy") == "Retain"
    )
