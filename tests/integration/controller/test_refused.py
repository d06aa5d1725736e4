"""A zone that cannot be made as it shall be lets go of what must go, and stops what may not run, all the same."""

from __future__ import annotations

from broch_workspaces.cluster.controller.kinds import CLAIM, CONFIG, NAMESPACE, POD, QUOTA, VOLUME, Ref
from broch_workspaces.cluster.manifests import data_volume_name
from broch_workspaces.cluster.spec import PART_OF, PROJECT_LABEL, ZonePhase, ZoneState, data_claim
from integration.controller.one_controller import ZONE, Bench, told
from support import zone_objects as b
from support.cluster_model import THEIRS

DATA = {
    Ref(CLAIM, ZONE.namespace, data_claim(b.VERSION)),
    Ref(VOLUME, "", data_volume_name(b.PROJECT, b.VERSION)),
}
POD_OF_ZONE = Ref(POD, ZONE.namespace, "one")


def _makes_pod(bench: Bench) -> None:
    """Make a pod that is no workspace: of those, a controller knows more."""
    labels = {PART_OF: "broch", PROJECT_LABEL: b.PROJECT.lower()}
    metadata = {"name": "one", "namespace": ZONE.namespace, "uid": "p-1", "labels": labels}
    bench.model.store(POD_OF_ZONE, {"metadata": metadata, "spec": {}}, new=True)


async def _ready(bench: Bench) -> None:
    await bench.start(None)
    bench.plane.want(ZONE)
    await bench.until(lambda: bench.phase() is ZonePhase.READY)
    assert bench.model.objects.keys() >= DATA


def test_a_zone_whose_storage_no_longer_fits_its_policy_lets_go_of_data_and_recovers() -> None:
    async def story(bench: Bench) -> None:
        await _ready(bench)
        bench.plane.want(b.zone(user_namespaces="required"))
        await bench.until(lambda: bench.phase() is ZonePhase.FAILED)
        assert bench.model.objects.keys() >= DATA
        bench.plane.want(b.zone(user_namespaces="required", data=()))
        await bench.until(lambda: not bench.model.objects.keys() & DATA)
        await bench.until(lambda: bench.phase() is ZonePhase.FAILED)
        assert "requires user namespaces" in bench.plane.last[ZONE.project_id].message
        bench.plane.want(ZONE)
        await bench.until(lambda: bench.phase() is ZonePhase.READY)

    told(story, kueue=True)


def test_a_zone_of_which_a_part_is_refused_lets_go_of_data() -> None:
    async def story(bench: Bench) -> None:
        await _ready(bench)
        bench.client.refused.add(CONFIG)
        bench.model.remove(Ref(CONFIG, ZONE.namespace, "broch-ca"))
        await bench.until(lambda: bench.plane.last[ZONE.project_id].phase is ZonePhase.FAILED)
        bench.plane.want(b.zone(data=()))
        await bench.until(lambda: not bench.model.objects.keys() & DATA)
        bench.client.refused.clear()
        await bench.until(lambda: bench.phase() is ZonePhase.READY)

    told(story, kueue=True)


def test_a_zone_that_is_frozen_and_refused_stops() -> None:
    async def story(bench: Bench) -> None:
        await _ready(bench)
        _makes_pod(bench)
        bench.plane.want(b.zone(user_namespaces="required", state=ZoneState.FROZEN))
        await bench.until(lambda: POD_OF_ZONE not in bench.model.objects)
        quota = Ref(QUOTA, ZONE.namespace, "zone")
        await bench.until(lambda: bench.model.objects[quota]["spec"]["hard"]["pods"] == "0")
        await bench.until(lambda: bench.phase() is ZonePhase.FAILED)

    told(story, kueue=True)


def test_a_refused_zone_that_never_was_is_not_begun() -> None:
    async def story(bench: Bench) -> None:
        await bench.start(None)
        for state in (ZoneState.OPEN, ZoneState.FROZEN):
            bench.plane.want(b.zone(user_namespaces="required", state=state))
            await bench.until(lambda: bench.phase() is ZonePhase.FAILED)
        assert not [ref for ref in bench.model.objects if ref.namespace == ZONE.namespace]
        assert Ref(NAMESPACE, "", ZONE.namespace) not in bench.model.objects

    told(story, kueue=True)


def test_a_namespace_of_somebody_else_is_not_emptied_by_a_freeze() -> None:
    async def story(bench: Bench) -> None:
        space = Ref(NAMESPACE, "", ZONE.namespace)
        metadata = {"name": space.name, "uid": "n-1", "labels": {}, "managedFields": [THEIRS]}
        bench.model.store(space, {"metadata": metadata}, new=True)
        _makes_pod(bench)
        await bench.start(None)
        bench.plane.want(b.zone(state=ZoneState.FROZEN))
        await bench.until(lambda: bench.phase() is ZonePhase.FAILED)
        assert "is not Broch's" in bench.plane.last[ZONE.project_id].message
        assert POD_OF_ZONE in bench.model.objects

    told(story, kueue=True)
