"""Threads that look at running sandboxes again and again, where the kernel does not bound them itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from broch_workspaces.sandbox import disk, memory

MIB = 1 << 20
SLOW_SECONDS, FAST_SECONDS = 0.25, 0.05
"""Time between two looks at memory; the fast one while a sandbox is above half of its limit. Memory can grow in
between by what the machine writes in that time."""
_LEAST_MEMORY = 256 * MIB
_DISK_SECONDS = 0.25
_RECOUNT_SECONDS = 30.0
"""A folder is counted again after so long even when the disk did not fill meanwhile."""
_DISK_RESERVE = 1 << 30
"""Bytes left on the disk below which whoever wrote most is stopped, whatever its limit. A GiB: `/readyz` calls less unwell."""
GRACE = 64 * MIB
"""What may still be written to a folder that is over its limit already: deleting and tidying need a little."""
_GRACE_ENTRIES = 1000
_PATIENCE = 5
"""Counts in a row that a folder may frustrate by moving while it seems to be over its limit."""

W = TypeVar("W")


class _Watchdog(Generic[W]):
    """One thread for all that is watched; it ends when nothing is."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._watched: dict[int, W] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def watch(self, pid: int, watched: W) -> None:
        """Begin to watch everything below `pid` (bubblewrap's own)."""
        with self._lock:
            self._watched[pid] = watched
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
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
                    self.idle()
                    return
            pause.wait(self.look(watched))

    def idle(self) -> None:
        """Forget what was learnt: nothing is watched any more."""

    def look(self, watched: Mapping[int, W]) -> float:
        """Look once at each; return the seconds until the next look."""
        raise NotImplementedError  # memory and disk are looked at each in their own way, below


@dataclass(frozen=True)
class MemoryBound:
    """How much memory one sandbox may use, and what to do when it uses more."""

    limit: int
    """Bytes, all processes and file systems in memory together."""
    inside: int
    """Pid of its first process."""
    tmpfs: tuple[str, ...]
    """Paths inside of its file systems in memory."""
    on_excess: Callable[[str], None]
    """Called in the watchdog's thread with a sentence for the researcher; must kill the sandbox."""


class MemoryWatchdog(_Watchdog[MemoryBound]):
    """Bounds memory where no cgroup does: setrlimit(2) counts each process alone."""

    def __init__(self) -> None:
        super().__init__("sandbox-memory")

    def look(self, watched: Mapping[int, MemoryBound]) -> float:
        """See `_Watchdog.look`."""
        table, shared = memory.process_table(), memory.shared_memory()
        below = {pid: memory.descendants(table, pid) for pid in watched}
        pause, used = SLOW_SECONDS, {}
        for pid, bound in watched.items():
            used[pid] = sum(table[one][1] for one in below[pid] if one in table)
            # Forked processes share pages, and not all memory files are this sandbox's: what looks like too much is
            # counted again properly before it costs a life.
            if used[pid] + shared > bound.limit // 2:
                used[pid] = memory.used_bytes(below[pid], used[pid], bound.inside, bound.tmpfs)
            if used[pid] > bound.limit // 2:
                pause = FAST_SECONDS
            if used[pid] > bound.limit:
                self.forget(pid)
                bound.on_excess(
                    f"The workspace used {used[pid] // MIB} MiB of memory; its limit is {bound.limit // MIB} MiB."
                )
        self._keep_reserve(watched, below, used)
        return pause

    def _keep_reserve(
        self, watched: Mapping[int, MemoryBound], below: Mapping[int, list[int]], used: Mapping[int, int]
    ) -> None:
        left, total = memory.available()
        if left >= max(_LEAST_MEMORY, total // 32):
            return
        # Of the kernel's own memory for pipes and sockets nothing tells whose it is.
        weight = {pid: used[pid] + memory.open_descriptors(below[pid])[1] for pid in watched}
        heaviest = max(weight, key=lambda pid: weight[pid])
        if weight[heaviest] > GRACE:
            self.forget(heaviest)
            watched[heaviest].on_excess(
                "The machine ran out of memory, and this workspace used the most of it. Open it again and use less."
            )


@dataclass(frozen=True)
class Quota:
    """How much one writable folder may hold."""

    folder: Path
    shown: str
    """What the researcher calls it."""
    size: int
    """Bytes on disk."""
    entries: int
    """Files and folders."""


@dataclass(frozen=True)
class DiskBound:
    """The folders that one sandbox writes to, and what to do when one holds too much."""

    quotas: tuple[Quota, ...]
    on_excess: Callable[[str], None]
    """As in `MemoryBound`."""


@dataclass
class _Counted:
    """What a folder held when it was last counted, and the disk at that moment."""

    quota: Quota
    limit: disk.Usage
    held: disk.Usage
    left: tuple[int, int]
    """Bytes and inodes that were free on its file system."""
    due: float
    frustrated: int = 0
    written: dict[int, int] = field(default_factory=dict)


class DiskWatchdog(_Watchdog[DiskBound]):
    """Bounds what folders hold, without quotas of the file system.

    A folder cannot have grown by more than the disk lost since it was counted; so it is counted only when that could
    bring it over its limit, and now and then. Who is over is stopped; of several that share a folder, who wrote most.
    """

    def __init__(self, reserve: int = _DISK_RESERVE) -> None:
        super().__init__("sandbox-disk")
        self._reserve = reserve
        self._counted: dict[Path, _Counted] = {}

    def idle(self) -> None:
        """See `_Watchdog.idle`."""
        self._counted = {}

    def look(self, watched: Mapping[int, DiskBound]) -> float:
        """See `_Watchdog.look`."""
        table = memory.process_table()
        folders: dict[Path, tuple[Quota, list[int]]] = {}
        for pid, bound in watched.items():
            for quota in bound.quotas:
                folders.setdefault(quota.folder, (quota, []))[1].append(pid)
        self._counted = {folder: kept for folder, kept in self._counted.items() if folder in folders}
        for quota, sharers in folders.values():
            below = {pid: memory.descendants(table, pid) for pid in sharers}
            try:
                excess = self._excess(quota, below)
            except OSError:
                excess = f"{quota.shown} cannot be looked into any more. The workspace was stopped."
            if excess is not None:
                self._stop(watched, self._who_wrote_most(quota.folder, below), excess)
        return _DISK_SECONDS

    def _stop(self, watched: Mapping[int, DiskBound], pid: int, why: str) -> None:
        self.forget(pid)
        watched[pid].on_excess(why)

    def _excess(self, quota: Quota, below: Mapping[int, list[int]]) -> str | None:
        left = disk.free_space(quota.folder)
        last = self._counted.get(quota.folder)
        if last is None or last.quota != quota:
            self._count(quota, below, None, left)
            return None
        grown = disk.Usage(
            last.held.size + max(0, last.left[0] - left[0]),
            last.held.entries + max(0, last.left[1] - left[1]),
            complete=True,
        )
        suspect = _over(grown, last.limit)
        if suspect or time.monotonic() > last.due:
            now = self._count(quota, below, last, left)
            if _over(now.held, last.limit):
                return (
                    f"{quota.shown} holds {now.held.size // MIB} MiB in {now.held.entries} files and folders; its limit is "
                    f"{quota.size // MIB} MiB in {quota.entries}. Open the workspace again and delete what is not needed."
                )
            if now.frustrated > _PATIENCE and suspect:
                return f"What {quota.shown} holds could not be counted: it kept changing."
        if left[0] < self._reserve and grown.size - last.held.size > 0:
            return self._short_of_space(quota, below, left[0])
        return None

    def _short_of_space(self, quota: Quota, below: Mapping[int, list[int]], left: int) -> str | None:
        writer = self._who_wrote_most(quota.folder, below)
        before = self._counted[quota.folder].written
        little = GRACE if left > self._reserve // 2 else MIB
        if disk.written_bytes(below[writer]) - before.get(writer, 0) < little:
            return None
        return "The machine's disk is nearly full, and this workspace was writing. Ask an administrator for space."

    def _count(
        self, quota: Quota, below: Mapping[int, list[int]], last: _Counted | None, left: tuple[int, int]
    ) -> _Counted:
        began = time.monotonic()
        bound = last.limit if last else disk.Usage(1 << 62, 1 << 62, complete=True)
        found = disk.usage(quota.folder, stop_bytes=bound.size, stop_entries=bound.entries)
        everybody = [pid for pids in below.values() for pid in pids]
        hidden = disk.held_open(everybody, {quota.folder.stat().st_dev})
        held = disk.Usage(found.size + hidden, found.entries, found.complete)
        took = time.monotonic() - began
        due = time.monotonic() + max(_RECOUNT_SECONDS, 20 * took)
        if last is not None and not held.complete and not _over(held, bound):
            # What was counted is less than what is there: only the last whole count says how much can have come.
            kept = _Counted(quota, last.limit, last.held, last.left, due, last.frustrated + 1, last.written)
        else:
            # The culprit is sought by what was written since the folder was last in order.
            written = {pid: disk.written_bytes(pids) for pid, pids in below.items()}
            if last is not None and _over(held, bound):
                written = last.written
            kept = _Counted(quota, _limit(quota, held, last), held, left, due, written=written)
        self._counted[quota.folder] = kept
        return kept

    def _who_wrote_most(self, folder: Path, below: Mapping[int, list[int]]) -> int:
        last = self._counted.get(folder)
        before = last.written if last else {}
        return max(below, key=lambda pid: disk.written_bytes(below[pid]) - before.get(pid, 0))


def _over(held: disk.Usage, limit: disk.Usage) -> bool:
    return held.size > limit.size or held.entries > limit.entries


def _limit(quota: Quota, held: disk.Usage, last: _Counted | None) -> disk.Usage:
    """Return what the folder may grow to: its quota, or a little more than it holds when it is over already.

    It never rises while the folder is watched, except for those who are left after the culprit was stopped.
    """
    size = held.size + GRACE if held.size > quota.size else quota.size
    entries = held.entries + _GRACE_ENTRIES if held.entries > quota.entries else quota.entries
    if last is not None and not _over(held, last.limit):
        size, entries = min(size, last.limit.size), min(entries, last.limit.entries)
    return disk.Usage(max(quota.size, size), max(quota.entries, entries), complete=True)
