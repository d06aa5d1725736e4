"""Probes and metrics over TLS."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from broch_workspaces.cluster.controller.loop import ZoneController


@asynccontextmanager
async def listening(
    controller: ZoneController, tls: ssl.SSLContext, host: str, port: int
) -> AsyncIterator[int]:
    """Answer `/livez`, `/healthz` and `/metrics`, and nothing else. Yields the port.

    `/livez` says only that this process turns: trouble of the API server must not end a controller that waits it out.
    """

    async def live(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def health(_: web.Request) -> web.Response:
        well, facts = controller.health()
        return web.Response(
            status=200 if well else 503, text=json.dumps(facts) + "\n", content_type="application/json"
        )

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(
            body=controller.metrics_text().encode(),
            headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
        )

    app = web.Application(client_max_size=1024)
    app.add_routes([web.get("/livez", live), web.get("/healthz", health), web.get("/metrics", metrics)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, ssl_context=tls)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
