"""`broch serve gateway`: two listeners, one for zones and one for the cluster's own eyes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import structlog

from broch_core.tls import client_context, keep_renewed, server_context
from broch_core.web.logs import set_up_logs
from broch_workspaces.gateway.metrics import Counts
from broch_workspaces.gateway.reviews import ApiServerJudge, Judge, Reviews, api_client
from broch_workspaces.gateway.server import Gateway, Listener
from broch_workspaces.gateway.settings import GatewaySettings
from broch_workspaces.own_pages import own_pages

log = structlog.get_logger()

_HANDSHAKE_SECONDS = 10.0
_GRACE_SECONDS = 25.0
"""How long requests under way may still take at the end; Kubernetes waits 30 s before it kills."""


@dataclass(frozen=True)
class Running:
    """A gateway that listens."""

    port: int
    own_port: int
    gateway: Gateway
    counts: Counts


def _port(server: asyncio.Server) -> int:
    return int(server.sockets[0].getsockname()[1])


@asynccontextmanager
async def running(settings: GatewaySettings, judge: Judge) -> AsyncIterator[Running]:
    """Listen for the time of an `async with` block."""
    loop = asyncio.get_running_loop()
    inbound = server_context(settings.tls, clients=False)
    outbound = client_context(settings.tls)
    counts = Counts()
    token = (settings.secrets / "gateway").read_text(encoding="ascii").strip()
    if not token:
        raise ValueError("the file 'gateway' in the folder of secrets is empty")
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=outbound, limit=0, force_close=True),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
    ) as session:
        reviews = Reviews(judge, settings.cache_seconds, lambda answer: counts.add("reviews", answer))
        gateway = Gateway(settings, token, session, reviews, counts)
        listener = Listener(gateway, settings)
        own = own_pages(lambda: counts.text(under_way=gateway.under_way))
        front = await loop.create_server(
            listener, settings.listen, settings.port, ssl=inbound, ssl_handshake_timeout=_HANDSHAKE_SECONDS
        )
        back = await loop.create_server(
            own, settings.listen, settings.own_port, ssl=inbound, ssl_handshake_timeout=_HANDSHAKE_SECONDS
        )
        renewing = [
            asyncio.create_task(keep_renewed(context, settings.tls)) for context in (inbound, outbound)
        ]
        try:
            yield Running(_port(front), _port(back), gateway, counts)
        finally:
            for task in renewing:
                task.cancel()
            front.close()
            await listener.shutdown(_GRACE_SECONDS)
            back.close()
            await own.shutdown(1)


async def _serve(settings: GatewaySettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    api = await api_client(settings.kubeconfig)
    try:
        async with running(settings, ApiServerJudge(api, settings.review_seconds)) as now:
            log.info("gateway.listens", port=now.port, own_port=now.own_port)
            await stop.wait()
            log.info("gateway.ends")
    finally:
        await api.close()  # type: ignore[no-untyped-call]


def main(settings: GatewaySettings | None = None) -> None:
    """Run the gateway until it is told to end.

    Args:
        settings: unset: from the environment.
    """
    chosen = settings or GatewaySettings()
    set_up_logs(chosen.log_format)
    asyncio.run(_serve(chosen))
