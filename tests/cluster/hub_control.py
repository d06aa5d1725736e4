"""The fake control plane of `integration.spawner.fake_control`, as a cluster's hub meets it: over TLS, with pods as plans.

Usage: hub_control.py STATE ADDRESS SHELL_PORT CONTROL_PORT HUB_ORIGIN

Plans come from `STATE/plans/<principal>.json`; each start gets a pod's name and a deadline of its own.
"""

import asyncio
import json
import secrets
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiohttp import web

from broch_core.tls import server_context
from integration.spawner.fake_control import Control


def pod_plan(state):
    """Return the function that completes a plan."""

    def plan(principal):
        start = secrets.token_hex(8)
        known = json.loads((state / "plans" / f"{principal}.json").read_text())
        seconds = known.pop("seconds", 3600)
        known["cluster"]["pod"] = f"ws-{principal[1:]}-{start}"
        deadline = datetime.now(UTC) + timedelta(seconds=seconds)
        return known | {"principal": principal, "start": start, "deadline_at": deadline.isoformat()}

    return plan


async def main(state, address, shell_port, control_port, hub_origin):
    shell, control = web.Application(), web.Application()
    Control(state, state / "secrets", hub_origin, pod_plan(state)).add_to(shell, control)
    for app, port, clients in ((shell, shell_port, False), (control, control_port, True)):
        runner = web.AppRunner(app)
        await runner.setup()
        context = server_context(state / "tls-web", clients=clients)
        await web.TCPSite(runner, address, port, ssl_context=context).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    given = sys.argv
    asyncio.run(main(Path(given[1]), given[2], int(given[3]), int(given[4]), given[5]))
