"""A call with session, rule and audit beside a bare FastAPI route doing the same query (docs/benchmarks.md)."""

from __future__ import annotations

import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from broch import run_folder
from broch.demo.people import PEOPLE
from broch.dev.bench import Result
from broch_core.actors import PlatformRole
from broch_core.settings import Settings
from load import Call, Load
from machine import free_port

NAME = "api"
GOAL = 0.7
ROUNDS = 5
SECONDS = 1.0
"""One round of one side. Sides take turns, so that a busy neighbour disturbs both."""
_WARM_SECONDS = 0.5
_START_SECONDS = 60.0
_HERE = Path(__file__).parent


def run() -> Iterator[Result]:
    """Measure a read and a write, both over loopback with 8 kept connections, the sequencer at work."""
    with tempfile.TemporaryDirectory(prefix="broch-bench-") as name, ExitStack() as servers:
        folder = Path(name)
        port, bare_port = free_port(), free_port()
        database = servers.enter_context(_broch(folder, port))
        copy = folder / "bare.sqlite"
        _copy(database, copy)
        servers.enter_context(
            _server([str(_HERE / "bare_api.py"), str(bare_port), str(copy)], {}, bare_port, "/openapi.json")
        )
        token = _sign_in(port)
        project = httpx.get(
            f"http://127.0.0.1:{port}/api/v1/projects",
            headers={"Authorization": f"Bearer {token}"},
            trust_env=False,
        ).json()["items"][0]["id"]
        calls = {
            "api/read": (
                Call("GET", f"/api/v1/projects/{project}", 200, token),
                Call("GET", f"/projects/{project}", 200),
            ),
            "api/write with audit": (
                Call("POST", "/api/v1/projects", 201, token, _project),
                Call("POST", "/projects", 201, None, _project),
            ),
        }
        for title, (call, bare) in calls.items():
            ours, theirs = _rates(
                [
                    Load(port, f"127.0.0.1:{port}", call),
                    Load(bare_port, f"127.0.0.1:{bare_port}", bare),
                ]
            )
            yield Result.beside(title, ours, "1/s", baseline=theirs, at_least=GOAL)


def _rates(loads: Sequence[Load]) -> list[float]:
    """Return the median rate of each side over interleaved rounds."""
    for load in loads:
        load.rate(_WARM_SECONDS)
    rounds = [[load.rate(SECONDS) for load in loads] for _ in range(ROUNDS)]
    return [statistics.median(side) for side in zip(*rounds, strict=True)]


def _project(number: int) -> bytes:
    return json.dumps(
        {
            "slug": f"bench-{number}",
            "name": "Benchmark",
            "purpose": "How long does a record take?",
            "starts_on": "2026-01-01",
            "ends_on": "2099-12-31",
        }
    ).encode()


def _sign_in(port: int) -> str:
    admin = next(person.handle for person in PEOPLE if PlatformRole.ADMIN in person.platform_roles)
    answer = httpx.post(
        f"http://127.0.0.1:{port}/api/v1/sessions", json={"handle": admin}, trust_env=False
    ).raise_for_status()
    return str(answer.json()["token"])


@contextmanager
def _broch(folder: Path, port: int) -> Iterator[Path]:
    """Run the web service as the supervisor does; give the path of its database."""
    settings = Settings(folder=folder / "state", port=port, demo=True)
    settings.folder.mkdir(mode=0o700)
    run_folder.prepare(settings.run)
    environment = {"BROCH_FOLDER": str(settings.folder), "BROCH_PORT": str(port), "BROCH_DEMO": "true"}
    with _server(["-m", "broch.cli.main", "serve", "web"], environment, port, "/healthz"):
        yield settings.folder / "broch.sqlite"


@contextmanager
def _server(arguments: Sequence[str], environment: dict[str, str], port: int, probe: str) -> Iterator[None]:
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-P", *arguments], env={**os.environ, **environment}, stdout=log, stderr=log
        )
        try:
            deadline = time.monotonic() + _START_SECONDS
            while not _answers(port, probe):
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise RuntimeError(f"a server did not start:\n{log.read().decode(errors='replace')}")
                time.sleep(0.05)
            yield
        finally:
            process.terminate()
            process.wait(30)


def _answers(port: int, probe: str) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}{probe}", trust_env=False).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def _copy(database: Path, target: Path) -> None:
    """Copy a database that is in use (its own backup, so that the WAL is in it)."""
    source, copy = sqlite3.connect(database), sqlite3.connect(target)
    try:
        source.backup(copy)
    finally:
        copy.close()
        source.close()
