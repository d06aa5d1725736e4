"""The process: builders, clients and listener put together, ended by SIGTERM."""

from __future__ import annotations

import asyncio
import signal
from functools import partial

import structlog

from broch_core.tls import client_context, keep_renewed, server_context
from broch_workspaces.cluster.controller.client import KubeClient, connect
from broch_workspaces.cluster.controller.control_plane import HttpControlPlane
from broch_workspaces.cluster.controller.kinds import Manifest
from broch_workspaces.cluster.controller.listener import listening
from broch_workspaces.cluster.controller.loop import ZoneController
from broch_workspaces.cluster.controller.settings import ControllerSettings
from broch_workspaces.cluster.controller.zone import Build, BuildImporter
from broch_workspaces.cluster.manifests import zone_manifests
from broch_workspaces.cluster.pods import importer_pod
from broch_workspaces.cluster.spec import Delivery, ZoneSpec

AUTHORITY_SECONDS = 60.0
"""Between two looks at the authority that zones trust. It changes once in years."""
log = structlog.get_logger()


def main(settings: ControllerSettings) -> None:
    """Run the controller until the process is told to end."""

    def importer(spec: ZoneSpec, delivery: Delivery, attempt: int) -> Manifest:
        return importer_pod(spec, delivery, settings.pods, attempt=attempt)

    asyncio.run(serve(settings, partial(zone_manifests, settings=settings.zones), importer))


async def serve(settings: ControllerSettings, build: Build, importer: BuildImporter) -> None:
    """Run the controller until SIGTERM or SIGINT, or until zones have to trust another authority."""
    outbound, inbound = client_context(settings.tls), server_context(settings.tls, clients=False)
    api = KubeClient(await connect(settings.kubeconfig))
    plane = HttpControlPlane(settings.control_plane, outbound, settings.token)
    controller = ZoneController(settings, api, plane, build, importer)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    renewing = [asyncio.ensure_future(keep_renewed(one, settings.tls)) for one in (outbound, inbound)]
    try:
        async with listening(controller, inbound, settings.host, settings.port) as port:
            log.info("controller.started", identity=settings.identity, port=port)
            running = asyncio.ensure_future(controller.run())
            # Every zone is made anew of what a fresh process reads: whoever runs this starts it again.
            waiting = {asyncio.ensure_future(one) for one in (ended.wait(), another_authority(settings))}
            await asyncio.wait({running, *waiting}, return_when=asyncio.FIRST_COMPLETED)
            for one in waiting:
                one.cancel()
            running.cancel()
            try:
                await running
            except asyncio.CancelledError:
                log.info("controller.ended", identity=settings.identity)
    finally:
        for task in renewing:
            task.cancel()
        await plane.close()
        await api.close()


async def another_authority(settings: ControllerSettings) -> None:
    """Return once the authority that zones trust has changed on disk; never, where they are told one that is not our own."""
    before = settings.zones.ca_bundle
    follows = _authority(settings) == before
    while True:
        await asyncio.sleep(AUTHORITY_SECONDS)
        now = _authority(settings)
        if follows and now and now != before:
            log.info("controller.another_authority")
            return


def _authority(settings: ControllerSettings) -> str:
    """Return our own authority; empty in the middle of a change."""
    try:
        return (settings.tls / "ca.crt").read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""
