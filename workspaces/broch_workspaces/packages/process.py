"""`broch serve packages`: one listener for gateway and web, one for the cluster's own eyes."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog
from aiohttp import web

from broch_core.tls import client_context, keep_renewed, server_context
from broch_core.web.logs import set_up_logs
from broch_workspaces.own_pages import own_pages
from broch_workspaces.packages.control import HttpControlPlane
from broch_workspaces.packages.files import Files
from broch_workspaces.packages.metrics import Counts
from broch_workspaces.packages.outside import Outside
from broch_workspaces.packages.paths import LONGEST_TARGET
from broch_workspaces.packages.registries import make_registries
from broch_workspaces.packages.scratch import Scratch
from broch_workspaces.packages.server import Route
from broch_workspaces.packages.settings import PackagesSettings
from broch_workspaces.packages.state import Lists, Refusals

log = structlog.get_logger()

_HANDSHAKE_SECONDS = 10.0
_GRACE_SECONDS = 25.0
"""How long requests under way may still take at the end; Kubernetes waits 30 s before it kills."""


@dataclass(frozen=True)
class Running:
    """A package route that listens."""

    port: int
    own_port: int
    counts: Counts
    lists: Lists
    refusals: Refusals
    work: tuple[asyncio.Task[None], ...]
    """What runs beside the requests, without end; one that ends has failed."""


def _port(server: asyncio.Server) -> int:
    return int(server.sockets[0].getsockname()[1])


@asynccontextmanager
async def running(settings: PackagesSettings) -> AsyncIterator[Running]:
    """Listen for the time of an `async with` block.

    Raises:
        ValueError: the file with the token is empty.
        OSError: certificate, token or folder are not there.
    """
    loop = asyncio.get_running_loop()
    token = settings.secrets / "packages"
    if not token.read_text(encoding="ascii").strip():
        raise ValueError("the file 'packages' in the folder of secrets is empty")
    inbound, own_inbound = (server_context(settings.tls, clients=clients) for clients in (True, False))
    outbound = client_context(settings.tls)
    counts, lists = Counts(), Lists(settings)
    refusals = Refusals()
    scratch = Scratch(settings.scratch, settings.scratch_bytes)
    async with contextlib.AsyncExitStack() as stack:
        control = HttpControlPlane(settings.control_plane, outbound, token)
        stack.push_async_callback(control.close)
        outside = Outside(settings, counts.add)
        stack.push_async_callback(outside.close)
        registries = make_registries(settings, outside, scratch)
        files = Files(settings, outside, scratch, registries, counts.add)
        stack.push_async_callback(files.close)
        route = Route(settings, lists, files, registries, control, refusals, counts)
        front = web.Server(
            route.handle,
            access_log=None,
            keepalive_timeout=_HANDSHAKE_SECONDS,
            max_line_size=LONGEST_TARGET + 64,
        )
        own = own_pages(
            lambda: counts.text(under_way=route.under_way, scratch_bytes=scratch.taken, lists_age=lists.age)
        )
        for server in (front, own):
            stack.push_async_callback(server.shutdown, _GRACE_SECONDS if server is front else 1)
        listening = [
            await loop.create_server(
                server, settings.listen, port, ssl=context, ssl_handshake_timeout=_HANDSHAKE_SECONDS
            )
            for server, port, context in (
                (front, settings.port, inbound),
                (own, settings.own_port, own_inbound),
            )
        ]
        for socket in listening:
            stack.callback(socket.close)
        work = [
            asyncio.create_task(one)
            for one in (
                lists.keep(control),
                refusals.keep_telling(control, settings.denials_seconds),
                *(keep_renewed(context, settings.tls) for context in (inbound, own_inbound, outbound)),
            )
        ]
        try:
            yield Running(_port(listening[0]), _port(listening[1]), counts, lists, refusals, tuple(work))
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)


async def _serve(settings: PackagesSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(settings) as now:
        log.info("packages.listens", port=now.port, own_port=now.own_port)
        end = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait({end, *now.work}, return_when=asyncio.FIRST_COMPLETED)
        # Without lists nothing would be served, and nobody would know why: Kubernetes starts us anew.
        for task in done - {end}:
            task.result()
        log.info("packages.ends")


def main(settings: PackagesSettings | None = None) -> None:
    """Run the package route until it is told to end.

    Args:
        settings: unset: from the environment.
    """
    chosen = settings or PackagesSettings()
    set_up_logs(chosen.log_format)
    asyncio.run(_serve(chosen))
