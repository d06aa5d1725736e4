"""The control plane's lists and the package route together, with certificates and tokens between them as on a cluster."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from broch.web import make_server, tcp_listener
from broch_api.internal.app import make_internal_app
from broch_api.internal.credentials import ServiceTokens
from broch_api.packages.registry import PackageRegistry
from broch_core.tls import server_context
from broch_workspaces.cluster.spec import namespace_of
from broch_workspaces.packages.spec import Ecosystem
from support.package_lists import Lists, make_lists, use_registry
from support.packages import World, package, package_world, sha256, wheel
from support.ports import free_port

NAME, DATA = wheel("tidy", "1.0")
FILE = f"/packages/pypi/files/tidy/1.0/{NAME}"


@dataclass
class Halves:
    """Both, and whoever asks them."""

    lists: Lists
    world: World

    def call(self, handle: str, method: str, path: str, body: Any = None) -> Any:
        answer = self.lists.gov.api(handle).request(method, f"/api/v1{path}", json=body)
        assert answer.is_success, answer.text
        return answer.json()

    def used(self) -> Any:
        return self.call("lena", "GET", f"/projects/{self.lists.world.project.id}/package-use")


@contextmanager
def serving(app: Any, port: int, folder: Path) -> Iterator[None]:
    """Serve the internal API as `broch serve web` does."""
    context = server_context(folder, clients=True)
    server = make_server(app, ssl_context_factory=lambda *_: context)
    listener = tcp_listener("127.0.0.1", port)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive(), "the control plane does not end"


@pytest.fixture
def halves(tmp_path: Path) -> Iterator[Halves]:
    lists, port = make_lists(tmp_path / "control"), free_port()
    services = lists.gov.services | {
        ServiceTokens: ServiceTokens("hub", "oauth", "web", packages="token-of-packages")
    }
    zone = namespace_of(lists.world.project.id)
    with package_world(tmp_path / "route", zone=zone, control_plane=f"https://localhost:{port}") as world:
        tls = world.folder / "web-tls"
        with serving(make_internal_app(services), port, tls):
            registry = PackageRegistry(f"https://localhost:{world.route.port}", tls)
            use_registry(lists.gov.services, lists.world.store, lists.world.settings, registry)
            lists.gov.app.state.services.update(lists.gov.services)
            world.wait(lambda: world.route.lists.age is not None)
            yield Halves(lists, world)


def test_what_is_asked_for_looked_up_and_allowed_is_fetched_with_a_record_until_it_is_removed(halves: Halves):
    world, project = halves.world, halves.lists.world.project.id
    world.registry.put_pypi(package(Ecosystem.PYPI, "tidy", "1.0", (NAME, DATA)), {NAME: DATA})
    wanted = {"ecosystem": "pypi", "name": "Tidy", "version": "1.0", "project_id": project, "why": "To tidy."}
    reason = {"licence_reason": "Our own."}
    entry = halves.call("lena", "POST", "/packages", wanted)
    assert (entry["name"], entry["status"], entry["lookup"]) == ("tidy", "proposed", "done")
    assert world.ask(FILE).status == 403

    here = f"/packages/{entry['id']}"
    assert halves.call("ada", "POST", f"{here}/approve", reason)["status"] == "allowed"
    world.wait(lambda: world.ask("/packages/pypi/simple/tidy/").status == 200)
    answer = world.ask(FILE)
    assert (answer.status, answer.body) == (200, DATA)
    (fetched,) = halves.used()["fetched"]
    assert (fetched["name"], fetched["count"], fetched["bytes"]) == ("tidy", 1, len(DATA))
    (record,) = halves.lists.gov.records("packages:fetch")
    assert record.facts["sha256"] == sha256(DATA)
    assert record.facts["pod"] == f"{namespace_of(project)}/ws-1"

    asked = len(world.registry.asked)
    assert world.ask("/packages/pypi/simple/tdiy/").status == 403
    world.wait(lambda: "tdiy" in {one["name"] for one in halves.used()["refused"]})
    halves.call("ada", "POST", f"{here}/remove", {"reason": "A flaw was found."})
    world.wait(lambda: world.ask(FILE).status == 403)
    assert len(world.registry.asked) == asked
    assert len(halves.lists.gov.records("packages:fetch")) == 1


def test_the_registry_is_asked_by_web_alone(halves: Halves):
    tidy = {"ecosystem": "pypi", "name": "tidy", "version": "1.0"}
    assert halves.world.call("/v1/resolve", tidy)[0] == 404
    assert halves.world.call("/v1/resolve", tidy, name="packages")[0] == 403
    answer = halves.lists.gov.api("lena").post(
        "/api/v1/packages", json=tidy | {"project_id": halves.lists.world.project.id, "why": "To tidy."}
    )
    assert answer.status_code == 422
    assert answer.json()["detail"] == "The registry does not have tidy 1.0."
