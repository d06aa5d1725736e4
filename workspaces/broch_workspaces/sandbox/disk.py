"""Counting what a hostile folder holds, while it changes.

Sizes are of blocks in use, so that a sparse file costs what it costs. No link is followed. A folder that its owner
closed against reading is opened again: files must not hide from the count.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

_BLOCK = 512  # st_blocks counts these whatever the file system's own blocks are (stat(2))
_LOOK = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class Usage:
    """What a folder holds."""

    size: int
    """Bytes on disk; files with several names once for each name."""
    entries: int
    complete: bool
    """False when it changed so that it could not be counted, or when counting stopped above a bound."""


@dataclass
class _Level:
    """A folder that is being counted, and which of its folders are still to be entered."""

    identity: tuple[int, int]
    waiting: list[str] = field(default_factory=list)


def usage(folder: Path, *, stop_bytes: int, stop_entries: int) -> Usage:
    """Count what `folder` holds; stop early once either bound is passed.

    One folder is open at a time, however deep they are nested: the way back is by `..`, compared with what was there.

    Raises:
        OSError: the folder itself cannot be opened.
    """
    at = os.open(folder, _LOOK)
    size = entries = 0
    complete = True
    try:
        levels = [_Level(_identity(at))]
        size, entries = _count(at, levels[-1])
        while levels and size <= stop_bytes and entries <= stop_entries:
            if levels[-1].waiting:
                name = levels[-1].waiting.pop()
                try:
                    below = os.open(name, _LOOK, dir_fd=at)
                except OSError:
                    continue  # gone, or no folder any more
                os.close(at)
                at = below
                levels.append(_Level(_identity(at)))
                more_size, more_entries = _count(at, levels[-1])
                size, entries = size + more_size, entries + more_entries
                continue
            levels.pop()
            if levels:
                above = os.open("..", _LOOK, dir_fd=at)
                os.close(at)
                at = above
                if _identity(at) != levels[-1].identity:
                    complete = False  # it was moved meanwhile: what waits could be anywhere
                    break
        complete = complete and not levels
    finally:
        os.close(at)
    return Usage(size, entries, complete)


def _identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def _count(place: int, level: _Level) -> tuple[int, int]:
    size = entries = 0
    with contextlib.suppress(OSError):
        fd = _readable(place)
        try:
            with os.scandir(fd) as found:
                for item in found:
                    entries += 1
                    with contextlib.suppress(OSError):
                        status = item.stat(follow_symlinks=False)
                        size += status.st_blocks * _BLOCK
                        if stat.S_ISDIR(status.st_mode) and status.st_dev == level.identity[0]:
                            level.waiting.append(item.name)
        finally:
            os.close(fd)
    return size, entries


def _readable(place: int) -> int:
    again = f"/proc/self/fd/{place}"
    try:
        return os.open(again, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:
        mode = stat.S_IMODE(os.fstat(place).st_mode)
        os.chmod(again, mode | stat.S_IRWXU)  # noqa: PTH101 (by descriptor)
        return os.open(again, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def held_open(pids: Iterable[int], devices: set[int], proc: Path = Path("/proc")) -> int:
    """Return the bytes of files without a name that these processes hold open on `devices`, each file once."""
    found: dict[tuple[int, int], int] = {}
    for pid in pids:
        with contextlib.suppress(OSError), os.scandir(proc / str(pid) / "fd") as descriptors:
            for item in descriptors:
                with contextlib.suppress(OSError):
                    status = item.stat()
                    if stat.S_ISREG(status.st_mode) and not status.st_nlink and status.st_dev in devices:
                        found[status.st_dev, status.st_ino] = status.st_blocks * _BLOCK
    return sum(found.values())


def written_bytes(pids: Iterable[int], proc: Path = Path("/proc")) -> int:
    """Return what these processes, and what they started and saw end, gave to disks so far (proc(5), io)."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in (proc / str(pid) / "io").read_text(encoding="ascii").splitlines():
                if line.startswith("write_bytes:"):
                    total += int(line.split()[1])
    return total


def free_space(folder: Path) -> tuple[int, int]:
    """Return bytes and inodes left on the file system of `folder`, for accounts that are not root."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize, status.f_favail
