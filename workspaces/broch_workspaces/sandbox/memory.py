"""A limit on what all processes of a sandbox use together, where there is no cgroup to do it.

setrlimit(2) counts each process alone. So one thread looks four times a second at everything below each sandbox and
kills a sandbox that is over. Between two looks memory can grow by what the machine writes in a quarter of a second.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from broch_workspaces.sandbox.gate import stat_fields

INTERVAL_SECONDS = 0.25
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Watched:
    """One sandbox and what to do when it is over its limit."""

    limit: int
    """Bytes."""
    on_excess: Callable[[int], None]
    """Called in the watchdog's thread with the bytes used; must kill the sandbox."""


def process_table(proc: Path = Path("/proc")) -> dict[int, tuple[int, int]]:
    """Return `{pid: (parent, resident bytes)}` of every process that can be seen."""
    table = {}
    for entry in os.listdir(proc):  # noqa: PTH208 (four times a second)
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


def proportional_bytes(pids: list[int], proc: Path = Path("/proc")) -> int:
    """Return the memory of these processes with shared pages counted once (PSS); slower than the resident size."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in (proc / str(pid) / "smaps_rollup").read_text(encoding="ascii").splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


class MemoryWatchdog:
    """One thread for all sandboxes of this process."""

    def __init__(self, interval: float = INTERVAL_SECONDS) -> None:
        self._interval = interval
        self._watched: dict[int, Watched] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def watch(self, pid: int, watched: Watched) -> None:
        """Begin to watch everything below `pid` (bubblewrap's own)."""
        with self._lock:
            self._watched[pid] = watched
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="sandbox-memory", daemon=True)
                self._thread.start()

    def forget(self, pid: int) -> None:
        """Stop watching `pid`."""
        with self._lock:
            self._watched.pop(pid, None)

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            with self._lock:
                watched = dict(self._watched)
                if not watched:
                    self._thread = None
                    return
            self.look(watched)
            pause.wait(self._interval)

    def look(self, watched: dict[int, Watched]) -> None:
        """Look once at each watched sandbox."""
        table = process_table()
        for pid, sandbox in watched.items():
            below = descendants(table, pid)
            resident = sum(table[one][1] for one in below if one in table)
            # Forked processes share pages: what looks like too much is counted again properly before it costs a life.
            # Where that cannot be read (it says 0), the larger number stands.
            if resident > sandbox.limit:
                used = proportional_bytes(below) or resident
                if used > sandbox.limit:
                    self.forget(pid)
                    sandbox.on_excess(used)
