"""The web service's listeners on a cluster: TLS for browsers and collectors, certificates on both sides for everybody else."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from broch import web
from broch.instance import Apps
from broch_core import tls
from support.cluster.authority import Authority
from support.ports import free_port

PORTS = ("SHELL_PORT", "INTERNAL_PORT", "DOOR_PORT", "OWN_PORT")


async def _says(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@contextmanager
def serving(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    ports = {name: free_port() for name in PORTS}
    for name, port in ports.items():
        monkeypatch.setattr(web, name, port)
    origin = f"https://localhost:{ports['SHELL_PORT']}"
    settings = SimpleNamespace(
        on_cluster=True, tls=folder, listen="127.0.0.1", shell_origin=origin, port=ports["SHELL_PORT"],
        viewer_origin="https://viewer.test", hub_origin="https://hub.test",
    )  # fmt: skip
    apps: Any = Apps(_says, _says, _says, _says, _says)  # type: ignore[arg-type]
    servers = web._on_cluster(settings, apps)  # type: ignore[arg-type]

    async def run() -> None:
        renewals = [asyncio.create_task(web._renew(server.config, folder)) for server, _ in servers]
        await asyncio.gather(*(server.serve(sockets=sockets) for server, sockets in servers))
        for renewal in renewals:
            renewal.cancel()

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    try:
        yield ports
    finally:
        for server, _ in servers:
            server.should_exit = True
        thread.join(20)


def ask(port: int, context: ssl.SSLContext, path: str = "/", host: str = "") -> httpx.Response:
    with httpx.Client(verify=context, transport=httpx.HTTPTransport(verify=context, retries=5)) as client:
        return client.get(f"https://localhost:{port}{path}", headers={"Host": host or f"localhost:{port}"})


def presented(port: int, authority: Path) -> bytes:
    context = ssl.create_default_context(cafile=authority)
    with socket.create_connection(("localhost", port)) as plain, context.wrap_socket(plain, server_hostname="localhost") as one:  # fmt: skip
        return one.getpeercert(binary_form=True) or b""


def eventually(question: Callable[[], bool]) -> bool:
    return any(question() or threading.Event().wait(0.1) for _ in range(100))


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
def folder(authority: Authority, tmp_path: Path) -> Path:
    authority.issue("localhost").write(tmp_path / "tls")
    return tmp_path / "tls"


def test_browsers_need_no_certificate_and_others_one_of_our_authority(
    folder: Path, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    stranger = tmp_path / "stranger"
    Authority("somebody else").issue("localhost").write(stranger)
    (stranger / "ca.crt").write_bytes((folder / "ca.crt").read_bytes())
    anonymous = tls.client_context(folder, present=False)
    with serving(folder, monkeypatch) as ports:
        shown = ask(ports["SHELL_PORT"], anonymous)
        assert shown.status_code == 200
        assert shown.headers["strict-transport-security"] == "max-age=31536000"
        for name in ("INTERNAL_PORT", "DOOR_PORT"):
            assert ask(ports[name], tls.client_context(folder)).text == "ok"
            for context in (anonymous, tls.client_context(stranger)):
                with pytest.raises((httpx.TransportError, ssl.SSLError)):
                    ask(ports[name], context)


def test_a_collector_asks_by_the_pods_address_and_gets_metrics_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    anonymous = tls.client_context(folder, present=False)
    with serving(folder, monkeypatch) as ports:
        assert ask(ports["OWN_PORT"], anonymous, "/metrics", "10.1.2.3:8448").text == "ok"
        assert ask(ports["OWN_PORT"], anonymous, "/status", "10.1.2.3:8448").status_code == 404
        assert ask(ports["SHELL_PORT"], anonymous, "/metrics", "10.1.2.3:8443").status_code == 421


def test_a_renewed_certificate_is_shown_without_a_restart(
    folder: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tls.keep_renewed, "__kwdefaults__", {"every": 0.1})
    with serving(folder, monkeypatch) as ports:
        anonymous = tls.client_context(folder, present=False)
        assert ask(ports["SHELL_PORT"], anonymous).status_code == 200
        before = presented(ports["SHELL_PORT"], folder / "ca.crt")
        authority.issue("localhost").write(folder)

        def renewed() -> bool:
            try:
                return presented(ports["SHELL_PORT"], folder / "ca.crt") != before
            except ssl.SSLError:  # the certificate is written, and not yet its key
                return False

        assert eventually(renewed)


def test_a_renewed_authority_is_believed_without_a_restart(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tls.keep_renewed, "__kwdefaults__", {"every": 0.1})
    another, theirs = Authority("another"), tmp_path / "theirs"
    another.issue("localhost").write(theirs)

    def answers() -> bool:
        try:
            return ask(ports["INTERNAL_PORT"], tls.client_context(theirs)).status_code == 200
        except (httpx.TransportError, ssl.SSLError):
            return False

    with serving(folder, monkeypatch) as ports:
        assert ask(ports["INTERNAL_PORT"], tls.client_context(folder)).status_code == 200
        assert not answers()
        another.issue("localhost").write(folder)
        assert eventually(answers)
