"""Reports: sent when something changed, and again when nobody knows whether the last one arrived."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

from broch_workspaces.cluster.controller.control_plane import NoAnswer
from broch_workspaces.cluster.controller.kinds import CLAIM
from broch_workspaces.cluster.controller.loop import ZoneController
from broch_workspaces.cluster.controller.settings import ControllerSettings
from broch_workspaces.cluster.pods import importer_pod
from broch_workspaces.cluster.settings import PodSettings
from broch_workspaces.cluster.spec import ZonePhase, ZoneReport, ZoneSpec, ZoneSpecs
from support.cluster_model import Model
from support.cluster_model_client import ModelClient
from support.virtual_time import run
from support.zone_objects import SETTINGS, manifests, zone

PODS = PodSettings(
    gateway_address="10.0.0.1", image_prefixes=("local/",), importer_image="local/x@sha256:" + "0" * 64
)


class Plane:
    """Takes every report; the answers to those of one phase are lost."""

    def __init__(self, spec: ZoneSpec, lose: ZonePhase | None) -> None:
        self.spec = spec
        self.lose = lose
        self.taken: list[ZonePhase] = []

    async def zones(self, after: str, wait: float) -> ZoneSpecs:
        if after == self.spec.digest():
            await asyncio.sleep(wait)
        return ZoneSpecs(digest=self.spec.digest(), items=(self.spec,))

    async def report(self, project_id: str, report: ZoneReport) -> None:
        assert project_id == self.spec.project_id
        self.taken.append(report.phase)
        if report.phase is self.lose:
            self.lose = None
            raise NoAnswer("lost")


def reports(lose: ZonePhase | None, unbound: bool = False) -> list[ZonePhase]:
    """Run a controller for a while, and return the phases that the control plane was told."""
    model = Model(1)
    plane = Plane(zone(), None)

    async def story() -> None:
        settings = ControllerSettings(
            control_plane="https://web:8444", zones=SETTINGS, pods=PODS, identity="one", tls=Path("/none")
        )
        controller = ZoneController(
            settings,
            ModelClient(model, "one"),
            plane,
            manifests,
            lambda s, d, a: importer_pod(s, d, PODS, attempt=a),
        )
        running = asyncio.ensure_future(controller.run())

        async def world() -> None:
            while True:
                await asyncio.sleep(0.5)
                model.turn()

        turning = asyncio.ensure_future(world())
        # Just before a turn of the world: seen before it is mended, and mended before the report is tried again.
        await asyncio.sleep(10.4)
        plane.lose = lose
        if unbound:
            ref = next(ref for ref in model.objects if ref.kind is CLAIM)
            item = model.objects[ref]
            item["status"] = {"phase": "Pending"}
            model.store(ref, item, new=False)
        await asyncio.sleep(10)
        for task in (running, turning):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    run(story())
    return plane.taken


def test_nothing_is_reported_twice_while_nothing_changes() -> None:
    *before, last = reports(None)
    assert last is ZonePhase.READY
    # First its objects, then the claims that wait for their volumes: each is said once.
    assert before in ([ZonePhase.MAKING], [ZonePhase.MAKING] * 2)


def test_a_report_whose_answer_was_lost_is_followed_by_what_is_true_now() -> None:
    told = reports(ZonePhase.MAKING, unbound=True)
    first = told.index(ZonePhase.READY)
    assert set(told[:first]) == {ZonePhase.MAKING}
    assert ZonePhase.MAKING in told[first:]
    assert told[-1] is ZonePhase.READY
