"""One controller on one model of a cluster, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from broch_workspaces.cluster.controller.api import Event
from broch_workspaces.cluster.controller.failures import ApiError
from broch_workspaces.cluster.controller.kinds import QUEUE, Kind, Manifest, Ref
from broch_workspaces.cluster.controller.loop import ZoneController
from broch_workspaces.cluster.controller.settings import ControllerSettings
from broch_workspaces.cluster.manifests import zone_manifests
from broch_workspaces.cluster.pods import importer_pod
from broch_workspaces.cluster.settings import PodSettings
from broch_workspaces.cluster.spec import ZonePhase
from support import zone_objects as b
from support.cluster_model import Model
from support.cluster_model_client import ModelClient
from support.cluster_plane import Plane
from support.virtual_time import run

PODS = PodSettings(
    gateway_address="10.0.0.1", image_prefixes=("local/",), importer_image="local/x@sha256:" + "0" * 64
)
ZONE = b.zone()


class Client(ModelClient):
    """A connection to a cluster on which Kueue is there or is not; where a queue leads cannot be changed, as there."""

    def __init__(self, model: Model, *, kueue: bool) -> None:
        super().__init__(model, "c0")
        self.kueue = kueue
        self.asked: set[str] = set()
        self.refused: set[Kind] = set()
        """What the cluster takes no more, by a rule of its own."""

    def _know(self, kind: Kind) -> None:
        self.asked.add(kind.name)
        if kind is QUEUE and not self.kueue:
            raise ApiError(404, "", "")

    async def list(
        self, kind: Kind, each: Callable[[Manifest], None], *, selector: str = "", namespace: str = ""
    ) -> str:
        self._know(kind)
        return await super().list(kind, each, selector=selector, namespace=namespace)

    async def watch(self, kind: Kind, *, selector: str, version: str) -> AsyncIterator[Event]:
        self._know(kind)
        async for event in super().watch(kind, selector=selector, version=version):
            self._know(kind)
            yield event

    async def apply(self, ref: Ref, manifest: Manifest) -> Manifest:
        self._know(ref.kind)
        if ref.kind in self.refused:
            raise ApiError(422, "Invalid", "by a rule of the site")
        there = self._model.objects.get(ref)
        if (
            ref.kind is QUEUE
            and there is not None
            and there["spec"]["clusterQueue"] != manifest["spec"]["clusterQueue"]
        ):
            raise ApiError(422, "Invalid", "spec.clusterQueue: field is immutable")
        return await super().apply(ref, manifest)


class Bench:
    """One controller on one model, in virtual time."""

    def __init__(self, *, kueue: bool) -> None:
        self.model = Model(1)
        self.plane = Plane(self.model)
        self.client = Client(self.model, kueue=kueue)
        self._running: asyncio.Task[None] | None = None

    async def start(self, queue: str | None, *, workers: int = 8, **changes: Any) -> None:
        """Start the controller, in the place of the one before; `changes` are of the settings of zones."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        zones = b.SETTINGS.model_copy(update={"kueue_queue": queue, **changes})
        settings = ControllerSettings(
            control_plane="https://web:8444",
            zones=zones,
            pods=PODS,
            identity="c0",
            tls=Path("/none"),
            workers=workers,
        )
        build = partial(zone_manifests, settings=zones)
        self.controller = ZoneController(settings, self.client, self.plane, build, importer)
        self._running = asyncio.ensure_future(self.controller.run())

    async def until(self, check: Callable[[], bool], seconds: int = 120) -> None:
        """Let the cluster go on until something holds."""
        for _ in range(seconds):
            self.model.turn()
            await asyncio.sleep(1.0)
            if check():
                return
        raise AssertionError(f"it did not come to pass: {self.plane.last}")

    def phase(self) -> ZonePhase | None:
        """Return what was last reported of the zone."""
        report = self.plane.last.get(ZONE.project_id)
        spec = self.plane.specs[ZONE.project_id]
        return report.phase if report is not None and report.digest == spec.digest() else None


def importer(spec: Any, delivery: Any, attempt: int) -> Manifest:
    """Make an importer's pod."""
    return importer_pod(spec, delivery, PODS, attempt=attempt)


def told(story: Callable[[Bench], Awaitable[None]], *, kueue: bool) -> None:
    async def tell() -> None:
        bench = Bench(kueue=kueue)
        try:
            await story(bench)
        finally:
            bench.client.dead = True
            if bench._running is not None:
                bench._running.cancel()
                await asyncio.gather(bench._running, return_exceptions=True)

    run(tell())
