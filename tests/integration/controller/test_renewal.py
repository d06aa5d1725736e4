"""Certificates are renewed while a controller runs: it shows the new ones, and begins anew under another authority."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from broch_core import tls
from broch_workspaces.cluster.controller import service
from broch_workspaces.cluster.controller.settings import ControllerSettings
from broch_workspaces.cluster.manifests import zone_manifests
from broch_workspaces.cluster.spec import ZoneSpecs
from integration.controller.one_controller import PODS, importer
from support import zone_objects as b
from support.cluster.authority import Authority

HERE = "127.0.0.1"
SECONDS = 20


class Surroundings:
    """An API server without any objects, and a control plane without any zones; each call comes by a connection of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority()
        self.callers: list[str] = []
        """Names in the certificates that the control plane was shown."""
        self._lease: dict[str, Any] = {}
        self.renew("before")
        self.authority.issue("server", addresses=[HERE]).write(folder / "server")

    def renew(self, name: str, authority: Authority | None = None) -> None:
        """Give the controller another certificate."""
        (authority or self.authority).issue(name, addresses=[HERE]).write(self.folder / "tls")

    async def control_plane(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        self.callers.append(_name(request.transport.get_extra_info("peercert")))
        answer = web.json_response(ZoneSpecs(digest=str(len(self.callers)), items=()).model_dump())
        answer.force_close()
        await asyncio.sleep(0.05)
        return answer

    async def api_server(self, request: web.Request) -> web.StreamResponse:
        if "/leases" in request.path:
            if request.method != "GET":
                self._lease = await request.json()
                self._lease["metadata"]["resourceVersion"] = "1"
            return web.json_response(self._lease, status=200 if self._lease else 404)
        if "watch" not in request.query:
            return web.json_response({"items": [], "metadata": {"resourceVersion": "1"}})
        stream = web.StreamResponse()
        await stream.prepare(request)
        await asyncio.sleep(3600)
        return stream

    def settings(self, plane: int, cluster: int, bundle: str = "") -> ControllerSettings:
        """Return a controller's, whose probes are on a free port and whose zones trust its own authority, or another."""
        (self.folder / "token").write_text("sesame")
        where = {
            "server": f"https://{HERE}:{cluster}",
            "certificate-authority": f"{self.folder}/server/ca.crt",
        }
        config = {
            "clusters": [{"name": "c", "cluster": where}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        (self.folder / "kubeconfig").write_text(yaml.safe_dump(config))
        with socket.socket() as probe:
            probe.bind((HERE, 0))
            port = int(probe.getsockname()[1])
        return ControllerSettings(
            control_plane=f"https://{HERE}:{plane}",
            zones=b.SETTINGS.model_copy(
                update={"ca_bundle": bundle or (self.folder / "tls" / "ca.crt").read_text()}
            ),
            pods=PODS,
            tls=self.folder / "tls",
            token=self.folder / "token",
            kubeconfig=self.folder / "kubeconfig",
            host=HERE,
            port=port,
        )


@asynccontextmanager
async def _listening(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]], context: ssl.SSLContext
) -> AsyncIterator[int]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, HERE, 0, ssl_context=context).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _name(certificate: Any) -> str:
    return str(dict(certificate["subjectAltName"])["DNS"])


async def _shown(port: int, authority: Path) -> str:
    _, writer = await asyncio.open_connection(HERE, port, ssl=ssl.create_default_context(cafile=authority))
    try:
        return _name(writer.get_extra_info("peercert"))
    finally:
        writer.close()


async def _until(check: Callable[[], bool]) -> None:
    for _ in range(SECONDS * 50):
        if check():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not come to pass")


def told(
    folder: Path,
    story: Callable[[Surroundings, int, asyncio.Task[None]], Awaitable[None]],
    *,
    bundle: str = "",
) -> None:
    """Tell what happens to a controller's process."""

    async def tell() -> None:
        there = Surroundings(folder)
        inner, outer = (tls.server_context(folder / "server", clients=clients) for clients in (True, False))
        async with (
            _listening(there.control_plane, inner) as plane,
            _listening(there.api_server, outer) as cluster,
        ):
            settings = there.settings(plane, cluster, bundle)
            build = partial(zone_manifests, settings=settings.zones)
            running = asyncio.create_task(service.serve(settings, build, importer))
            await _until(lambda: running.done() or bool(there.callers))
            try:
                await story(there, settings.port, running)
            finally:
                if not running.done():
                    signal.raise_signal(signal.SIGTERM)
                await running

    asyncio.run(tell())


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls.keep_renewed, "__kwdefaults__", {"every": 0.05})
    monkeypatch.setattr(service, "AUTHORITY_SECONDS", 0.05, raising=False)


def test_a_renewed_certificate_is_shown_to_the_control_plane_and_to_who_asks(tmp_path: Path) -> None:
    async def story(there: Surroundings, port: int, running: asyncio.Task[None]) -> None:
        authority = tmp_path / "server" / "ca.crt"
        assert (there.callers[-1], await _shown(port, authority)) == ("before", "before")
        there.renew("after")
        await _until(lambda: there.callers[-1] == "after")
        assert await _shown(port, authority) == "after"
        assert not running.done()

    told(tmp_path, story)


def test_under_another_authority_the_controller_begins_anew_so_that_zones_trust_it(tmp_path: Path) -> None:
    async def story(there: Surroundings, port: int, running: asyncio.Task[None]) -> None:
        there.renew("after", Authority("another"))
        await _until(running.done)

    told(tmp_path, story)


def test_zones_that_are_told_whom_to_trust_do_not_follow_the_controllers_own_authority(
    tmp_path: Path,
) -> None:
    async def story(there: Surroundings, port: int, running: asyncio.Task[None]) -> None:
        there.renew("after", Authority("another"))
        await asyncio.sleep(1)
        assert not running.done()

    told(tmp_path, story, bundle="-----BEGIN CERTIFICATE-----")
