"""Sizes, classes and places of data change in the platform's settings: zones that are there go on, and no bytes are touched."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from broch_workspaces.cluster.controller.failures import ApiError
from broch_workspaces.cluster.controller.kinds import CLAIM, STORAGE_CLASS, VOLUME, Manifest, Ref
from broch_workspaces.cluster.controller.making import KEPT_AGAIN
from broch_workspaces.cluster.manifests import data_volume_name
from broch_workspaces.cluster.sources import HostPathSource, NfsSource
from broch_workspaces.cluster.spec import (
    PART_OF,
    DataVolume,
    Home,
    ZonePhase,
    ZoneSpec,
    data_claim,
    home_claim,
)
from integration.controller.one_controller import ZONE, Bench, Client, told
from support import zone_objects as b
from support.cluster_model import Model

HOME = Ref(CLAIM, ZONE.namespace, home_claim(b.PERSON))
PROJECT = Ref(CLAIM, ZONE.namespace, "project")
DATA = Ref(CLAIM, ZONE.namespace, data_claim(b.VERSION))
DATA_VOLUME = Ref(VOLUME, "", data_volume_name(b.PROJECT, b.VERSION))
SOURCES = ("hostPath", "nfs", "csi")


class Strict(Client):
    """Refuses what Kubernetes 1.35 does (`ValidatePersistentVolumeClaimUpdate`, `PersistentVolumeClaimResize`), in its words."""

    def __init__(self, model: Model) -> None:
        super().__init__(model, kueue=True)
        self.expandable = True
        self.in_use = False
        """Whether a pod mounts the data: then claim and volume stay until it stops."""

    async def apply(self, ref: Ref, manifest: Manifest) -> Manifest:
        there = self._model.objects.get(ref)
        if there is not None and ref.kind is CLAIM:
            self._may_change(there, manifest)
        if there is not None and ref.kind is VOLUME:
            kinds = [{key: one["spec"].get(key) for key in SOURCES} for one in (there, manifest)]
            if kinds[0] != kinds[1]:
                raise ApiError(422, "Invalid", "spec.persistentvolumesource is immutable after creation")
        return await super().apply(ref, manifest)

    def _may_change(self, there: Manifest, manifest: Manifest) -> None:
        fixed = [{**one["spec"], "resources": None, "volumeName": None} for one in (there, manifest)]
        before, after = (int(one["spec"]["resources"]["requests"]["storage"]) for one in (there, manifest))
        bound = (there.get("status") or {}).get("phase") == "Bound"
        if fixed[0] != fixed[1] or (before != after and not bound):
            raise ApiError(
                422, "Invalid", "spec: Forbidden: spec is immutable after creation except resources.requests"
            )
        if after < before:
            raise ApiError(422, "Invalid", "field can not be less than status.capacity")
        if after > before and not self.expandable:
            words = "only dynamically provisioned pvc can be resized and the storageclass must support resize"
            raise ApiError(403, "Forbidden", words)

    async def delete(self, ref: Ref, *, uid: str, version: str = "", grace: int | None = None) -> None:
        there = self._model.objects.get(ref)
        if self.in_use and ref in {DATA, DATA_VOLUME} and there is not None:
            there["metadata"]["deletionTimestamp"] = "now"
            self._model.store(ref, there, new=False)
            return
        await super().delete(ref, uid=uid, version=version, grace=grace)


def _sized(spec: ZoneSpec, size: int) -> ZoneSpec:
    homes = tuple(Home(person_id=home.person_id, size_bytes=size) for home in spec.homes)
    return spec.model_copy(update={"homes": homes, "project_bytes": size, "imports_bytes": size})


def _moved(source: Any) -> ZoneSpec:
    return b.zone(data=(DataVolume(version_id=b.VERSION, source=source, size_bytes=10),))


async def _ready(bench: Bench, spec: ZoneSpec = ZONE) -> Strict:
    """Start, with a zone that is ready; return the client."""
    client = bench.client = Strict(bench.model)
    await bench.start(None)
    bench.plane.want(spec)
    await bench.until(lambda: bench.phase() is ZonePhase.READY)
    return client


def _storage(bench: Bench, ref: Ref) -> tuple[str, str]:
    item = bench.model.objects[ref]
    return item["metadata"]["uid"], item["spec"]["resources"]["requests"]["storage"]


@pytest.mark.parametrize("expandable", [True, False])
def test_a_size_that_is_raised_and_taken_back_leaves_zones_usable(expandable: bool) -> None:
    async def story(bench: Bench) -> None:
        client = await _ready(bench, _sized(ZONE, 1000))
        client.expandable = expandable
        uid, _ = _storage(bench, HOME)
        for size in (2000, 1000):
            bench.plane.want(_sized(ZONE, size))
            await bench.until(lambda: bench.phase() is ZonePhase.READY)
            # What was made larger stays so.
            assert _storage(bench, HOME) == (uid, "2000" if expandable else "1000")
            assert _storage(bench, PROJECT)[1] == ("2000" if expandable else "1000")

    told(story, kueue=True)


def test_a_volume_that_could_not_grow_does_once_its_class_lets_it() -> None:
    async def story(bench: Bench) -> None:
        client = await _ready(bench, _sized(ZONE, 1000))
        client.expandable = False
        bench.plane.want(_sized(ZONE, 2000))
        await bench.until(lambda: bench.phase() is ZonePhase.READY)
        client.expandable = True
        await asyncio.sleep(KEPT_AGAIN / 2)
        assert _storage(bench, HOME)[1] == "1000"
        await bench.until(lambda: _storage(bench, HOME)[1] == "2000", int(KEPT_AGAIN))
        await bench.until(lambda: bench.phase() is ZonePhase.READY)

    told(story, kueue=True)


def test_a_home_that_nobody_used_yet_does_not_stand_in_the_way_of_a_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bind = Model._bind

    def waits_for_use(model: Model, ref: Ref, item: Manifest) -> None:
        if ref.name.startswith("home-"):
            item.setdefault("status", {"phase": "Pending"})
        else:
            bind(model, ref, item)

    async def mode(_client: Client, ref: Ref) -> Manifest | None:
        assert ref.kind is STORAGE_CLASS
        return {"volumeBindingMode": "WaitForFirstConsumer"}

    monkeypatch.setattr(Model, "_bind", waits_for_use)

    async def story(bench: Bench) -> None:
        monkeypatch.setattr(Strict, "get", _either(mode, Client.get))
        await _ready(bench, _sized(ZONE, 1000))
        bench.plane.want(_sized(ZONE, 2000))
        await bench.until(lambda: bench.phase() is ZonePhase.READY)
        assert (_storage(bench, HOME)[1], _storage(bench, PROJECT)[1]) == ("2000", "2000")
        # The class that it waited for may be gone as well.
        await bench.start(None, storage_class="faster")
        await bench.until(lambda: bench.model.objects[HOME]["spec"]["storageClassName"] == "faster")
        await bench.until(lambda: bench.phase() is ZonePhase.READY)
        assert bench.model.objects[PROJECT]["spec"]["storageClassName"] == "local"

    told(story, kueue=True)


def _either(first: Any, other: Any) -> Any:
    async def get(client: Client, ref: Ref) -> Manifest | None:
        found: Manifest | None = await (first if ref.kind is STORAGE_CLASS else other)(client, ref)
        return found

    return get


def test_another_class_is_for_volumes_to_come_and_labels_come_back_all_the_same() -> None:
    async def story(bench: Bench) -> None:
        await _ready(bench)
        uid, _ = _storage(bench, HOME)
        await bench.start(None, storage_class="faster", access_mode="ReadWriteMany")
        newcomer = "01J00000000000000000000NEW"
        bench.plane.want(b.zone(homes=(*ZONE.homes, Home(person_id=newcomer, size_bytes=1 << 20))))
        await bench.until(lambda: bench.phase() is ZonePhase.READY)
        assert _storage(bench, HOME)[0] == uid
        homes = [bench.model.objects[one]["spec"] for one in (HOME, HOME._replace(name=home_claim(newcomer)))]
        assert [one["storageClassName"] for one in homes] == ["local", "faster"]
        assert [one["accessModes"] for one in homes] == [["ReadWriteOnce"], ["ReadWriteMany"]]
        del bench.model.objects[HOME]["metadata"]["labels"][PART_OF]
        bench.model.store(HOME, bench.model.objects[HOME], new=False)
        await bench.until(lambda: PART_OF in bench.model.objects[HOME]["metadata"]["labels"])
        await bench.until(lambda: bench.phase() is ZonePhase.READY)

    told(story, kueue=True)


def test_a_new_volume_that_is_refused_still_fails_the_zone() -> None:
    async def story(bench: Bench) -> None:
        client = bench.client = Strict(bench.model)
        client.refused.add(CLAIM)
        await bench.start(None)
        bench.plane.want(ZONE)
        await bench.until(lambda: bench.phase() is ZonePhase.FAILED)

    told(story, kueue=True)


def test_data_that_lie_elsewhere_now_are_attached_anew() -> None:
    async def story(bench: Bench) -> None:
        await _ready(bench)
        for source in (HostPathSource(path="/srv/other"), NfsSource(server="nas", path="/export/data")):
            bench.plane.want(_moved(source))
            await bench.until(lambda: bench.phase() is ZonePhase.READY)
            spec = bench.model.objects[DATA_VOLUME]["spec"]
            assert source.volume("any").items() <= spec.items()
            assert bench.model.objects[DATA]["status"]["phase"] == "Bound"

    told(story, kueue=True)


def test_data_in_use_are_attached_anew_when_the_last_workspace_stops_and_people_are_told() -> None:
    async def story(bench: Bench) -> None:
        client = await _ready(bench)
        client.in_use = True
        bench.plane.want(_moved(HostPathSource(path="/srv/other")))
        await bench.until(lambda: bench.phase() is ZonePhase.MAKING)
        assert (
            "can go on when the last workspace that uses it stops"
            in bench.plane.last[ZONE.project_id].message
        )
        client.in_use = False
        bench.model.remove(DATA)
        for _ in range(10):
            bench.model.turn()
            await asyncio.sleep(1)
        # A claim of a volume that is about to go would be lost with it.
        assert DATA not in bench.model.objects
        bench.model.remove(DATA_VOLUME)
        await bench.until(lambda: bench.phase() is ZonePhase.READY)
        assert bench.model.objects[DATA_VOLUME]["spec"]["hostPath"]["path"] == "/srv/other"

    told(story, kueue=True)
