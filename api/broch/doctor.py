"""What this machine lacks for Broch, and the one command that mends each thing. Everything is tried, not guessed."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from broch.run_folder import is_claimed
from broch_airlock.checks.clamd_config import SYSTEM_DATABASE, has_system_signatures
from broch_airlock.checks.clamd_process import find_clamd
from broch_core.settings import Settings
from broch_workspaces.sandbox.account import choose_account, drop_privileges
from broch_workspaces.sandbox.bounds import in_force
from broch_workspaces.sandbox.errors import SandboxUnavailable
from broch_workspaces.sandbox.probe import Machine, probe
from broch_workspaces.sandbox.runtime import interpreter_folders

LEAST_FREE_BYTES = 2 << 30
"""Below this the folder of state is called short of space."""
OURS = ("broch", "broch_core", "broch_api", "broch_airlock", "broch_spawner", "broch_workspaces")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    ok: bool
    says: str
    remedy: str | None = None
    needed: bool = True
    """Whether `broch up` is of no use without it."""


def source_folders() -> list[Path]:
    """Return the folders of our packages, which the unprivileged account must be able to read."""
    return [Path(str(__import__(name).__file__)).resolve().parent for name in OURS]


def examine(settings: Settings, machine: Machine | None = None) -> list[Finding]:
    """Look at everything that `broch up` needs."""
    machine = machine or Machine()
    ports = (settings.port, settings.port + 1)
    running = is_claimed(settings.folder)
    return [
        look_at_python(),
        look_at_sandbox(machine),
        *look_at_bounds(settings.folder / "zones"),
        look_at_clamd(),
        look_at_signatures(),
        *([_running(settings)] if running else [look_at_port(port) for port in ports]),
        look_at_folder(settings.folder),
    ]


def _running(settings: Settings) -> Finding:
    """Say that a Broch runs, whose ports are of course taken."""
    return Finding(
        "running", ok=True, says=f"a Broch is running on {settings.folder}; /readyz says how it does"
    )


def look_at_python() -> Finding:
    """Say which Python runs Broch."""
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding(
        "python",
        ok=sys.version_info >= (3, 11),
        says=f"Python {version}",
        remedy="Install Python 3.11 or newer.",
    )


def look_at_sandbox(machine: Machine) -> Finding:
    """Try a sandbox, in a child that gave up root if we have it."""
    answer = _as_account(lambda: _try_sandbox(machine)) if os.geteuid() == 0 else _try_sandbox(machine)
    return Finding("sandbox", **answer)  # type: ignore[arg-type]


def _try_sandbox(machine: Machine) -> dict[str, object]:
    try:
        result = probe(machine)
    except SandboxUnavailable as failure:
        return {"ok": False, "says": failure.what, "remedy": failure.remedy}
    version = ".".join(map(str, result.version))
    return {"ok": True, "says": f"bubblewrap {version} makes sandboxes without network", "remedy": None}


def _as_account(question: Callable[[], dict[str, object]]) -> dict[str, object]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            drop_privileges([*interpreter_folders(), *source_folders()], [])
            answer = question()
        except SandboxUnavailable as failure:
            answer = {"ok": False, "says": failure.what, "remedy": failure.remedy}
        except BaseException as failure:  # noqa: BLE001 - the parent must get an answer whatever happens
            answer = {
                "ok": False,
                "says": f"{type(failure).__name__}: {failure}",
                "remedy": "Run Broch as an ordinary user.",
            }
        os.write(writing, json.dumps(answer).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    answer = (
        json.loads(text)
        if text
        else {"ok": False, "says": "The trial died.", "remedy": "Run Broch as an ordinary user."}
    )
    return dict(answer)


def look_at_bounds(zones: Path) -> list[Finding]:
    """Say what would bound workspaces here: the kernel, or watchdogs of ours. Either will do."""
    return [
        Finding(bound.what, ok=bound.best, says=bound.how, remedy=bound.remedy, needed=False)
        for bound in in_force(zones)
    ]


def look_at_clamd(find: Callable[[], str | None] = find_clamd) -> Finding:
    """Say whether the virus scanner is installed."""
    path = find()
    if path is None:
        return Finding(
            "clamd",
            ok=False,
            says="clamd is not installed: nothing can cross the airlock, for nothing unscanned may.",
            remedy="Run: sudo apt-get install clamav-daemon",
        )
    return Finding("clamd", ok=True, says=f"clamd at {path}")


def look_at_signatures(database: Path = SYSTEM_DATABASE) -> Finding:
    """Say whether there are virus signatures of the system."""
    if has_system_signatures(database):
        return Finding("signatures", ok=True, says=f"signatures of the system in {database}", needed=False)
    return Finding(
        "signatures",
        ok=False,
        says="no virus signatures of the system: only Broch's demo signature (EICAR) would be used.",
        remedy="Run: sudo freshclam",
        needed=False,
    )


def look_at_port(port: int) -> Finding:
    """Try to listen on a port of 127.0.0.1."""
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError as error:
            return Finding(
                f"port {port}",
                ok=False,
                says=f"port {port} of 127.0.0.1 cannot be used: {os.strerror(error.errno or 0).lower()}.",
                remedy=f"Stop what listens there (ss -ltnp 'sport = :{port}'), or run: ./broch up --port {port + 100}",
            )
    return Finding(f"port {port}", ok=True, says=f"port {port} of 127.0.0.1 is free")


def look_at_folder(folder: Path, least_free: int = LEAST_FREE_BYTES) -> Finding:
    """Look at owner, mode and free space of the folder of state, as the account that Broch will be."""
    existing = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    wrong = _why_not_usable(folder, existing)
    if wrong is not None:
        return wrong
    free = shutil.disk_usage(existing).free
    if free < least_free:
        return Finding(
            "folder",
            ok=False,
            says=f"{existing} has {free >> 20} MiB left; Broch wants {least_free >> 20} MiB at least.",
            remedy="Free some space, or run: ./broch up --dir FOLDER_ON_ANOTHER_DISK",
        )
    return Finding("folder", ok=True, says=f"{folder} ({free >> 30} GiB free)")


def _why_not_usable(folder: Path, existing: Path) -> Finding | None:
    elsewhere = "Run: ./broch up --dir FOLDER_OF_YOURS"
    if not existing.is_dir():
        return Finding("folder", ok=False, says=f"{existing} is not a folder.", remedy=elsewhere)
    root = os.geteuid() == 0
    uid, gid = choose_account() if root else (os.geteuid(), os.getegid())
    if existing == folder:
        owner = folder.stat().st_uid
        # Root gives an empty folder to the account; what holds somebody's files stays theirs.
        if owner != uid and not (root and not any(folder.iterdir())):
            mend = f"Run: chown -R {uid}:{gid} {folder}  (or give another --dir)" if root else elsewhere
            return Finding(
                "folder", ok=False, says=f"{folder} belongs to user id {owner}, not to {uid}.", remedy=mend
            )
    if not os.access(existing, os.W_OK | os.X_OK):
        return Finding("folder", ok=False, says=f"{existing} cannot be written to.", remedy=elsewhere)
    return None


def as_json(findings: list[Finding]) -> str:
    """Write findings as JSON."""
    return json.dumps([asdict(finding) for finding in findings], indent=2)
