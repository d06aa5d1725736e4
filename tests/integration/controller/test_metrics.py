"""What the controller tells a collector, and what somebody is called for."""

from __future__ import annotations

import re

from broch_workspaces.cluster.controller.control_plane import NoAnswer
from broch_workspaces.cluster.spec import ZonePhase, ZoneSpecs
from integration.controller.one_controller import ZONE, Bench, told
from support import zone_objects as b
from support.chart import alerted, asked_by_alerts


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
        assert len(told_of) + 4 == len(asked_by_alerts())

    told(story, kueue=False)


def test_a_leader_that_web_never_answered_is_as_deaf_as_one_that_web_answers_no_more() -> None:
    async def story(bench: Bench) -> None:
        answer, bench.plane.zones = bench.plane.zones, silent
        bench.plane.want(ZONE)
        await bench.start(None)
        await bench.until(lambda: deaf(bench) > 90)
        assert bench.controller.health()[0] is False
        bench.plane.zones = answer
        await bench.until(lambda: bench.controller.health()[0])
        assert deaf(bench) < 60

    async def silent(after: str, wait: float) -> ZoneSpecs:
        raise NoAnswer("no route to host")

    told(story, kueue=False)


def deaf(bench: Bench) -> float:
    """Return how old the last answer is by the metric that somebody is called by; 0: nothing is said of it."""
    said = re.search(
        r"^broch_controller_poll_age_seconds (\S+)$", bench.controller.metrics_text(), re.MULTILINE
    )
    return 0.0 if said is None else float(said[1])
