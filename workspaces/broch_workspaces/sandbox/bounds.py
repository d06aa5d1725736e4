"""What bounds one workspace on this machine: a cgroup where there is one, else watchdogs; and how one says so."""

from __future__ import annotations

import logging
import math
import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from broch_workspaces.plan import Profile
from broch_workspaces.sandbox import cgroup
from broch_workspaces.sandbox.errors import CgroupUnavailable
from broch_workspaces.sandbox.profile import Limits, Tmpfs
from broch_workspaces.sandbox.watchdog import (
    FAST_SECONDS,
    GRACE,
    SLOW_SECONDS,
    DiskBound,
    DiskWatchdog,
    MemoryBound,
    MemoryWatchdog,
    Quota,
)

NICE = 5
"""Others get three times the processor time of a workspace where all want it, and Lab still answers on a busy machine."""
_MEMORY, _DISK = MemoryWatchdog(), DiskWatchdog()
_log = logging.getLogger(__name__)


def limits_of(profile: Profile) -> Limits:
    """Return the limits that hold for each process from its first instruction, cgroup or not."""
    return Limits(
        data_bytes=profile.memory_bytes,
        processes=profile.processes,
        file_bytes=profile.file_bytes,
        cores=math.ceil(profile.cpu),
        nice=NICE,
    )


def quotas_of(profile: Profile, *, home: Path | None, project: Path | None) -> tuple[Quota, ...]:
    """Return what the folders of a workspace that it writes to may hold; a shared one has no home."""
    quotas = []
    if home is not None:
        quotas.append(Quota(home, "Your home", profile.home_bytes, profile.folder_entries))
    if project is not None:
        quotas.append(Quota(project, "/project", profile.project_bytes, profile.folder_entries))
    return tuple(quotas)


class _Base:
    """Where groups are made; looked for once, when the first workspace starts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: Path | CgroupUnavailable | None = None

    def get(self) -> Path:
        with self._lock:
            if self._found is None:
                try:
                    self._found = cgroup.base_group()
                    cgroup.sweep(self._found)
                except CgroupUnavailable as why:
                    self._found = why
        if isinstance(self._found, CgroupUnavailable):
            raise self._found
        return self._found


_BASE = _Base()


class Bounds:
    """Bounds one workspace from its first instruction to its end.

    Give `before_run` to `launch.start`, then call `watch`, and `release` when it has ended.

    Args:
        name: of letters and digits, one at a time on this machine.
        profile: how much of the machine it may use.
        tmpfs: its file systems in memory.
        quotas: see `quotas_of`.
        on_excess: called at most once, in another thread, with a sentence for the researcher; must kill the sandbox.
    """

    def __init__(
        self,
        name: str,
        profile: Profile,
        *,
        tmpfs: Sequence[Tmpfs],
        quotas: Sequence[Quota],
        on_excess: Callable[[str], None],
    ) -> None:
        self._profile = profile
        self._tmpfs = tuple(each.target for each in tmpfs)
        self._quotas = tuple(quotas)
        self._on_excess = on_excess
        self._inside = 0
        self._outer = 0
        self._group: cgroup.Group | None = None
        try:
            wanted = cgroup.GroupLimits(profile.memory_bytes, profile.processes, profile.cpu)
            self._group = cgroup.Group(_BASE.get(), name, wanted)
        except CgroupUnavailable as why:
            _log.info("workspace.no_cgroup reason=%s", why)

    @property
    def memory(self) -> str:
        """What bounds memory: `cgroup` or `watchdog`."""
        return "watchdog" if self._group is None else "cgroup"

    def before_run(self, pid: int) -> None:
        """Take hold of the sandbox's first process.

        Raises:
            CgroupUnavailable: it cannot be put into the group that was made for it; it must not run then.
        """
        self._inside = pid
        if self._group is not None:
            self._group.add(pid)

    def watch(self, process: subprocess.Popen[bytes]) -> None:
        """Begin to watch what the kernel does not bound."""
        self._outer = process.pid
        if self._group is None:
            _MEMORY.watch(
                process.pid,
                MemoryBound(self._profile.memory_bytes, self._inside, self._tmpfs, self._on_excess),
            )
        if self._quotas:
            _DISK.watch(process.pid, DiskBound(self._quotas, self._on_excess))

    def why_it_ended(self) -> str:
        """Return what the kernel ended the workspace for, a sentence for the researcher, or nothing."""
        if self._group is not None and self._group.ended_by_memory():
            limit = self._profile.memory_bytes >> 20
            return f"The workspace used more memory than its limit, {limit} MiB."
        return ""

    def release(self) -> None:
        """Stop watching; what is left of the workspace ends."""
        _MEMORY.forget(self._outer)
        _DISK.forget(self._outer)
        if self._group is not None:
            try:
                self._group.end()
            except CgroupUnavailable as error:
                _log.warning("workspace.cgroup_left reason=%s", error)


@dataclass(frozen=True)
class InForce:
    """One bound of workspaces on this machine."""

    what: str
    how: str
    best: bool
    """Whether the kernel itself does it, for all processes together."""
    remedy: str | None = None


def in_force(zones: Path) -> list[InForce]:
    """Say what would bound workspaces if Broch was started just as this process was.

    Args:
        zones: folder of zones, or the place where it will be.
    """
    profile = Profile()
    try:
        cgroup.foresee()
        why = ""
    except CgroupUnavailable as error:
        why = str(error)
    cores = min(math.ceil(profile.cpu), len(os.sched_getaffinity(0)))
    return [
        InForce("memory", "a cgroup bounds all of a workspace together", best=True)
        if not why
        else InForce(
            "memory",
            f"a watchdog looks every {FAST_SECONDS * 1000:.0f} to {SLOW_SECONDS * 1000:.0f} ms, for {why}; "
            "a workspace that is over is stopped, and may be over by what is written meanwhile",
            best=False,
            remedy=cgroup.REMEDY,
        ),
        InForce(
            "processor",
            f"a cgroup gives {profile.cpu:g} processors at most"
            if not why
            else f"{cores} processors at most, and others go first (nice {NICE})",
            best=not why,
            remedy=cgroup.REMEDY if why else None,
        ),
        InForce("processes", f"{profile.processes} processes and threads at most", best=True),
        _disk_in_force(zones, profile),
    ]


def _disk_in_force(zones: Path, profile: Profile) -> InForce:
    there = next(path for path in (zones, *zones.parents) if path.exists())
    apart = there == zones and zones.stat().st_dev != zones.parent.stat().st_dev
    watched = (
        f"a watchdog stops a workspace whose home is over {profile.home_bytes >> 30} GiB or whose project is over "
        f"{profile.project_bytes >> 30} GiB"
    )
    if apart:
        return InForce("disk", f"{zones} is a file system of its own; in it {watched}", best=True)
    return InForce(
        "disk",
        f"{watched}, {GRACE >> 20} MiB more where it was over before; zones and database share one disk",
        best=False,
        remedy=f"Mount a file system of its own at {zones}; docs/workspaces.md says how.",
    )
