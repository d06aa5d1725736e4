"""The namespace of a zone that ended stays until the hub has seen its workspaces gone: its rights to look are in it."""

from __future__ import annotations

from broch_workspaces.cluster.controller.kinds import BINDING, NAMESPACE, Ref
from broch_workspaces.cluster.spec import ZonePhase, ZoneState
from integration.controller.one_controller import ZONE, Bench, told

HERE = Ref(NAMESPACE, "", ZONE.namespace)


def test_a_held_zone_runs_nothing_and_goes_when_it_is_let_go() -> None:
    async def story(bench: Bench) -> None:
        bench.plane.want(ZONE)
        await bench.start(None)
        await bench.until(lambda: bench.plane.last[ZONE.project_id].phase is ZonePhase.READY)
        roles = {ref for ref in bench.model.objects if ref.kind is BINDING}
        assert roles
        ended = ZONE.model_copy(update={"state": ZoneState.ENDED, "data": (), "held": True})
        bench.plane.want(ended)
        await bench.until(lambda: "The hub has not seen" in bench.plane.last[ZONE.project_id].message)
        assert HERE in bench.model.objects
        assert roles <= bench.model.objects.keys()
        bench.plane.want(ended.model_copy(update={"held": False}))
        await bench.until(lambda: bench.plane.last[ZONE.project_id].phase is ZonePhase.GONE)
        assert HERE not in bench.model.objects

    told(story, kueue=False)
