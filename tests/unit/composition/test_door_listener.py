"""The door's listener on one machine: what a workspace does with connections costs nobody else a descriptor."""

import asyncio
import contextlib
import socket

import pytest
import uvloop

from broch import listener, web
from broch.web import Apps, _on_one_machine
from broch_core.settings import Settings
from support.running import free_port

ASK = b"GET /door/v1/requests HTTP/1.1\r\nHost: door\r\n\r\n"


async def app(scope, receive, send):
    """Answer how many bytes came."""
    size = 0
    while (message := await receive())["type"] == "http.request":
        size += len(message["body"])
        if not message["more_body"]:
            break
    said = str(size).encode() if scope["path"] != "/large" else bytes(8 << 20)
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(said))]}
    )
    await send({"type": "http.response.body", "body": said})


def at_the_door(folder, story):
    """Serve the door as `broch up` does, and live the story with the path of its socket."""
    settings = Settings(folder=folder, port=free_port())
    (settings.run / "door").mkdir(parents=True)
    apps = Apps(**dict.fromkeys(Apps.__dataclass_fields__, app))
    *others, (server, sockets) = _on_one_machine(settings, apps)
    for _, unused in others:
        unused[0].close()

    async def run():
        serving = asyncio.create_task(server.serve(sockets=sockets))
        try:
            await asyncio.wait_for(story(settings.run / "door" / "door.sock"), 60)
        finally:
            server.should_exit = True
            await serving

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


def opened(path):
    one = socket.socket(socket.AF_UNIX)
    one.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        one.connect(str(path))
    return one


async def is_cut(one):
    try:
        return await asyncio.get_running_loop().sock_recv(one, 1) == b""
    except ConnectionError:
        return True


async def answer(one):
    await asyncio.get_running_loop().sock_sendall(one, ASK)
    return await asyncio.get_running_loop().sock_recv(one, 1000)


@pytest.fixture
def soon(monkeypatch):
    monkeypatch.setattr(listener, "HEAD_SECONDS", 0.2)
    monkeypatch.setattr(listener, "BODY_SECONDS", 1.0)


def test_connections_beyond_the_most_are_cut_and_a_place_is_free_again(tmp_path, monkeypatch):
    monkeypatch.setattr(listener, "DOOR_CONNECTIONS", 5)

    async def story(path):
        held = [opened(path) for _ in range(5)]
        assert (await answer(held[-1])).startswith(b"HTTP/1.1 200 ")
        more = [opened(path) for _ in range(20)]
        assert all([await is_cut(one) for one in more])
        held.pop(0).close()
        for _ in range(100):
            one = opened(path)
            with contextlib.suppress(ConnectionError):
                if (await answer(one)).startswith(b"HTTP/1.1 200 "):
                    break
            await asyncio.sleep(0.05)
        else:
            raise AssertionError("the place was not given back")
        for one in (*held, *more):
            one.close()

    at_the_door(tmp_path, story)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        ASK[:20],
        ASK[:-2],
        b"PUT / HTTP/1.1\r\nHost: door\r\nContent-Length: 9\r\n\r\n1234",
    ],
)
def test_who_does_not_go_on_is_cut(tmp_path, soon, said):
    async def story(path):
        one = opened(path)
        loop = asyncio.get_running_loop()
        if said:
            await loop.sock_sendall(one, said)
        with contextlib.suppress(ConnectionError):
            while await loop.sock_recv(one, 1000):
                pass
        one.close()

    at_the_door(tmp_path, story)


@pytest.mark.parametrize("then", [b"\r\n", ASK[:20]])
def test_who_does_not_go_on_after_an_answer_is_cut(tmp_path, soon, monkeypatch, then):
    monkeypatch.setitem(
        web._UVICORN, "timeout_keep_alive", 3600
    )  # uvicorn's own bound ends with the first byte

    async def story(path):
        one = opened(path)
        assert (await answer(one)).startswith(b"HTTP/1.1 200 ")
        await asyncio.get_running_loop().sock_sendall(one, then)
        assert await is_cut(one)
        one.close()

    at_the_door(tmp_path, story)


@pytest.mark.parametrize("times", [1, 3])
def test_who_does_not_read_is_cut(tmp_path, soon, times):
    async def story(path):
        one = opened(path)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(one, b"GET /large HTTP/1.1\r\nHost: door\r\n\r\n" * times)
        await asyncio.sleep(3)
        size = 0
        with contextlib.suppress(ConnectionError):
            while more := await loop.sock_recv(one, 1 << 20):
                size += len(more)
        assert size < 8 << 20
        one.close()

    at_the_door(tmp_path, story)


def test_who_reads_slowly_gets_it_all(tmp_path, soon, monkeypatch):
    monkeypatch.setattr(listener, "BODY_SECONDS", 3.0)

    async def story(path):
        one = opened(path)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(one, b"GET /large HTTP/1.1\r\nHost: door\r\nConnection: close\r\n\r\n")
        size = 0
        while more := await loop.sock_recv(one, 1 << 20):
            size += len(more)
            await asyncio.sleep(0.1)
        assert size > 8 << 20
        one.close()

    at_the_door(tmp_path, story)


def test_a_body_that_goes_on_may_take_longer_than_one_silence(tmp_path, soon, monkeypatch):
    monkeypatch.setattr(listener, "BODY_SECONDS", 3.0)

    async def story(path):
        one = opened(path)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(one, b"PUT / HTTP/1.1\r\nHost: door\r\nContent-Length: 10\r\n\r\n")
        for _ in range(10):
            await asyncio.sleep(0.4)
            await loop.sock_sendall(one, b"x")
        assert (await loop.sock_recv(one, 1000)).startswith(b"HTTP/1.1 200 ")
        one.close()

    at_the_door(tmp_path, story)
