"""A server inside a workspace that does its worst: the hub keeps nothing for it, and cuts it without asking."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import pytest
from aiohttp import web

from broch_spawner import hub_gate as hub_gate_module
from broch_spawner import proxy as proxy_module
from integration.spawner.proxy_stage import BASE, OWN, PLACE, SHARED, Server, Stage, stage

_KEY = "dGhlIHNhbXBsZSBub25jZQ=="
MIB = 1 << 20


def tried(folder: Path, monkeypatch: pytest.MonkeyPatch, server: Server, story) -> None:
    async def run() -> None:
        async with stage(folder, monkeypatch, OWN, server) as on:
            await story(on)

    asyncio.run(asyncio.wait_for(run(), 90))


async def raw_websocket(on: Stage) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return a websocket as the bytes of which it is made."""
    reader, writer = await asyncio.open_connection("127.0.0.1", on.port)
    writer.write(
        f"GET {BASE}api/kernels/x/channels HTTP/1.1\r\nHost: {on.host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {_KEY}\r\n\r\n".encode()
    )
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 "), head
    return reader, writer


async def take_over(request: web.Request) -> asyncio.Transport:
    """Agree to a websocket; return the connection, of which nobody reads any more."""
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    assert request.transport is not None
    request.transport.pause_reading()
    return request.transport


def test_a_message_that_never_ends_goes_on_as_it_comes(tmp_path, monkeypatch):
    """With whole messages neither side would get anything here, and the hub would keep all of it."""
    heard = asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        request.protocol._payload_parser = SimpleNamespace(
            feed_data=lambda data: (heard.set() if b"begun" in data else None, b""), feed_eof=lambda: None
        )
        request.transport.write(b"\x01\x05first")  # no last fragment
        await heard.wait()
        for _ in range(64):
            request.transport.write(b"\x00\x7f" + MIB.to_bytes(8) + b"x" * MIB)
            await request.protocol._drain_helper()
        await asyncio.sleep(60)
        return socket

    async def story(on: Stage) -> None:
        reader, writer = await raw_websocket(on)
        assert await reader.readexactly(7) == b"\x01\x05first"
        writer.write(b"\x01\x85\0\0\0\0begun")  # a first fragment, masked with zeros
        for _ in range(64):
            assert len(await reader.readexactly(10 + MIB)) == 10 + MIB
        writer.close()

    tried(tmp_path, monkeypatch, endless, story)


def test_who_does_not_read_is_not_written_for(tmp_path, monkeypatch):
    written = []

    async def pours(request: web.Request) -> web.StreamResponse:
        transport = await take_over(request)
        while not transport.is_closing():
            transport.write(b"\x82\x7f" + MIB.to_bytes(8) + b"x" * MIB)
            await request.protocol._drain_helper()
            written.append(MIB)
        return web.Response()

    async def story(on: Stage) -> None:
        _, writer = await raw_websocket(on)
        before = -1
        while len(written) != before:
            before = len(written)
            await asyncio.sleep(1)
        assert sum(written) < 32 * MIB, "what the buffers of four sockets hold"
        writer.transport.abort()

    tried(tmp_path, monkeypatch, pours, story)


def test_a_server_that_does_not_mean_to_end_is_cut_at_once(tmp_path, monkeypatch):
    async def stays(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("slow"):
            answer = web.StreamResponse()
            await answer.prepare(request)
            while True:
                await answer.write(b"x")
                await asyncio.sleep(0.1)
        transport = await take_over(request)
        while not transport.is_closing():
            transport.write(b"\x81\x01x")
            await asyncio.sleep(0.1)
        return web.Response()

    async def story(on: Stage) -> None:
        sockets = [await raw_websocket(on) for _ in range(3)]
        for reader, _ in sockets:
            assert await reader.readexactly(3) == b"\x81\x01x"
        async with on.session.get(f"http://127.0.0.1:{on.port}{BASE}slow", headers=on.headers()) as slow:
            assert slow.status == 200
            await asyncio.wait_for(on.proxy.delete_route(OWN), 5)
            for reader, _ in sockets:
                with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                    await asyncio.wait_for(reader.readexactly(1 << 30), 10)
            with pytest.raises(aiohttp.ClientError):
                await asyncio.wait_for(slow.read(), 10)
        assert (await on.get(f"{BASE}lab"))[0] == 503

    tried(tmp_path, monkeypatch, stays, story)


def test_who_gave_up_a_request_is_not_worked_for_any_more(tmp_path, monkeypatch):
    waiting: list[asyncio.Transport] = []

    async def silent(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        waiting.append(request.transport)
        await asyncio.sleep(3600)
        return web.Response()

    async def until(check) -> None:
        for _ in range(300):
            if check():
                return
            await asyncio.sleep(0.1)
        raise AssertionError("it did not come to pass")

    async def story(on: Stage) -> None:
        asked = [asyncio.create_task(on.get(f"{BASE}api/{number}")) for number in range(50)]
        await until(lambda: len(waiting) == 50)
        assert not any(one.is_closing() for one in waiting)
        for one in asked:
            one.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        await until(lambda: all(one.is_closing() for one in waiting))
        assert not on.proxy._slots._taken

    tried(tmp_path, monkeypatch, silent, story)


def test_one_workspace_has_so_many_connections_and_no_more(tmp_path, monkeypatch):
    monkeypatch.setattr(proxy_module, "_AT_ONCE", 3)

    async def story(on: Stage) -> None:
        sockets = [await raw_websocket(on) for _ in range(3)]
        assert (await on.get(f"{BASE}lab"))[0] == 429
        with pytest.raises(AssertionError, match="429"):
            await raw_websocket(on)
        sockets.pop()[1].transport.abort()
        for _ in range(100):
            if (await on.get(f"{BASE}lab"))[0] == 200:
                break
            await asyncio.sleep(0.1)
        else:
            raise AssertionError("the place was not given back")
        for _, writer in sockets:
            writer.transport.abort()

    async def quiet(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade"):
            await take_over(request)
            await asyncio.sleep(3600)
        return web.Response(text="page")

    tried(tmp_path, monkeypatch, quiet, story)


def test_what_is_shown_in_headers_counts_and_is_bounded(tmp_path, monkeypatch):
    async def tells(request: web.Request) -> web.StreamResponse:
        many = int(request.query["many"])
        answer = web.Response()
        for _ in range(many):
            answer.headers.add("ETag", '"' + "x" * 8000 + '"')
        return answer

    async def story(on: Stage) -> None:
        for _ in range(10):
            assert (await on.get(f"{BASE}api?many=1"))[0] == 200
        assert 80_000 <= on.proxy.meter._waiting[PLACE] < 90_000
        assert (await on.get(f"{BASE}api?many=9"))[0] == 502

    tried(tmp_path, monkeypatch, tells, story)


def test_an_answer_that_switches_protocols_unasked_is_none(tmp_path, monkeypatch):
    async def switches(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nleft"
        )
        await asyncio.sleep(60)
        return web.Response()

    async def story(on: Stage) -> None:
        assert (await asyncio.wait_for(on.get(f"{BASE}lab"), 20))[0] == 502

    tried(tmp_path, monkeypatch, switches, story)


@pytest.mark.parametrize("spec", [OWN, SHARED])
def test_the_end_of_a_user_leaves_no_way_to_their_workspace(tmp_path, monkeypatch, spec):
    async def story() -> None:
        async with stage(tmp_path, monkeypatch, spec) as on:
            assert list(await on.proxy.get_all_routes()) == [spec]
            await on.proxy.delete_user(SimpleNamespace(name=PLACE, proxy_spec=OWN))
            assert await on.proxy.get_all_routes() == {}

    asyncio.run(story())


def test_a_browser_that_asks_nothing_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(proxy_module, "_IDLE_SECONDS", 0.5)

    async def page(_request: web.Request) -> web.StreamResponse:
        return web.Response(text="page")

    async def story(on: Stage) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", on.port)
        assert await reader.read() == b""
        writer.close()

    tried(tmp_path, monkeypatch, page, story)


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def refused(path: Path) -> bool:
    """Ask at a gate; tell whether the connection is cut instead of an answer."""
    try:
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b"GET /hub/api/ HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n")
        said = await reader.read()
        writer.close()
    except ConnectionError:
        return True
    assert said.startswith(b"HTTP/1.1 ") or not said
    return not said


def test_a_workspace_takes_few_of_the_hubs_descriptors_and_gives_them_back(tmp_path, monkeypatch):
    """What a gate holds the hub holds, which is the proxy of everybody too."""
    monkeypatch.setattr(hub_gate_module, "_HEAD_SECONDS", 3.0)

    async def story() -> None:
        gate = hub_gate_module.HubGate(tmp_path / "hub.sock", tmp_path / "gate.sock", "w" + "a" * 25)
        await gate.start()
        before = descriptors()
        opened = [await asyncio.open_unix_connection(str(tmp_path / "gate.sock")) for _ in range(100)]
        opened[0][1].write(b"GET /hub/api/ HT")
        assert await refused(tmp_path / "gate.sock")
        held = descriptors() - before - len(opened)  # one end each is ours
        assert held <= hub_gate_module._CONNECTIONS
        for reader, _ in opened:  # who asks nothing is cut
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        for _, writer in opened:
            writer.transport.abort()
        for _ in range(100):
            if not await refused(tmp_path / "gate.sock"):
                break
            await asyncio.sleep(0.05)
        else:
            raise AssertionError("the places were not given back")
        await gate.stop()

    asyncio.run(asyncio.wait_for(story(), 60))
