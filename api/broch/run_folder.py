"""The folder of one run: sockets and fresh secrets. Nothing in it outlives the supervisor's next start."""

from __future__ import annotations

import base64
import fcntl
import os
import secrets
import shutil
import stat
from collections.abc import Container
from pathlib import Path

from broch_core.errors import Conflict

SERVICE_TOKENS = ("hub", "web", "hub-oauth")
"""Tokens that services show each other; one 0600 file each."""
WEB_SECRET_BYTES = 32
SOCKET_FOLDERS = ("hub", "door", "clamd", "ws")


def claim(folder: Path) -> int:
    """Become the only supervisor of this folder; return the descriptor of the lock, to be kept open.

    Raises:
        Conflict: another Broch owns it.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise _claimed(folder) from None
    return descriptor


def refuse_claimed(folder: Path) -> None:
    """Look whether another supervisor owns this folder, and change nothing.

    Raises:
        Conflict: one does.
    """
    if is_claimed(folder):
        raise _claimed(folder)


def is_claimed(folder: Path) -> bool:
    """Tell whether a supervisor owns this folder now, as far as we may look."""
    try:
        descriptor = os.open(folder / "lock", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _claimed(folder: Path) -> Conflict:
    return Conflict(
        f"Another Broch is running on {folder}.",
        remedy="Stop it first, or give another folder: ./broch up --dir FOLDER",
    )


def refuse_foreign(run: Path, uids: Container[int]) -> None:
    """Refuse a run folder that is not a folder of ours: below the temporary directory anybody can make one first.

    Args:
        run: the folder; nothing there is fine.
        uids: who may own it.

    Raises:
        Conflict: it is a link, no folder, or somebody else's.
    """
    try:
        status = run.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in uids:
        raise Conflict(
            f"{run} is a link or belongs to somebody else (user id {status.st_uid}).",
            remedy="Remove it, or give a shorter --dir.",
        )


def prepare(run: Path) -> None:
    """Make the folder anew, with fresh tokens; whatever an earlier run left is gone.

    Raises:
        Conflict: what lies there is not ours.
    """
    refuse_foreign(run, {os.geteuid()})
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir(mode=0o700, parents=True)
    for name in (*SOCKET_FOLDERS, "secrets"):
        (run / name).mkdir(mode=0o700)
    for name in SERVICE_TOKENS:
        descriptor = os.open(run / "secrets" / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(32))


def given_web_secret(secrets_folder: Path) -> bytes:
    """Return the secret that a cluster's administrator gave: at least 32 bytes in base64.

    Raises:
        ValueError: it is none, or shorter.
    """
    secret = base64.b64decode((secrets_folder / "web-secret").read_bytes().strip(), validate=True)
    if len(secret) < WEB_SECRET_BYTES:
        raise ValueError(f"the secret 'web-secret' has less than {WEB_SECRET_BYTES} bytes")
    return secret


def web_secret(keys: Path) -> bytes:
    """Return the secret of CSRF tokens and sealed cookies, made at the first call (0600)."""
    path = keys / "web-secret"
    keys.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(WEB_SECRET_BYTES))
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(path)
    return path.read_bytes()
