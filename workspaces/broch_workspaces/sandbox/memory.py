"""How much memory the processes of a sandbox use together, read from /proc, where no cgroup counts it."""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from broch_workspaces.sandbox.gate import stat_fields

_PAGE = os.sysconf("SC_PAGE_SIZE")
_KIB = 1024
_PER_DESCRIPTOR = 64 << 10
"""What an open pipe or socket is taken to hold of the kernel's memory, bytes: nothing of it shows in /proc."""


def process_table(proc: Path = Path("/proc")) -> dict[int, tuple[int, int]]:
    """Return `{pid: (parent, resident bytes)}` of every process that can be seen."""
    table = {}
    for entry in os.listdir(proc):  # noqa: PTH208 (often)
        if entry.isdigit():
            fields = stat_fields(proc / entry / "stat")
            if fields is not None and len(fields) > 21:
                table[int(entry)] = (int(fields[1]), int(fields[21]) * _PAGE)
    return table


def descendants(table: dict[int, tuple[int, int]], top: int) -> list[int]:
    """Return `top` and every process below it."""
    children = defaultdict(list)
    for pid, (parent, _) in table.items():
        children[parent].append(pid)
    found, at = [top], 0
    while at < len(found):
        found += children[found[at]]
        at += 1
    return found


def proportional_bytes(pids: Iterable[int], proc: Path = Path("/proc")) -> tuple[int, int]:
    """Return the memory of these processes with shared pages counted once (PSS): all of it, and what is in files.

    Slower than the resident size. Zeros where it cannot be read.
    """
    total = files = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in (proc / str(pid) / "smaps_rollup").read_text(encoding="ascii").splitlines():
                name, _, size = line.partition(":")
                if name == "Pss":
                    total += int(size.split()[0]) * _KIB
                elif name == "Pss_Shmem":
                    files += int(size.split()[0]) * _KIB
    return total, files


def shared_memory(proc: Path = Path("/proc")) -> int:
    """Return what all memory files and tmpfs of the machine hold, bytes: a bound for those of any sandbox."""
    return _meminfo(proc).get("Shmem", 0)


def available(proc: Path = Path("/proc")) -> tuple[int, int]:
    """Return what the machine can still give without swapping, and what it has, bytes."""
    found = _meminfo(proc)
    return found.get("MemAvailable", 0), found.get("MemTotal", 0)


def _meminfo(proc: Path) -> dict[str, int]:
    text = (proc / "meminfo").read_text(encoding="ascii")
    return {line.split(":")[0]: int(line.split()[1]) * _KIB for line in text.splitlines()}


def tmpfs_bytes(pid: int, targets: Sequence[str], proc: Path = Path("/proc")) -> int:
    """Return what lies in the sandbox's own file systems in memory, seen through its process `pid`."""
    total = 0
    for target in targets:
        with contextlib.suppress(OSError):
            status = os.statvfs(f"{proc}/{pid}/root{target}")
            total += (status.f_blocks - status.f_bfree) * status.f_frsize
    return total


def open_descriptors(pids: Iterable[int], proc: Path = Path("/proc")) -> tuple[int, int]:
    """Return bytes of memory files (memfd_create(2)) that these processes hold, and a guess for pipes and sockets.

    A memory file that nobody maps shows in no process's size.
    """
    files: dict[int, int] = {}
    others = 0
    for pid in pids:
        with contextlib.suppress(OSError), os.scandir(proc / str(pid) / "fd") as descriptors:
            for item in descriptors:
                with contextlib.suppress(OSError):
                    leads_to = os.readlink(item.path)  # noqa: PTH115 (often)
                    if leads_to.startswith("/memfd:"):
                        status = item.stat()
                        files[status.st_ino] = status.st_blocks * 512
                    elif leads_to.startswith(("socket:", "pipe:")):
                        others += _PER_DESCRIPTOR
    return sum(files.values()), others


def used_bytes(pids: Sequence[int], resident: int, inside: int, tmpfs: Sequence[str]) -> int:
    """Return what a sandbox uses, as exactly as /proc tells.

    Args:
        pids: all its processes.
        resident: sum of their resident sizes, which stands where nothing better can be read.
        inside: its first process, through whose eyes `tmpfs` are seen.
        tmpfs: paths of its file systems in memory.
    """
    total, mapped_files = proportional_bytes(pids)
    files = tmpfs_bytes(inside, tmpfs) + open_descriptors(pids)[0]
    # Files may be mapped, held open, or both: the larger number is no less than half of the truth.
    return (total or resident) - mapped_files + max(mapped_files, files)
