"""`broch up`: everything on this machine, in one command."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, NoReturn

import httpx
import typer
from rich.console import Console
from rich.markup import escape

from broch import doctor, identity, run_folder
from broch.cli.configured import FILE_VARIABLE, load_settings, settings_file
from broch.supervisor import Child, Supervisor, wait_for
from broch_airlock.checks.clamd_process import find_clamd, prepare_clamd
from broch_core.errors import DomainError
from broch_core.settings import Settings
from broch_spawner.settings import HubSettings
from broch_workspaces.sandbox.account import Account, choose_account, drop_privileges
from broch_workspaces.sandbox.cgroup import take_over
from broch_workspaces.sandbox.errors import CgroupUnavailable, SandboxUnavailable
from broch_workspaces.sandbox.runtime import interpreter_folders

READY_SECONDS = 120.0
"""Longest wait for the first answer of the web service; a first start copies demo data."""

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


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
    restored: Annotated[
        bool,
        typer.Option(
            "--restored", help="The folder is a restored copy, and its original does not run any more."
        ),
    ] = False,
) -> None:
    """Start Broch on this machine: control plane, airlock, workspaces, virus scanner.

    For trying Broch with data that is not sensitive: workspaces share this machine's kernel. Ctrl-C stops everything;
    the same command starts it again with everything in place.
    """
    settings = load_settings(folder=folder, port=port, demo=demo)
    file = settings_file()
    began = time.monotonic()
    try:
        _look(settings)
        account = _become_unprivileged(settings)
        lock = run_folder.claim(settings.folder)
        identity.begin(settings.folder, restored=restored)
        run_folder.prepare(settings.run)
    except SandboxUnavailable as error:
        _refuse(error.what, error.remedy)
    except DomainError as error:
        _refuse(error.detail, error.remedy)
    except OSError as error:
        _refuse(f"{error.filename}: {(error.strerror or str(error)).lower()}.", None)
    try:
        status = asyncio.run(_run(settings, account, _environments(settings, file), began))
        identity.finish(settings.folder)
    finally:
        shutil.rmtree(settings.run, ignore_errors=True)
        os.close(lock)
    raise typer.Exit(status)


def _look(settings: Settings) -> None:
    """Look, change nothing, and refuse what can be known to fail."""
    run_folder.refuse_claimed(settings.folder)
    for finding in (
        doctor.look_at_folder(settings.folder, least_free=0),
        doctor.look_at_port(settings.port),
        doctor.look_at_port(settings.port + 1),
    ):
        if not finding.ok:
            _refuse(finding.says, finding.remedy)


def _refuse(says: str, remedy: str | None) -> NoReturn:
    err.print(f"[bold red]Broch cannot start:[/] {escape(says)}")
    if remedy:
        err.print(escape(remedy))
    err.print("More: ./broch doctor")
    raise typer.Exit(1)


def _become_unprivileged(settings: Settings) -> Account:
    settings.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    writable = [settings.folder]
    if not settings.run.is_relative_to(settings.folder):
        # Before root gives it away: a link there would give away what it points to.
        ours = {os.geteuid(), choose_account()[0]} if os.geteuid() == 0 else {os.geteuid()}
        run_folder.refuse_foreign(settings.run, ours)
        settings.run.mkdir(exist_ok=True, mode=0o700)
        writable.append(settings.run)
    # Before root goes, and before there is any other process of ours. Without one, watchdogs bound workspaces.
    uid, gid = choose_account() if os.geteuid() == 0 else (None, None)
    with contextlib.suppress(CgroupUnavailable):
        take_over(uid, gid)
    return drop_privileges([*interpreter_folders(), *doctor.source_folders()], writable)


async def _run(
    settings: Settings, account: Account, environments: Mapping[str, Mapping[str, str]], began: float
) -> int:
    logs = settings.folder / "logs"
    logs.mkdir(exist_ok=True, mode=0o700)
    if account.dropped:
        out.print(f"Root is given up: Broch runs as user id {account.uid}.")
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    supervisor = Supervisor(logs, announce=lambda text: err.print(f"[yellow]{escape(text)}[/]"))
    clamd = find_clamd()
    if clamd is not None:
        setup = prepare_clamd(settings.folder / "clamd", settings.run / "clamd")
        supervisor.add(
            Child(
                "clamd",
                [clamd, "--foreground", "--config-file", str(setup.config)],
                environments["clamd"],
            )
        )
    python = [sys.executable, "-P", "-m", "broch.cli.main", "serve"]
    supervisor.add(Child("web", [*python, "web"], environments["web"]))
    hub_file = settings.run / "hub.json"
    hub_file.write_text(
        HubSettings(state_dir=settings.folder, run_dir=settings.run, port=settings.port).model_dump_json(),
        encoding="utf-8",
    )
    supervisor.add(Child("hub", [*python, "hub", str(hub_file)], environments["hub"]))
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


def _environments(settings: Settings, file: bytes | None) -> Mapping[str, Mapping[str, str]]:
    """Return the environment of each service: settings go to web alone, for secrets may be among them.

    Args:
        settings: those in force.
        file: content of the file of settings, read while it could be: the account may not reach it.
    """
    plain = {name: value for name, value in os.environ.items() if not name.startswith("BROCH_")}
    plain["PYTHONUNBUFFERED"] = "1"
    web = {name: value for name, value in os.environ.items() if name.startswith("BROCH_")} | {
        "BROCH_FOLDER": str(settings.folder),
        "BROCH_PORT": str(settings.port),
        "BROCH_DEMO": str(settings.demo).lower(),
    }
    if file is not None:
        copy = settings.run / "broch.toml"
        copy.touch(mode=0o600)
        copy.write_bytes(file)
        web[FILE_VARIABLE] = str(copy)
    clamd = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "TZ": "UTC", "LC_ALL": "C"}
    return {"web": plain | web, "hub": plain, "clamd": clamd}


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
