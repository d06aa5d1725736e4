"""Who begins to lead looks at every zone once; news and ends that somebody waits for do not wait for that."""

from __future__ import annotations

import pytest

from broch_core.ids import new_id
from broch_workspaces.cluster.controller.kinds import NAMESPACE, Ref
from broch_workspaces.cluster.spec import Quota, ZonePhase, ZoneSpec
from integration.controller.one_controller import ZONE, Bench, told
from support import zone_objects as b

MANY = 150


def zones() -> list[ZoneSpec]:
    # Their names come before that of the one zone: what is due at the same time goes by name.
    return [b.zone(project_id=f"00{new_id()[2:]}", data=()) for _ in range(MANY)]


def ready(bench: Bench) -> int:
    return sum(report.phase is ZonePhase.READY for report in bench.plane.last.values())


@pytest.mark.parametrize("kind", ["changed", "waited for"])
def test_what_is_new_comes_before_what_all_begin_with(kind: str) -> None:
    """It is the last of the list, and its namespace is made before a half of the others is."""

    async def story(bench: Bench) -> None:
        for one in zones():
            bench.plane.want(one)
        bench.plane.wait_for(right := new_id(), ())
        bench.plane.want(ZONE.model_copy(update={"revocations": (right,) if kind == "waited for" else ()}))
        await bench.start(None, workers=1)
        if kind == "changed":
            await bench.until(lambda: len(bench.model.objects) > 20)
            bench.plane.want(ZONE.model_copy(update={"quota": Quota(pods=7)}))
        await bench.until(lambda: Ref(NAMESPACE, "", ZONE.namespace) in bench.model.objects)
        assert sum(ref.kind is NAMESPACE for ref in bench.model.objects) < MANY / 2
        await bench.until(lambda: ready(bench) == MANY + 1)
        assert bench.plane.confirmed == (1 if kind == "waited for" else 0)

    told(story, kueue=False)
