"""The folder of one run: sockets and fresh secrets. Nothing in it outlives the supervisor's next start."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from pathlib import Path

from broch_core.errors import Conflict

SERVICE_TOKENS = ("hub", "web", "hub-oauth")
"""Tokens that services show each other; one 0600 file each."""
SOCKET_FOLDERS = ("hub", "door", "clamd", "ws")


def claim(folder: Path) -> int:
    """Become the only supervisor of this folder; return the descriptor of the lock, to be kept open.

    Raises:
        Conflict: another Broch owns it.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise Conflict(
            f"Another Broch is running on {folder}.",
            remedy="Stop it first, or give another folder: ./broch up --dir FOLDER",
        ) from None
    return descriptor


def prepare(run: Path) -> None:
    """Make the folder anew, with fresh tokens; whatever an earlier run left is gone."""
    if run.is_symlink() or (run.exists() and run.stat().st_uid != os.geteuid()):
        raise Conflict(f"{run} belongs to somebody else.", remedy="Remove it, or give a shorter --dir.")
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir(mode=0o700, parents=True)
    for name in (*SOCKET_FOLDERS, "secrets"):
        (run / name).mkdir(mode=0o700)
    for name in SERVICE_TOKENS:
        descriptor = os.open(run / "secrets" / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(32))


def web_secret(keys: Path) -> bytes:
    """Return the secret of CSRF tokens and sealed cookies, made at the first call (0600)."""
    path = keys / "web-secret"
    keys.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(32))
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(path)
    return path.read_bytes()
