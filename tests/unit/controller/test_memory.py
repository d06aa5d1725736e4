"""What is remembered of ten thousand projects must fit: so much of each, and no whole object."""

from __future__ import annotations

import gc
import json
import tracemalloc

from broch_core.ids import new_id
from broch_workspaces.cluster.controller.cache import Cache
from broch_workspaces.cluster.controller.inventory import Proof, proof
from broch_workspaces.cluster.controller.kinds import BY_NAME, Ref, watched
from broch_workspaces.cluster.controller.memory import Specs, Told
from broch_workspaces.cluster.controller.objects import digest
from broch_workspaces.cluster.sources import HostPathSource
from broch_workspaces.cluster.spec import DataVolume, Home, ZonePhase, ZoneReport, ZoneSpec, ZoneState
from support import zone_objects as b

ZONES = 200
MOST_KIB = 14
"""A project, of what Python allocates. 10,000 are 140 MiB then, and the process itself takes 75."""


def zone() -> ZoneSpec:
    source = HostPathSource(path="/srv/data")
    return ZoneSpec(
        project_id=new_id(),
        data=tuple(DataVolume(version_id=new_id(), source=source, size_bytes=1) for _ in range(2)),
        homes=tuple(Home(person_id=new_id(), size_bytes=1) for _ in range(2)),
    )


def test_ten_thousand_projects_fit() -> None:
    answer = [zone().model_dump_json() for _ in range(ZONES)]
    cache, specs = Cache(lambda _: None, watched(queue=False)), Specs()
    applied: dict[str, dict[Ref, Proof]] = {}
    told: dict[str, Told] = {}
    gc.collect()
    tracemalloc.start()
    for number, text in enumerate(answer):
        spec = ZoneSpec.model_validate_json(text)
        specs.take(spec)
        project = spec.project_id.lower()
        for manifest in b.manifests(spec):
            # From text, as it comes: nothing is shared that was not made to be.
            kind = BY_NAME[manifest["kind"]]
            metadata = {
                "uid": f"00000000-0000-4000-8000-{number:012d}",
                "resourceVersion": str(10**6 + number),
            }
            item = json.loads(
                json.dumps(b.shown(manifest) | {"metadata": b.shown(manifest)["metadata"] | metadata})
            )
            ref = cache.put(kind, item)
            now = cache.get(ref)
            assert now is not None
            applied.setdefault(project, {})[b.ref(manifest)] = proof(digest(manifest), now)
        told[project] = Told.of(ZoneReport(digest=spec.digest(), phase=ZonePhase.READY))
    gc.collect()
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(cache) == ZONES * len(b.manifests(zone()))
    assert taken / ZONES / 1024 < MOST_KIB


def test_a_spec_is_kept_whole_and_told_from_another() -> None:
    specs, before = Specs(), b.zone()
    assert specs.take(before) == (True, None)
    assert specs.take(before) == (False, None)
    assert specs.get(before.project_id.lower()) == before
    after = b.zone(state=ZoneState.FROZEN, starts=("a" * 64,))
    assert specs.take(after) == (True, before)
    assert specs.get(before.project_id.lower()) == after


def test_a_report_that_differs_in_any_word_is_another() -> None:
    report = ZoneReport(digest="1" * 16, phase=ZonePhase.READY)
    assert Told.of(report) == Told.of(report.model_copy())
    assert Told.of(report) != Told.of(report.model_copy(update={"message": "An import waits."}))
    assert Told.of(report) != Told.of(report.model_copy(update={"volumes": ("v",)}))
