"""A real broker in a thread, with pods that a test plays by hand: each may be as hostile as it likes."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import socket
import ssl
import threading
import time
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from broch_workspaces.sandboxes import serve as serve_module
from broch_workspaces.sandboxes.broker import Broker
from broch_workspaces.sandboxes.client import BrokerSandbox
from broch_workspaces.sandboxes.frames import JOB, ORDER, TOKEN, frame, receive_exactly, receive_frame
from broch_workspaces.sandboxes.order import Order
from broch_workspaces.sandboxes.serve import serve
from broch_workspaces.sandboxes.starting import StartFailed
from support.cluster.authority import Authority
from support.sandbox_rig import NAME, prepare, settings_of
from support.sandbox_rig import TOKEN as WEB_TOKEN

SECONDS = 10.0


class HandStarter:
    """Says which sandboxes are wanted, and which are ended; makes none."""

    def __init__(self) -> None:
        self.wanted: queue.Queue[tuple[str, str]] = queue.Queue()
        self.ended: queue.Queue[str] = queue.Queue()
        self.sick = ""
        """Why no pod calls back."""
        self.refusal: StartFailed | None = None

    async def start(self, name: str, token: str) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.wanted.put((name, token))

    async def trouble(self, name: str) -> str:
        del name
        return self.sick

    async def end(self, name: str) -> None:
        self.ended.put(name)

    async def sweep(self, keep: Container[str]) -> int:
        del keep
        return 0


@dataclass
class Stage:
    """A running broker and its two doors."""

    folder: Path
    starter: HandStarter
    port: int = 0
    pods_port: int = 0
    brokers: list[Broker] = field(default_factory=list)
    """The one that runs."""
    _failure: list[BaseException] = field(default_factory=list)

    def web(self, token: str = WEB_TOKEN, tls: str = "web") -> BrokerSandbox:
        """Return web's side."""
        file = self.folder / "shown-token"
        file.write_text(token + "\n")
        return BrokerSandbox(f"{NAME}:{self.port}", self.folder / tls, file)

    def dial(self, port: int, *, certificate: bool = False, source: str = "127.0.0.1") -> ssl.SSLSocket:
        """Connect by TLS, from any address of loopback."""
        context = ssl.create_default_context(cafile=str(self.folder / "web" / "ca.crt"))
        if certificate:
            context.load_cert_chain(self.folder / "web" / "tls.crt", self.folder / "web" / "tls.key")
        plain = socket.create_connection(("127.0.0.1", port), SECONDS, (source, 0))
        try:
            return context.wrap_socket(plain, server_hostname=NAME)
        except BaseException:
            plain.close()
            raise

    def until_waiting(self, callers: int) -> None:
        """Wait until so many callers wait for a turn at checks."""
        end = time.monotonic() + SECONDS
        while (now := self.brokers[0]._waiting["checks"]) != callers:
            assert time.monotonic() < end, f"{now} wait, not {callers}"
            time.sleep(0.02)

    def pod(self, source: str = "127.0.0.1") -> ssl.SSLSocket:
        """Play the pod that is wanted next, until it has called back."""
        _, token = self.starter.wanted.get(timeout=SECONDS)
        connection = self.dial(self.pods_port, source=source)
        connection.sendall(frame(TOKEN, token.encode()))
        return connection


def take_job(pod: ssl.SSLSocket) -> tuple[Order, bytes, bytes]:
    """Return order, job and inputs as a pod is sent them."""
    _, head = receive_frame(pod.recv, ORDER)
    _, job = receive_frame(pod.recv, JOB)
    order = Order.parse(head)
    return order, job, receive_exactly(pod.recv, order.total)


def is_closed(connection: ssl.SSLSocket, seconds: float = SECONDS) -> bool:
    """Say whether the other side closes without a word."""
    connection.settimeout(seconds)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


@contextlib.contextmanager
def on_stage(folder: Path, **changes: object) -> Iterator[Stage]:
    """Run a broker."""
    prepare(folder, Authority())
    stage = Stage(folder, HandStarter())
    ready = threading.Event()
    loop = asyncio.new_event_loop()

    def noted(*given: Any) -> Broker:
        stage.brokers.append(Broker(*given))
        return stage.brokers[0]

    tasks: list[asyncio.Task[None]] = []

    def on_ready(port: int, pods_port: int) -> None:
        stage.port, stage.pods_port = port, pods_port
        ready.set()

    async def body() -> None:
        tasks.append(asyncio.create_task(serve(settings_of(folder, **changes), stage.starter, on_ready)))
        with contextlib.suppress(asyncio.CancelledError):
            await tasks[0]

    def run() -> None:
        try:
            loop.run_until_complete(body())
        except BaseException as error:  # noqa: BLE001 - told by the test that waits
            stage._failure.append(error)
        finally:
            ready.set()
            loop.close()

    thread = threading.Thread(target=run, daemon=True)
    with mock.patch.object(serve_module, "Broker", noted):
        thread.start()
        ready.wait(SECONDS)
    assert not stage._failure, stage._failure
    try:
        yield stage
    finally:
        loop.call_soon_threadsafe(tasks[0].cancel)
        thread.join(20)
        assert not thread.is_alive(), "the broker did not stop"
        assert not stage._failure, stage._failure
