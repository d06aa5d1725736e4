"""What proxy and gate note of a workspace while they carry bytes: by a real proxy and gate, and a clock that runs fast."""

import asyncio
import itertools
import os
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from aiohttp import web

from broch_spawner.endpoint import Endpoint
from broch_spawner.hub_gate import HubGate
from broch_spawner.idle_watch import LARGE_BODY, Signs
from broch_spawner.inside.idle import Source
from broch_spawner.proxy import InProcessProxy

MINE = "w" + "a" * 25
HOST = "hub.broch.localhost"
NOON = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
LARGE = os.urandom(LARGE_BODY * 2)


class Upstream:
    """A workspace's server, or the hub: gives as much as it is asked for, and keeps what it gets."""

    def __init__(self) -> None:
        self.got, self.status = b"", 200

    async def handle(self, request):
        self.got = await request.read()
        out = web.StreamResponse(status=self.status)
        await out.prepare(request)
        for _ in range(int(request.query.get("chunks", 1))):
            await out.write(b"x" * 1000)
            await asyncio.sleep(0.01)
        return out


def signs_at(seconds):
    """Return signs whose clock goes on by so much whenever it is read."""
    ticks = itertools.count()
    return Signs(lambda: NOON + timedelta(seconds=seconds * next(ticks)))


def known(signs):
    return {one.source for one in signs.samples(MINE, watched_since=NOON, reported=NOON)}


def carried(tmp_path, monkeypatch, seconds, method, path, **more):
    """Have the proxy carry one request; return what it noted, and what the server got."""
    signs = signs_at(seconds)
    monkeypatch.setattr("broch_spawner.proxy.SIGNS", signs)

    async def story():
        upstream = Upstream()
        runner = web.ServerRunner(web.Server(upstream.handle))
        await runner.setup()
        await web.UnixSite(runner, str(tmp_path / "lab.sock")).start()
        proxy = InProcessProxy(
            port=0,
            shell_origin="http://broch.localhost:1",
            hub_origin=f"http://{HOST}:2",
            control=Endpoint.at_socket(tmp_path / "none.sock"),
            shown_file=str(tmp_path / "shown.json"),
        )
        await proxy.start()
        target = "http+unix://" + str(tmp_path / "lab.sock").replace("/", "%2F")
        await proxy.add_route(f"{MINE}.{HOST}/user/{MINE}/", target, {"user": MINE})
        port = proxy._runner.addresses[0][1]
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                method,
                f"http://127.0.0.1:{port}/user/{MINE}/{path}",
                headers={"Host": f"{MINE}.{HOST}"},
                **more,
            ) as answer,
        ):
            assert answer.status == 200
            await answer.read()
        await proxy.stop()
        await runner.cleanup()
        return upstream.got

    return signs, asyncio.run(story())


@pytest.mark.parametrize(
    ("seconds", "method", "path", "body", "is_transfer"),
    [
        (1, "GET", "api/kernels", b"", False),
        (10, "GET", "api/kernels", b"", False),
        (10, "GET", "x?chunks=8", b"", True),
        (1, "GET", "x?chunks=8", b"", False),
        (10, "PUT", "api/contents/x", LARGE, True),
        (0.1, "PUT", "api/contents/x", LARGE, False),
        (9, "PUT", "api/contents/x", b"small", False),
    ],
)
def test_a_long_transfer_is_activity_and_its_bytes_arrive(
    tmp_path, monkeypatch, seconds, method, path, body, is_transfer
):
    signs, got = carried(tmp_path, monkeypatch, seconds, method, path, data=body)
    assert got == body
    assert (Source.TRANSFER in known(signs)) is is_transfer
    outside = next(one for one in signs.samples(MINE, watched_since=NOON, reported=None))
    assert outside.active_at > NOON or seconds < 1


@pytest.mark.parametrize(
    ("status", "path", "heard"),
    [
        (200, f"users/{MINE}/activity", True),
        (403, f"users/{MINE}/activity", False),
        (200, "oauth2/token", False),
    ],
)
def test_a_report_counts_once_the_hub_took_it(tmp_path, monkeypatch, status, path, heard):
    signs = signs_at(1)
    monkeypatch.setattr("broch_spawner.hub_gate.SIGNS", signs)

    async def story():
        hub = Upstream()
        hub.status = status
        runner = web.ServerRunner(web.Server(hub.handle))
        await runner.setup()
        await web.UnixSite(runner, str(tmp_path / "hub.sock")).start()
        gate = HubGate(tmp_path / "hub.sock", tmp_path / "gate.sock", MINE)
        await gate.start()
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(tmp_path / "gate.sock"))) as session,
            session.post(f"http://localhost/hub/api/{path}", json={}) as answer,
        ):
            assert answer.status == status
        await gate.stop()
        await runner.cleanup()

    asyncio.run(story())
    assert (Source.INSIDE in known(signs)) is heard
