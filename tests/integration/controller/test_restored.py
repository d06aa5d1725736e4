"""A cluster that was restored from before a project ended has its zone again: it ends again. What nobody knows stays."""

from __future__ import annotations

import asyncio

from broch_workspaces.cluster.controller.kinds import (
    ARCHIVED_LABEL,
    BINDING,
    CLAIM,
    NAMESPACE,
    POD,
    VOLUME,
    Manifest,
    Ref,
)
from broch_workspaces.cluster.manifests import data_volume_name
from broch_workspaces.cluster.spec import ZonePhase, ZoneState, home_claim, pod_digest
from integration.controller.one_controller import ZONE, Bench, told
from support import zone_objects as b
from support.cluster_model import copied
from support.cluster_plane import hub_makes

SPACE = Ref(NAMESPACE, "", ZONE.namespace)
WORKSPACE = Ref(POD, ZONE.namespace, "ws-1")
DATA_VOLUME = Ref(VOLUME, "", data_volume_name(b.PROJECT, b.VERSION))
HUB = Ref(BINDING, ZONE.namespace, "hub")


async def _with_workspace(bench: Bench) -> dict[Ref, Manifest]:
    """Have a zone with a workspace, and return all that is in the cluster."""
    bench.plane.leaves_out_gone = True
    await bench.start(None)
    bench.plane.want(b.zone(starts=(pod_digest(WORKSPACE.namespace, WORKSPACE.name),)))
    await bench.until(lambda: bench.phase() is ZonePhase.READY)
    hub_makes(bench.model, WORKSPACE.namespace, WORKSPACE.name)
    await asyncio.sleep(1)
    snapshot = _copied(bench)
    assert snapshot.keys() >= {SPACE, WORKSPACE, DATA_VOLUME, HUB}
    return snapshot


def _copied(bench: Bench) -> dict[Ref, Manifest]:
    return {
        ref: copied(item)
        for ref, item in bench.model.objects.items()
        if ref.kind is VOLUME or ZONE.namespace in {ref.namespace, ref.name}
    }


def test_a_zone_of_an_ended_project_that_is_there_again_ends_again() -> None:
    async def story(bench: Bench) -> None:
        snapshot = await _with_workspace(bench)
        bench.plane.want(b.zone(state=ZoneState.ENDED, data=()))
        await bench.until(lambda: bench.phase() is ZonePhase.GONE)
        await asyncio.sleep(60)
        for ref, item in snapshot.items():
            bench.model.store(ref, item, new=ref not in bench.model.objects)
        await bench.until(lambda: not {SPACE, WORKSPACE, DATA_VOLUME, HUB} & bench.model.objects.keys())
        await bench.until(lambda: bench.phase() is ZonePhase.GONE)
        home = Ref(CLAIM, ZONE.namespace, home_claim(b.PERSON))
        volume = bench.model.objects[Ref(VOLUME, "", snapshot[home]["spec"]["volumeName"])]
        assert volume["metadata"]["labels"][ARCHIVED_LABEL] == b.PROJECT.lower()
        assert volume["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
        assert not bench.model.lost

    told(story, kueue=True)


def test_a_zone_of_a_project_that_the_control_plane_does_not_know_stays() -> None:
    async def story(bench: Bench) -> None:
        snapshot = await _with_workspace(bench)
        bench.plane.lose(ZONE)
        for _ in range(200):
            bench.model.turn()
            await asyncio.sleep(1)
        assert bench.model.objects.keys() >= snapshot.keys()

    told(story, kueue=True)
