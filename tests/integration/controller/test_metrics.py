"""What the controller tells a collector, and what somebody is called for."""

from __future__ import annotations

from broch_workspaces.cluster.spec import ZonePhase
from integration.controller.one_controller import ZONE, Bench, told
from support import zone_objects as b
from support.chart import alerted, alerts


def test_zones_that_nobody_knows_are_counted_and_every_alert_has_its_metric() -> None:
    async def story(bench: Bench) -> None:
        bench.plane.want(ZONE)
        await bench.start(None)
        await bench.until(lambda: bench.phase() is ZonePhase.READY)
        assert "broch_controller_zones_unknown 0" in bench.controller.metrics_text()
        other = b.zone(project_id="01J000000000000000000THER")
        for manifest in b.manifests(other):
            ref = b.ref(manifest)
            made = await bench.client.apply(ref, manifest)
            assert made["metadata"]["uid"]
        await bench.until(lambda: "broch_controller_zones_unknown 1" in bench.controller.metrics_text())
        bench.controller.metrics.failures["bug"] += 1
        told_of = alerted(bench.controller.metrics_text())
        assert told_of == [
            'broch_controller_failures_total{sort="bug"}',
            "broch_controller_leader",
            "broch_controller_poll_age_seconds",
            "broch_controller_zones_unknown",
            'broch_zones{phase="failed"}',
        ]
        # The others are web's (unit/runtime/test_status_desk.py).
        assert len(told_of) + 4 == len(alerts())

    told(story, kueue=False)
