"""A queue for GPUs in every zone: as it shall be where Kueue is, told in plain words where it is not, never asked for unset."""

from __future__ import annotations

from broch_workspaces.cluster.controller.kinds import CLAIM, QUEUE, Ref
from broch_workspaces.cluster.spec import ZonePhase, data_claim
from integration.controller.one_controller import ZONE, Bench, told
from support import zone_objects as b

GPU = Ref(QUEUE, ZONE.namespace, "gpu")


def test_a_zone_gets_its_queue_which_comes_back_and_follows_the_setting() -> None:
    async def story(bench: Bench) -> None:
        await bench.start("gpus")
        bench.plane.want(ZONE)
        await bench.until(lambda: bench.phase() is ZonePhase.READY)
        assert bench.model.objects[GPU]["spec"] == {"clusterQueue": "gpus"}
        bench.model.remove(GPU)
        await bench.until(lambda: GPU in bench.model.objects)
        first = bench.model.objects[GPU]["metadata"]["uid"]
        await bench.start("other")
        await bench.until(lambda: bench.model.objects[GPU]["spec"] == {"clusterQueue": "other"})
        assert bench.model.objects[GPU]["metadata"]["uid"] != first
        await bench.until(lambda: bench.phase() is ZonePhase.READY)

    told(story, kueue=True)


def test_without_kueue_a_zone_fails_in_plain_words_lets_go_of_data_and_recovers() -> None:
    async def story(bench: Bench) -> None:
        await bench.start("gpus")
        bench.plane.want(ZONE)
        await bench.until(lambda: bench.phase() is ZonePhase.FAILED)
        said = bench.plane.last[ZONE.project_id].message
        assert "needs Kueue, which this cluster does not have; ask your administrator" in said
        data = Ref(CLAIM, ZONE.namespace, data_claim(b.VERSION))
        await bench.until(lambda: data in bench.model.objects)
        bench.plane.want(b.zone(data=()))
        await bench.until(lambda: data not in bench.model.objects)
        bench.client.kueue = True
        await bench.until(lambda: bench.phase() is ZonePhase.READY)
        # And where it is taken away again.
        bench.client.kueue = False
        bench.model.remove(GPU)
        await bench.until(lambda: bench.phase() is ZonePhase.FAILED)

    told(story, kueue=False)


def test_unset_the_kind_is_never_asked_for_and_a_zone_has_no_queue() -> None:
    async def story(bench: Bench) -> None:
        await bench.start(None)
        bench.plane.want(ZONE)
        await bench.until(lambda: bench.phase() is ZonePhase.READY)
        assert GPU not in bench.model.objects
        assert "LocalQueue" not in bench.client.asked
        assert "ResourceQuota" in bench.client.asked

    told(story, kueue=True)
