"""The package route as zones meet it: forwarder, gateway and route, real TLS between them, and registries of the test."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import http.client
import importlib.util
import io
import json
import ssl
import tarfile
import threading
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from broch_core.ids import new_id
from broch_core.tls import client_context, server_context
from broch_workspaces.packages.process import Running, running
from broch_workspaces.packages.settings import PackagesSettings
from broch_workspaces.packages.spec import (
    Ecosystem,
    Package,
    PackageFile,
    PackageLists,
    ProjectList,
    Resource,
)
from support.cluster.authority import Authority
from support.gateway import NAME, TOKEN, ZONE, Answer, Rig, gateway_rig, review
from support.gateway import Told as Judge
from support.in_thread import in_thread
from support.ports import free_port

PROJECT = ZONE.removeprefix("zone-").upper()
POD_TOKEN = "e30.e30.packages"
ROOT = Path(__file__).parents[2]
Handler = Callable[[web.BaseRequest], Any]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def package(ecosystem: Ecosystem, name: str, version: str, *files: tuple[str, bytes], **more: Any) -> Package:
    """Return a listed package; SHA-512 for npm, SHA-256 for the others."""
    kind = "sha512" if ecosystem is Ecosystem.NPM else "sha256"
    subdir = more.pop("subdir", "")
    return Package(
        ecosystem=ecosystem,
        name=name,
        version=version,
        files=tuple(
            PackageFile(
                name=file,
                digests=(f"{kind}:{hashlib.new(kind, data).hexdigest()}",),
                size=len(data),
                subdir=subdir,
            )
            for file, data in files
        ),
        **more,
    )


def wheel(name: str, version: str, *, filler: bytes = b"") -> tuple[str, bytes]:
    """Return a wheel with one module of this name."""
    info = f"{name}-{version}.dist-info"
    members = {
        f"{name}/__init__.py": f"VERSION = {version!r}\n".encode(),
        f"{name}/filler": filler,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}\n"
        for path, data in members.items()
    )
    members[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path, data in members.items():
            archive.writestr(zipfile.ZipInfo(path), data)
    return f"{name}-{version}-py3-none-any.whl", out.getvalue()


def archive(members: dict[str, bytes], kind: str = "gz") -> bytes:
    """Return a tar archive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=f"w:{kind}") as made:
        for path, data in members.items():
            member = tarfile.TarInfo(path)
            member.size = len(data)
            made.addfile(member, io.BytesIO(data))
    return out.getvalue()


@dataclass
class Registry:
    """Everything outside: one listener that notes what it is asked for."""

    pages: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    """By path and query as they come."""
    asked: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    slow: float = 0.0
    go: threading.Event | None = None
    """What every answer waits for."""
    slow_at: dict[str, float] = field(default_factory=dict)
    port: int = 0

    def put(self, path: str, body: bytes, kind: str = "application/octet-stream") -> None:
        self.pages[path] = (200, {"Content-Type": kind}, body)

    def redirect(self, path: str, to: str, status: int = 302) -> None:
        self.pages[path] = (status, {"Location": to}, b"")

    def put_pypi(self, listed: Package, files: dict[str, bytes], *, at: str = "") -> None:
        """Have the index of one project, and its files at paths that nobody could guess."""
        base = at or f"https://localhost:{self.port}"
        entries = []
        for name, data in files.items():
            place = f"/hashed/{sha256(name.encode())[:8]}/{name}"
            self.put(place, data)
            entries.append(
                {"filename": name, "url": base + place, "hashes": {"sha256": sha256(data)}, "size": len(data)}
            )
        page = {"meta": {"api-version": "1.0"}, "name": listed.name, "files": entries}
        self.put(f"/simple/{listed.name}/", json.dumps(page).encode(), "application/vnd.pypi.simple.v1+json")

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(request.raw_path)
        self.headers.append({key.lower(): value for key, value in request.headers.items()})
        await asyncio.sleep(self.slow_at.get(request.raw_path, self.slow))
        if self.go is not None:
            await asyncio.to_thread(self.go.wait, 60)
        status, headers, body = self.pages.get(request.raw_path, (404, {}, b""))
        return web.Response(status=status, headers=headers, body=body)


@dataclass
class Control:
    """The control plane's side of the contract."""

    lists: PackageLists = field(default_factory=lambda: PackageLists(digest="none"))
    away: bool = False
    fetches: list[dict[str, Any]] = field(default_factory=list)
    denials: list[dict[str, Any]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.tokens.add(request.headers.get("Authorization", ""))
        if self.away:
            return web.Response(status=500)
        if request.path == "/internal/v1/package-lists":
            after = request.query.get("after")
            for _ in range(5):
                if self.lists.digest != after:
                    break
                await asyncio.sleep(0.02)
            return web.Response(body=self.lists.model_dump_json().encode(), content_type="application/json")
        body = json.loads(await request.read())
        if request.path == "/internal/v1/package-fetches":
            self.fetches.append(body)
        else:
            self.denials += body["items"]
        return web.Response(status=204)


@dataclass
class World:
    """All of it, running."""

    folder: Path
    registry: Registry
    control: Control
    route: Running
    gateway: Rig
    loop: asyncio.AbstractEventLoop
    forwarder: Any = None

    @property
    def scratch(self) -> Path:
        return self.folder / "scratch"

    @property
    def outside(self) -> str:
        return f"https://localhost:{self.registry.port}"

    @property
    def inside(self) -> str:
        """Where package managers ask."""
        return f"http://127.0.0.1:{self.forwarder.server_address[1]}"

    def allow(self, *packages: Package, common: tuple[Package, ...] = (), **project: Any) -> None:
        """Have the control plane give these lists, and wait until they are in force."""
        digest = new_id()
        mine = ProjectList(project_id=PROJECT, packages=packages, **project)
        self.control.lists = PackageLists(digest=digest, common=common, projects=(mine,))
        self.wait(
            lambda: self.route.lists._allowed is not None and self.route.lists._allowed.digest == digest
        )

    def allow_nobody(self) -> None:
        digest = new_id()
        self.control.lists = PackageLists(digest=digest)
        self.wait(
            lambda: self.route.lists._allowed is not None and self.route.lists._allowed.digest == digest
        )

    def wait(self, met: Callable[[], bool], seconds: float = 20) -> None:
        done = threading.Event()
        for _ in range(int(seconds / 0.02)):
            if met():
                return
            done.wait(0.02)
        raise AssertionError("it does not come about")

    def ask(self, target: str, method: str = "GET", token: str = POD_TOKEN, **more: Any) -> Answer:
        """Ask the gateway, as the forwarder does, letter by letter."""
        return self.gateway.ask(method, target, token, **more)

    def call(self, path: str, body: Any, *, name: str = "web") -> tuple[int, Any]:
        """Ask the route itself with the certificate of a component."""
        context = client_context(self.folder / f"{name}-tls")
        connection = http.client.HTTPSConnection("localhost", self.route.port, timeout=30, context=context)
        method = "GET" if body is None else "POST"
        connection.request(method, path, None if body is None else json.dumps(body))
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")


def resource(slug: str, url: str, **more: Any) -> Resource:
    return Resource(slug=slug, url=url, **{"largest": 1 << 20, **more})


@asynccontextmanager
async def _listening(handler: Handler, context: ssl.SSLContext, *more: str) -> AsyncIterator[int]:
    server = web.Server(handler, access_log=None)
    loop = asyncio.get_running_loop()
    listeners = [await loop.create_server(server, "127.0.0.1", 0, ssl=context)]
    port = int(listeners[0].sockets[0].getsockname()[1])
    listeners += [await loop.create_server(server, address, port, ssl=context) for address in more]
    try:
        yield port
    finally:
        for listener in listeners:
            listener.close()
        await server.shutdown(1)


def _prepare(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    authority = Authority()
    authority.issue(NAME, "localhost", addresses=["127.0.0.1"]).write(folder / "tls")
    authority.issue("broch-web", "localhost").write(folder / "web-tls")
    authority.issue("broch-packages", "localhost").write(folder / "packages-tls")
    authority.issue("localhost", "files.localhost", "other.localhost").write(folder / "registry-tls")
    (folder / "secrets").mkdir()
    (folder / "secrets" / "gateway").write_text(TOKEN)
    (folder / "secrets" / "packages").write_text("token-of-packages\n")
    (folder / "token").write_text(POD_TOKEN)


@contextmanager
def package_world(folder: Path, *, away: bool = False, zone: str = ZONE, **settings: Any) -> Iterator[World]:
    """Run all of it for the time of a `with` block.

    Args:
        folder: for certificates and files.
        away: the control plane does not answer.
        zone: namespace of the pod that asks.
        settings: of the package route.
    """
    _prepare(folder)
    registry, control = Registry(), Control(away=away)
    forwarder_port = free_port()  # npm's index says whole addresses, so the forwarder's must be known before
    routes: list[Running] = []

    @asynccontextmanager
    async def all_running() -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            outside_context = server_context(folder / "registry-tls", clients=False)
            inner = server_context(folder / "web-tls", clients=True)
            registry.port = await stack.enter_async_context(
                _listening(registry.answer, outside_context, "127.0.0.2")
            )
            control_port = await stack.enter_async_context(_listening(control.answer, inner))
            base = f"https://localhost:{registry.port}"
            chosen = {
                "tls": folder / "packages-tls",
                "secrets": folder / "secrets",
                "control_plane": f"https://localhost:{control_port}",
                "gateway_name": NAME,
                "listen": "127.0.0.1",
                "port": 0,
                "own_port": 0,
                "scratch": folder / "scratch",
                "authorities": folder / "tls" / "ca.crt",
                "inside": ("127.0.0.0/8", "::1/128"),
                "pypi": base,
                "pypi_hosts": (),
                "cran": f"{base}/cran",
                "conda": f"{base}/conda",
                "npm": f"{base}/npm",
                "wait_seconds": 0.1,
                "retry_seconds": 0.05,
                "denials_seconds": 0.1,
                # Tests that ask again at once want to know what is outside now; the others say how long it counts.
                "failed_seconds": 0,
                "resource_seconds": 0,
                "shown_at": f"http://127.0.0.1:{forwarder_port}",
            } | settings
            chosen = {
                key: value(registry.port) if callable(value) else value for key, value in chosen.items()
            }
            routes.append(await stack.enter_async_context(running(PackagesSettings(**chosen))))
            yield

    with in_thread("the package route", all_running()) as loop:
        judge = Judge({POD_TOKEN: review(zone)})
        with gateway_rig(folder, judge, packages=f"https://localhost:{routes[0].port}") as gateway:
            world = World(folder, registry, control, routes[0], gateway, loop)
            with _forwarding(world, forwarder_port):
                yield world


def inside_module() -> Any:
    """Return what runs inside a pod, loaded as `lab.py` loads it."""
    path = ROOT / "spawner/broch_spawner/inside/packages.py"
    spec = importlib.util.spec_from_file_location("broch_packages", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def _forwarding(world: World, port: int) -> Iterator[None]:
    """Run the forwarder of a pod; on loopback the gateway's own name leads nowhere, so it is asked by `localhost`."""
    environment = {
        "BROCH_PACKAGES": "1",
        "BROCH_DOOR_URL": f"https://localhost:{world.gateway.port}",
        "BROCH_DOOR_TOKEN_FILE": str(world.folder / "token"),
        "SSL_CERT_FILE": str(world.gateway.ca),
        "HOME": str(world.folder),
    }
    world.forwarder = inside_module().start(environment, port=port)
    assert world.forwarder is not None, "the forwarder does not start"
    try:
        yield
    finally:
        world.forwarder.shutdown()
        world.forwarder.server_close()
