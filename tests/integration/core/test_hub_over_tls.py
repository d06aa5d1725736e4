"""The control plane's way to the hub on a cluster: certificates are renewed while it runs."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from broch_api.workspaces.hub import HubAway, HubClient
from broch_core.tls import Renewed, server_context
from support.cluster.authority import Authority

SECONDS = 20


class Hub(ThreadingHTTPServer):
    """Says its version to who shows a certificate of its authority; slowly, until it may go on."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        self._context = Renewed(folder, partial(server_context, clients=True))
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.asked = threading.Semaphore(0)
        super().__init__(("127.0.0.1", 0), _Answer)

    def get_request(self) -> tuple[socket.socket, Any]:
        plain, address = super().get_request()
        return self._context().wrap_socket(plain, server_side=True), address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a caller that is refused goes as it likes."""


class _Answer(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        self.server.asked.release()
        assert self.server.goes_on.wait(SECONDS)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"version": "5.0"}')

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def issue(folder: Path, authority: Authority) -> None:
    for who in ("hub", "web"):
        authority.issue("localhost").write(folder / who)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    issue(tmp_path, Authority())
    server = Hub(tmp_path / "hub")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(SECONDS)


@pytest.fixture
def client(hub: Hub, tmp_path: Path) -> Iterator[HubClient]:
    made = HubClient.over_tls(f"https://localhost:{hub.server_address[1]}", tmp_path / "web", "token")
    yield made
    made.close()


def test_a_renewed_certificate_is_taken_up_without_a_restart(
    hub: Hub, client: HubClient, tmp_path: Path
) -> None:
    assert client.version() == "5.0"
    renewed = Authority("renewed")
    renewed.issue("localhost").write(tmp_path / "hub")
    with pytest.raises(HubAway):  # ours is of the authority of before
        client.version()
    renewed.issue("localhost").write(tmp_path / "web")
    assert client.version() == "5.0"


def test_a_call_under_way_outlives_the_certificate_that_it_began_with(
    hub: Hub, client: HubClient, tmp_path: Path
) -> None:
    with ThreadPoolExecutor(2) as others:
        hub.goes_on.clear()
        before = others.submit(client.version)
        assert hub.asked.acquire(timeout=SECONDS)
        issue(tmp_path, Authority("renewed"))
        after = others.submit(client.version)
        assert hub.asked.acquire(timeout=SECONDS)
        hub.goes_on.set()
        assert (before.result(SECONDS), after.result(SECONDS)) == ("5.0", "5.0")
