"""Uploads against a real server that is killed with SIGKILL, and against the memory it may use."""

import base64
import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from sqlmodel import select

from broch_airlock.tables import Upload
from support.ports import free_port
from support.worlds import World, make_world

TESTS = Path(__file__).parents[2]
TUS = {"Tus-Resumable": "1.0.0"}
MIB = 1 << 20


class Server:
    """A server process of its own on the folder of a world."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "support.intake_server", str(self.folder), str(self.port)],
            cwd=TESTS,
            env={**os.environ, "PYTHONPATH": str(TESTS)},
        )
        for _ in range(300):
            try:
                httpx.get(f"http://127.0.0.1:{self.port}/", timeout=5)
            except httpx.TransportError:
                time.sleep(0.1)
            else:
                return
        raise TimeoutError("the server did not start")

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


@pytest.fixture
def server(world: World) -> Iterator[Server]:
    server = Server(world.folder)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def client(server: Server, world: World) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=f"http://127.0.0.1:{server.port}", headers=world.headers("ruth"), timeout=120
    ) as client:
        yield client


def begin(client: httpx.Client, world: World, length: int) -> tuple[str, str]:
    draft = client.post("/api/v1/airlock/requests", json={"project_id": world.project.id}).json()["id"]
    name = base64.b64encode(b"model.bin").decode()
    headers = {**TUS, "Upload-Length": str(length), "Upload-Metadata": f"filename {name}"}
    made = client.post(f"/api/v1/airlock/requests/{draft}/uploads", headers=headers)
    assert made.status_code == 201, made.text
    return draft, made.headers["location"]


def part(client: httpx.Client, url: str, offset: int, content: object) -> httpx.Response:
    headers = {**TUS, "Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
    return client.patch(url, content=content, headers=headers)  # type: ignore[arg-type]


def until_noted(world: World, size: int) -> None:
    """Wait until the server has noted that so many bytes of the one upload have come."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with world.store.read() as session:
            noted = session.exec(select(Upload.received)).one()
        if noted >= size:
            return
        time.sleep(0.02)
    raise AssertionError(f"{noted} bytes are noted")


def test_an_upload_goes_on_after_the_server_was_killed_in_the_middle(
    server: Server, client: httpx.Client, world: World
) -> None:
    data = random.Random(5).randbytes(24 * MIB)
    draft, url = begin(client, world, len(data))
    assert part(client, url, 0, data[: 3 * MIB]).status_code == 204
    killed = threading.Event()

    def halting() -> Iterator[bytes]:
        for start in range(3 * MIB, len(data), MIB):
            if start >= 15 * MIB:
                killed.wait(60)
            yield data[start : start + MIB]

    def send() -> None:
        with pytest.raises(httpx.TransportError):
            part(client, url, 3 * MIB, halting())

    sender = threading.Thread(target=send)
    sender.start()
    until_noted(world, 11 * MIB)
    server.kill()
    killed.set()
    sender.join()
    server.start()
    head = client.head(url, headers=TUS)
    offset = int(head.headers["upload-offset"])
    # 8 MiB strides are synced and noted on the way: the 3 that were acknowledged, and at least one stride more.
    assert 11 * MIB <= offset < len(data)
    assert part(client, url, offset, data[offset:]).status_code == 204
    [file] = client.get(f"/api/v1/airlock/requests/{draft}").json()["file_list"]
    assert (file["size"], file["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())


def test_memory_does_not_grow_with_the_file(server: Server, client: httpx.Client, world: World) -> None:
    assert server.process is not None
    length, piece = 256 * MIB, b"x" * MIB
    draft, url = begin(client, world, length)
    small = client.put(
        f"/api/v1/airlock/requests/{draft}/files/small.bin",
        content=piece,
        headers={"Content-Type": "application/octet-stream"},
    )
    assert small.status_code == 201
    process = psutil.Process(server.process.pid)
    before, highest = process.memory_info().rss, 0

    def pieces() -> Iterator[bytes]:
        nonlocal highest
        for _ in range(length // MIB):
            highest = max(highest, process.memory_info().rss)
            yield piece

    assert part(client, url, 0, pieces()).status_code == 204
    put = client.put(
        f"/api/v1/airlock/requests/{draft}/files/put.bin",
        content=pieces(),
        headers={"Content-Type": "application/octet-stream"},
    )
    assert put.status_code == 201
    digest = hashlib.sha256(piece * (length // MIB)).hexdigest()
    files = client.get(f"/api/v1/airlock/requests/{draft}").json()["file_list"]
    assert {file["name"]: file["sha256"] for file in files if file["name"] != "small.bin"} == {
        "model.bin": digest,
        "put.bin": digest,
    }
    assert highest - before < 48 * MIB
