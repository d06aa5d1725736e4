"""The process `broch serve sandboxes`."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable
from functools import partial

import structlog

from broch_core.doorway import Doorway, listen
from broch_core.tls import Renewed, server_context
from broch_core.web.logs import set_up_logs
from broch_workspaces.sandboxes import pod_starter
from broch_workspaces.sandboxes.broker import Broker
from broch_workspaces.sandboxes.pool import Pool
from broch_workspaces.sandboxes.settings import BrokerSettings
from broch_workspaces.sandboxes.starting import Starter

_UNREAD_SECONDS = 30.0
_log = structlog.get_logger(__name__)


def run(settings: BrokerSettings) -> None:
    """Serve until a signal."""
    set_up_logs(settings.log_format)
    asyncio.run(_on_cluster(settings))


async def _on_cluster(settings: BrokerSettings) -> None:
    api = await pod_starter.connect(settings)
    try:
        await serve(settings, pod_starter.PodStarter(api, settings))
    finally:
        await api.close()  # type: ignore[no-untyped-call]


async def serve(
    settings: BrokerSettings, starter: Starter, on_ready: Callable[[int, int], None] | None = None
) -> None:
    """Serve both doors until SIGTERM, SIGINT or a cancellation.

    Args:
        settings: of the broker.
        starter: makes sandboxes.
        on_ready: told both ports.
    """
    pool = Pool(starter, settings)
    broker = Broker(pool, settings, lambda: settings.token_file.read_bytes().strip())
    web = Doorway(
        listen(settings.listen, settings.port),
        Renewed(settings.tls, partial(server_context, clients=True)),
        broker.serve_web,
        most=settings.connections,
        most_each=settings.connections,
        # Web may be waiting for the virus scanner before it reads on.
        last_seconds=settings.most_seconds,
    )
    pods = Doorway(
        listen(settings.listen, settings.pods_port),
        Renewed(settings.tls, partial(server_context, clients=False)),
        broker.serve_sandbox,
        most=settings.connections,
        most_each=settings.connections_each,
        # A sandbox takes its inputs as fast as its disk does; one that takes none is gone.
        unread_seconds=_UNREAD_SECONDS,
    )
    if on_ready is not None:
        on_ready(web.port, pods.port)
    _log.info("sandboxes.ready", port=web.port, pods_port=pods.port, warm=settings.warm)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):  # not in the main thread: a test
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ended.set)
    work = [asyncio.create_task(one) for one in (web.run(), pods.run(), pool.keep_warm(), pool.keep_swept())]
    end = asyncio.create_task(ended.wait())
    try:
        # One of ours that ends by itself has failed: better none than half a broker.
        done, _ = await asyncio.wait({*work, end}, return_when=asyncio.FIRST_COMPLETED)
        for task in done - {end}:
            task.result()
    finally:
        for task in (*work, end):
            task.cancel()
        await asyncio.wait({*work, end})
        await pool.close()
        _log.info("sandboxes.stopped")
