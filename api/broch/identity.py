"""Which instance a folder is, and whether it is that folder still: copies of a running one are refused, others are told.

`instance.json` remembers the inode numbers of files that stay where they are. A copy has other ones. It may be a
restored backup, which is fine once somebody says so: it then begins a new generation, and the audit log says so too.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from broch import first_start
from broch_core.audit.record import AuditSubject
from broch_core.clock import rfc3339, utc_now
from broch_core.errors import Conflict
from broch_core.ids import new_id
from broch_core.store.unit import Store

NAME = "instance.json"
RESTORED = "instance:restored"
"""Action of the record that begins a new generation."""
_ANCHORS = ("lock", "keys", "broch.sqlite")
"""What Broch makes once and never replaces."""
_HOW = "See docs/operations.md, Backup."


class State(StrEnum):
    """How a folder was left."""

    RUNNING = "running"
    STOPPED = "stopped"
    BACKUP = "backup"
    """Made by `broch backup`, never started."""


@dataclass(frozen=True)
class Identity:
    """What `instance.json` says."""

    id: str
    state: State
    generation: int = 1
    """1 for the first, one more for each copy that went on by itself."""
    recorded: bool = True
    """Whether the audit log knows of this generation."""
    inodes: dict[str, int] = field(default_factory=dict)
    stopped_ns: int | None = None
    """When the lock file was last changed (ctime), at a stop: bytes that are put back in place change it."""
    at: str = ""


def begin(folder: Path, *, restored: bool = False) -> Identity:
    """Note that the instance in this folder runs now. Hold the lock of the folder.

    Args:
        folder: of all state.
        restored: somebody says that it is a restored copy, and that the original does not run.

    Raises:
        Conflict: it is a copy of a running instance, or a copy that nobody spoke for.
    """
    found = read(folder)
    if found is None:
        if not (folder / "broch.sqlite").exists() or (folder / first_start.MARKER).exists():
            found = Identity(new_id(), State.STOPPED)
        elif not restored:
            raise Conflict(
                f"{folder} holds a database, but no {NAME}: where it comes from is not known.",
                remedy=f"If it is a whole copy of a stopped Broch: broch up --dir {folder} --restored. {_HOW}",
            )
        else:
            found = Identity(new_id(), State.BACKUP)
    if found.state is State.RUNNING and _moved(folder, found):
        raise Conflict(
            f"{folder} is a copy that was made while Broch ran on the original: its files are of different moments.",
            remedy=f"Make a copy by 'broch backup', or of a stopped Broch. {_HOW}",
        )
    if found.state is State.BACKUP or _moved(folder, found) or _put_back(folder, found):
        if not restored:
            raise Conflict(
                f"{folder} is a copy of another folder, or older files were put back into it.",
                remedy=f"If the original does not run any more: broch up --dir {folder} --restored. {_HOW}",
            )
        found = replace(found, generation=found.generation + 1, recorded=False)
    now = replace(found, state=State.RUNNING, stopped_ns=None, inodes=_inodes(folder), at=rfc3339(utc_now()))
    write(folder, now)
    return now


def finish(folder: Path) -> None:
    """Note that the instance has stopped and nothing writes any more."""
    found = read(folder)
    if found is not None:
        stopped = replace(found, state=State.STOPPED, inodes=_inodes(folder), at=rfc3339(utc_now()))
        write(folder, replace(stopped, stopped_ns=(folder / "lock").stat().st_ctime_ns))


def record_restoration(store: Store, folder: Path) -> bool:
    """Write the record of a new generation, once; return whether there was one to write.

    It tells the log of a copy from that of its original: whoever holds checkpoints of both sees where they part.
    """
    found = read(folder)
    if found is None or found.recorded:
        return False
    with store.write() as change:
        change.audit(
            "system", RESTORED, AuditSubject("instance", found.id), facts={"generation": found.generation}
        )
    write(folder, replace(found, recorded=True))
    return True


def read(folder: Path) -> Identity | None:
    """Return what a folder says of itself, None when it says nothing.

    Raises:
        Conflict: it cannot be read.
    """
    try:
        value = json.loads((folder / NAME).read_bytes())
        return Identity(**{**value, "state": State(value["state"])})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise Conflict(f"{folder / NAME} cannot be read: {error}", remedy=_HOW) from error


def write(folder: Path, identity: Identity) -> None:
    """Write it durably, in one step."""
    fresh = folder / f".{NAME}.new"
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(asdict(identity), file, indent=2)
        file.flush()
        os.fsync(descriptor)
    fresh.replace(folder / NAME)
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(place)
    finally:
        os.close(place)


def _inodes(folder: Path) -> dict[str, int]:
    # Until the first start is done, what it made may be set aside and made anew.
    names = ("lock",) if (folder / first_start.MARKER).exists() else _ANCHORS
    return {name: (folder / name).stat().st_ino for name in names if (folder / name).exists()}


def _moved(folder: Path, identity: Identity) -> bool:
    for name, inode in identity.inodes.items():
        try:
            if (folder / name).stat().st_ino != inode:
                return True
        except FileNotFoundError:
            return True
    return False


def _put_back(folder: Path, identity: Identity) -> bool:
    if identity.stopped_ns is None:
        return False
    return (folder / "lock").stat().st_ctime_ns != identity.stopped_ns
