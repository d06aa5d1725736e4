"""What goes on in a workspace: kernels, terminals, processor, GPU, the person. Standard library only."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

BUSY_CORES = 0.2
"""Share of one core, on average between two looks. An open page and the server themselves take a tenth of that."""
BUSY_GPU = 5
"""Per cent of the time that a kernel ran on a GPU. Drivers show one or two of a GPU that does nothing."""
_SHORTEST = timedelta(seconds=1)
"""Between two looks that have a share; clocks of processes are too coarse below."""
_CGROUP_USAGE = (
    (Path("/sys/fs/cgroup/cpu.stat"), 1e-6),
    (Path("/sys/fs/cgroup/cpuacct/cpuacct.usage"), 1e-9),
    (Path("/sys/fs/cgroup/cpu,cpuacct/cpuacct.usage"), 1e-9),
)
"""Processor time of the pod by control groups of version 2 (`usage_usec N`) and 1 (one number), and their unit, seconds."""


@dataclass(frozen=True)
class Worker:
    """A kernel or a terminal."""

    busy: bool
    active_at: datetime


@dataclass(frozen=True)
class Look:
    """What one look showed."""

    at: datetime
    workers: tuple[Worker, ...] = ()
    cpu_seconds: float | None = None
    """Processor time of everything in the workspace so far; None: it is not told."""
    gpu_percent: int | None = None
    """Of the busiest GPU; None: there is none, or it does not tell."""


def active_at(before: Look | None, now: Look, *, person_at: datetime) -> datetime:
    """Return the last moment of activity that a look shows.

    Args:
        before: the look before this one.
        now: the look.
        person_at: when the person last did something in a page of the workspace.
    """
    if any(worker.busy for worker in now.workers) or (now.gpu_percent or 0) >= BUSY_GPU:
        return now.at
    if before is not None and _cores(before, now) >= BUSY_CORES:
        return now.at
    return min(max([person_at, *(worker.active_at for worker in now.workers)]), now.at)


def _cores(before: Look, now: Look) -> float:
    elapsed = now.at - before.at
    if before.cpu_seconds is None or now.cpu_seconds is None or elapsed < _SHORTEST:
        return 0.0
    return (now.cpu_seconds - before.cpu_seconds) / elapsed.total_seconds()


def cpu_seconds(cgroups: Iterable[tuple[Path, float]] = _CGROUP_USAGE, proc: Path = Path("/proc")) -> float:
    """Return the processor time of the pod by its control group, or of all processes that are to be seen."""
    for file, unit in cgroups:
        with contextlib.suppress(OSError, ValueError):
            text = file.read_text(encoding="ascii").split()
            return int(text[text.index("usage_usec") + 1 if "usage_usec" in text else 0]) * unit
    return _of_processes(proc)


def _of_processes(proc: Path) -> float:
    ticks = 0
    for stat in proc.glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The name in brackets may itself hold brackets and blanks (proc(5)); utime, stime and those of children
            # that ended are the 14th to 17th field.
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def has_foreground(terminal: int, shell: int) -> bool:
    """Tell whether a terminal runs something other than its shell.

    Args:
        terminal: descriptor of the terminal's near end.
        shell: pid of the shell, which leads its process group.
    """
    with contextlib.suppress(OSError):
        return os.tcgetpgrp(terminal) != shell
    return False


class _Utilization(ctypes.Structure):
    """`nvmlUtilization_t` (NVML API reference): per cent of the last sample period."""

    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


class Gpus:
    """The GPUs of the workspace, by NVIDIA's management library where there is one."""

    def __init__(self, library: str = "libnvidia-ml.so.1") -> None:
        self._devices: list[ctypes.c_void_p] = []
        try:
            self._nvml: ctypes.CDLL | None = ctypes.CDLL(library)
        except OSError:
            self._nvml = None
            return
        number = ctypes.c_uint()
        if self._nvml.nvmlInit_v2() or self._nvml.nvmlDeviceGetCount_v2(ctypes.byref(number)):
            return
        for index in range(number.value):
            device = ctypes.c_void_p()
            if not self._nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(device)):
                self._devices.append(device)

    def percent(self) -> int | None:
        """Return how busy the busiest is; None: none tells (a part of a GPU does not)."""
        found = []
        for device in self._devices:
            shown = _Utilization()
            if self._nvml is not None and not self._nvml.nvmlDeviceGetUtilizationRates(
                device, ctypes.byref(shown)
            ):
                found.append(int(shown.gpu))
        return max(found, default=None)
