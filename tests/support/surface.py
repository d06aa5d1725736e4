"""One Broch in this process with something in every state, asked by raw ASGI: every byte of a request is the test's own."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import shutil
import sqlite3
from collections.abc import AsyncIterator, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
import uvloop

from broch.instance import Instance
from broch.run_folder import prepare
from broch.web import make_shell
from broch_airlock.door.app import make_door_app
from broch_api.packages.registry import PackageRegistry
from broch_core.audit.log import AuditLog
from broch_core.ids import new_id, new_principal
from broch_core.proof import KeyFolder
from broch_core.settings import Settings
from broch_core.store.unit import Store
from broch_core.web.guard import COOKIE
from broch_core.web.routing import Kind
from broch_core.web.sessions import Sessions
from support.package_lists import ROUTE, FakeRoute, package, use_registry
from support.worlds import World

PORT = 8000
HOST = f"broch.localhost:{PORT}"
ORIGIN = f"http://{HOST}"
VIEWER_HOST = f"viewer.{HOST}"
GATEWAY_TOKEN = "token-of-the-zone-gateway"
FOLDERS = ("blobs", "datasets", "keys", "zones")


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    defect: Exception | None = None

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body


async def ask(
    app: Any,
    method: str,
    target: str,
    headers: Iterable[tuple[str, str | bytes]] = (),
    body: bytes | AsyncIterator[bytes] = b"",
    *,
    client: str = "127.0.0.1",
) -> Answer:
    """Send one request to an app, nothing added, nothing checked on the way."""
    path, _, query = target.partition("?")
    pieces = _once(body) if isinstance(body, bytes) else body
    status, answered, got, ended = 0, [], bytearray(), False

    async def receive() -> dict[str, Any]:
        nonlocal ended
        if ended:
            await asyncio.Event().wait()  # the client stays and says no more
        try:
            return {"type": "http.request", "body": await anext(pieces), "more_body": True}
        except StopAsyncIteration:
            ended = True
            return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
            answered.extend((k.decode("latin-1"), v.decode("latin-1")) for k, v in message["headers"])
        else:
            got.extend(message.get("body", b""))

    raw = [
        (k.lower().encode("latin-1"), v if isinstance(v, bytes) else v.encode("latin-1")) for k, v in headers
    ]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": _decoded(path),
        "raw_path": path.encode("latin-1", "replace"),
        "query_string": query.encode("latin-1", "replace"),
        "root_path": "",
        "headers": raw,
        "client": (client, 50000),
        "server": ("127.0.0.1", PORT),
    }
    try:
        await app(scope, receive, send)
    except Exception as error:  # noqa: BLE001 - what a server would log: the answer was sent before
        return Answer(status or 500, answered, bytes(got), error)
    return Answer(status, answered, bytes(got))


def _decoded(path: str) -> str:
    # As uvicorn does it: percent-escapes resolved, what is no UTF-8 kept replaced.
    return re.sub(
        r"(?:%[0-9A-Fa-f]{2})+",
        lambda found: bytes.fromhex(found.group().replace("%", "")).decode("utf-8", "replace"),
        path,
    )


@dataclass(frozen=True)
class Visitor:
    """Somebody at the door: how they show who they are to the API and to pages."""

    name: str
    bearer: str | None = None
    cookie: str | None = None
    csrf: str | None = None

    def headers(self, kind: Kind) -> list[tuple[str, str]]:
        if kind is Kind.PAGE:
            shown = [("accept", "text/html"), ("sec-fetch-site", "same-origin")]
            if self.cookie:
                shown.append(("cookie", f"{COOKIE}={self.cookie}"))
            elif self.bearer:
                shown.append(("authorization", f"Bearer {self.bearer}"))
            return shown
        return [("authorization", f"Bearer {self.bearer}")] if self.bearer else []


@dataclass
class Surface:
    """An instance, what it serves, and who may call."""

    folder: Path
    settings: Settings
    instance: Instance
    world: World
    runner: asyncio.Runner
    thread: ThreadPoolExecutor
    """Where the runner runs: a test's own thread may have Playwright's loop in it."""
    shell: Any = None
    internal: Any = None
    door: Any = None
    gate: Any = None
    """The door as the zone gateway of a cluster finds it."""
    visitors: dict[str, Visitor] = field(default_factory=dict)
    things: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    """Axis (a kind of thing) -> state -> ids and other values for paths and bodies."""
    _snapshot: sqlite3.Connection | None = None

    def service(self, kind: type[Any]) -> Any:
        return self.instance.services[kind]

    def run(self, coroutine: Any) -> Any:
        return self.thread.submit(self.runner.run, coroutine).result()

    def ask(
        self,
        method: str,
        target: str,
        headers: Iterable[tuple[str, str | bytes]] = (),
        body: bytes | AsyncIterator[bytes] = b"",
        *,
        host: str = HOST,
        app: Any = None,
    ) -> Answer:
        """Send a request to the shell; `host` unless the headers name one."""
        given = list(headers)
        if not any(name.lower() == "host" for name, _ in given):
            given.insert(0, ("host", host))
        return self.run(ask(app or self.shell, method, target, given, body))

    def api(self, who: str, method: str, target: str, body: Any = None, **headers: str) -> Answer:
        """Call the API as somebody; `body` goes as JSON."""
        given = self.visitors[who].headers(Kind.API) + [(k.replace("_", "-"), v) for k, v in headers.items()]
        data = b"" if body is None else json.dumps(body).encode()
        if body is not None:
            given.append(("content-type", "application/json"))
        return self.ask(method, target, [*given, ("content-length", str(len(data)))], data)

    def page(self, who: str, method: str, target: str, fields: Mapping[str, Any] | None = None) -> Answer:
        """Call a page as somebody's browser."""
        visitor = self.visitors[who]
        data = b""
        given: list[tuple[str, str | bytes]] = list(visitor.headers(Kind.PAGE))
        if method == "POST":
            data = urlencode({"csrf_token": visitor.csrf or "", **(fields or {})}, doseq=True).encode()
            given.append(("content-type", "application/x-www-form-urlencoded"))
        return self.ask(method, target, [*given, ("content-length", str(len(data)))], data)

    # what is kept, put back and compared

    def keep(self) -> None:
        """Remember everything as it is now."""
        self._snapshot = sqlite3.connect(":memory:")
        with sqlite3.connect(self.folder / "broch.sqlite") as database:
            database.backup(self._snapshot)
        for name in FOLDERS:
            shutil.rmtree(self.folder / "kept" / name, ignore_errors=True)
            if (self.folder / name).exists():
                shutil.copytree(self.folder / name, self.folder / "kept" / name, symlinks=True)

    def put_back(self) -> None:
        """Make everything as it was when kept."""
        assert self._snapshot is not None
        with sqlite3.connect(self.folder / "broch.sqlite") as database:
            self._snapshot.backup(database)
        for name in FOLDERS:
            shutil.rmtree(self.folder / name, ignore_errors=True)
            if (self.folder / "kept" / name).exists():
                shutil.copytree(self.folder / "kept" / name, self.folder / name, symlinks=True)
        self.world.sessions._cache.clear()  # what it remembers of rows is of another time

    def digest(self) -> dict[str, str]:
        """Hash every table's rows, but what refusals themselves leave behind: records of denials."""
        found = {}
        with sqlite3.connect(self.folder / "broch.sqlite") as database:
            names = [
                row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            ]
            for name in sorted(names):
                where = " WHERE outcome <> 'denied'" if name == "audit_record" else ""
                rows = sorted(map(repr, database.execute(f'SELECT * FROM "{name}"{where}')))
                found[name] = hashlib.sha256("\n".join(rows).encode()).hexdigest()
        return found

    def bytes_kept(self) -> list[tuple[str, int]]:
        """List every file below the folders of bytes, with its size."""
        return sorted(
            (str(path.relative_to(self.folder)), path.stat().st_size)
            for name in FOLDERS
            for path in (self.folder / name).rglob("*")
            if path.is_file()
        )


def open_surface(folder: Path, **settings: Any) -> Surface:
    """Make an empty instance and everything that serves it; nothing runs in the background."""
    chosen = Settings(folder=folder, demo=True, port=PORT, **settings)
    prepare(chosen.run)
    instance = Instance(chosen)
    services = instance.services
    route = FakeRoute()
    route.add(package("lifelines"))
    use_registry(
        services, services[Store], chosen, PackageRegistry(ROUTE, transport=httpx.MockTransport(route))
    )
    world = World(
        folder, chosen, services[Store], services[Sessions], services[KeyFolder], services[AuditLog]
    )
    apps = instance.apps()
    return Surface(
        folder,
        chosen,
        instance,
        world,
        asyncio.Runner(loop_factory=uvloop.new_event_loop),
        ThreadPoolExecutor(max_workers=1, thread_name_prefix="surface"),
        shell=make_shell(apps, chosen),
        internal=apps.internal,
        door=apps.door,
        gate=make_door_app(services, GATEWAY_TOKEN),
    )


def close_surface(surface: Surface) -> None:
    """Let go of everything."""
    surface.thread.submit(surface.runner.close).result()
    surface.thread.shutdown()
    surface.service(Store).engine.dispose()
    if not surface.settings.run.is_relative_to(surface.folder):
        shutil.rmtree(surface.settings.run, ignore_errors=True)


def visitor_of(surface: Surface, name: str, handle: str) -> Visitor:
    """Sign somebody in twice: a bearer token and a browser."""
    sessions = surface.world.sessions
    browser = sessions.start(handle, kind="browser")
    actor = sessions.actor(browser.token)
    assert actor is not None
    return Visitor(name, sessions.start(handle, kind="cli").token, browser.token, sessions.csrf_token(actor))


def same_place(answer: Answer) -> str:
    """Return where an answer sends the browser, without its query."""
    return urlsplit(answer.header("location") or "").path


def unknown(thing: dict[str, Any]) -> dict[str, Any]:
    """Return the same thing with ids that nobody has."""
    return {
        key: (new_principal() if key == "principal" else new_id())
        if key.endswith("_id") or key == "principal"
        else value
        for key, value in thing.items()
    }
