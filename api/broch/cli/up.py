"""`broch up`: everything on this machine, in one command."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console

from broch import doctor, run_folder
from broch.supervisor import Child, Supervisor, wait_for
from broch_airlock.checks.clamd_process import find_clamd, prepare_clamd
from broch_core.errors import DomainError
from broch_core.settings import Settings
from broch_spawner.settings import HubSettings
from broch_workspaces.sandbox.account import Account, drop_privileges
from broch_workspaces.sandbox.errors import SandboxUnavailable
from broch_workspaces.sandbox.runtime import interpreter_folders

READY_SECONDS = 120.0
"""Longest wait for the first answer of the web service; a first start copies demo data."""

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def up(
    folder: Annotated[
        Path | None,
        typer.Option("--dir", help="Folder of all state. Empty or new: it is filled with the demo."),
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port of the shell on 127.0.0.1; workspaces use the next one.")
    ] = None,
    demo: Annotated[
        bool | None,
        typer.Option("--demo/--no-demo", help="Demo people and data, and sign-in without passwords."),
    ] = None,
) -> None:
    """Start Broch on this machine: control plane, airlock, workspaces, virus scanner.

    For trying Broch with data that is not sensitive: workspaces share this machine's kernel. Ctrl-C stops everything;
    the same command starts it again with everything in place.
    """
    given: dict[str, Any] = {"folder": folder.absolute() if folder else None, "port": port, "demo": demo}
    settings = Settings(**{name: value for name, value in given.items() if value is not None})
    began = time.monotonic()
    for finding in (doctor.look_at_port(settings.port), doctor.look_at_port(settings.port + 1)):
        if not finding.ok:
            _refuse(finding.says, finding.remedy)
    try:
        account = _become_unprivileged(settings)
        lock = run_folder.claim(settings.folder)
        run_folder.prepare(settings.run)
    except (SandboxUnavailable, DomainError) as error:
        _refuse(error.what if isinstance(error, SandboxUnavailable) else error.detail, error.remedy)
    try:
        status = asyncio.run(_run(settings, account, began))
    finally:
        os.close(lock)
    raise typer.Exit(status)


def _refuse(says: str, remedy: str | None) -> None:
    err.print(f"[bold red]Broch cannot start:[/] {says}")
    if remedy:
        err.print(remedy)
    err.print("More: ./broch doctor")
    raise typer.Exit(1)


def _become_unprivileged(settings: Settings) -> Account:
    settings.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    writable = [settings.folder]
    if not settings.run.is_relative_to(settings.folder):
        settings.run.mkdir(exist_ok=True, mode=0o700)
        writable.append(settings.run)
    return drop_privileges([*interpreter_folders(), *doctor.source_folders()], writable)


async def _run(settings: Settings, account: Account, began: float) -> int:
    logs = settings.folder / "logs"
    logs.mkdir(exist_ok=True, mode=0o700)
    if account.dropped:
        out.print(f"Root is given up: Broch runs as user id {account.uid}.")
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    supervisor = Supervisor(logs, announce=lambda text: err.print(f"[yellow]{text}[/]"))
    environment = _environment(settings)
    clamd = find_clamd()
    if clamd is not None:
        setup = prepare_clamd(settings.folder / "clamd", settings.run / "clamd")
        supervisor.add(
            Child(
                "clamd",
                [clamd, "--foreground", "--config-file", str(setup.config)],
                {"TZ": "UTC", "LC_ALL": "C"},
            )
        )
    python = [sys.executable, "-P", "-m", "broch.cli.main", "serve"]
    supervisor.add(Child("web", [*python, "web"], environment))
    hub_file = settings.run / "hub.json"
    hub_file.write_text(
        HubSettings(state_dir=settings.folder, run_dir=settings.run, port=settings.port).model_dump_json(),
        encoding="utf-8",
    )
    supervisor.add(Child("hub", [*python, "hub", str(hub_file)], environment))
    out.print(f"Starting Broch in {settings.folder} ...")
    waiting = asyncio.create_task(_await_ready(settings))
    stopping = asyncio.create_task(ended.wait())
    await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    status = 0
    if waiting.done() and not stopping.done():
        if waiting.result():
            _welcome(settings, time.monotonic() - began, clamd is not None)
            await stopping
        else:
            err.print(f"[bold red]Broch did not get ready within {READY_SECONDS:.0f} s.[/] Logs: {logs}")
            status = 1
    waiting.cancel()
    out.print("Stopping; everything stays in place.")
    await supervisor.stop()
    return status


def _environment(settings: Settings) -> dict[str, str]:
    return {
        "BROCH_FOLDER": str(settings.folder),
        "BROCH_PORT": str(settings.port),
        "BROCH_DEMO": str(settings.demo).lower(),
        "PYTHONUNBUFFERED": "1",
    }


async def _await_ready(settings: Settings) -> bool:
    """Wait for the shell, and for the hub behind its socket: it opens the port of workspaces before that."""
    hub_socket = httpx.AsyncHTTPTransport(uds=str(settings.run / "hub" / "hub.sock"))
    async with (
        httpx.AsyncClient(timeout=5, trust_env=False) as web,
        httpx.AsyncClient(timeout=5, trust_env=False, transport=hub_socket) as hub,
    ):

        async def answers() -> bool:
            with contextlib.suppress(httpx.HTTPError):
                shell = await web.get(f"http://127.0.0.1:{settings.port}/healthz")
                hub_api = await hub.get("http://hub/hub/api")
                return shell.status_code == httpx.codes.OK and hub_api.status_code == httpx.codes.OK
            return False

        return await wait_for(answers, READY_SECONDS)


def _welcome(settings: Settings, seconds: float, scanner: bool) -> None:
    out.print(f"\n[bold]Broch is ready[/] after {seconds:.1f} s:  [bold]{settings.shell_origin}/[/]")
    if settings.demo:
        out.print(
            "Sign in as [bold]ada[/] (researcher), [bold]ruth[/] or [bold]tomasz[/] (reviewers); docs/demo.md has a tour."
        )
    if not scanner:
        out.print(
            "[yellow]clamd is not installed: nothing can cross the airlock.[/] Run: sudo apt-get install clamav-daemon"
        )
    elif not doctor.look_at_signatures().ok:
        out.print(
            "[yellow]Only the demo virus signature (EICAR) is loaded.[/] For real ones run: sudo freshclam"
        )
    out.print("For trying Broch: not for real sensitive data. Ctrl-C stops it.")
