"""Control groups, version 2: where the kernel itself bounds memory, processor and processes of a whole workspace.

Broch needs a cgroup of its own in which it may make others, as `Delegate=yes` of systemd gives. Version 2 allows no
processes beside child groups with limits, so Broch's own move down to `broch-services`, and each workspace gets a
sibling of it (kernel documentation, admin-guide/cgroup-v2, *No Internal Process Constraint* and *Delegation*).
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from broch_workspaces.sandbox.errors import CgroupUnavailable

SERVICES = "broch-services"
"""The group that Broch's own processes sit in."""
REMEDY = "Start it in a group of its own: systemd-run --user --scope -p Delegate=yes ./broch up  (as root without --user)"
_WANTED = ("memory", "pids", "cpu")
_PREFIX = "ws-"
_PERIOD = 100_000
"""Microseconds of a period of `cpu.max`."""
_WEIGHT = 50
"""Of each workspace's processor time where all want it; Broch's own services have the usual 100."""
_PATIENCE_SECONDS = 2.0


@dataclass(frozen=True)
class GroupLimits:
    """What one workspace may use, all its processes together."""

    memory_bytes: int
    processes: int
    cores: float


def own_group(proc: Path = Path("/proc/self")) -> Path:
    """Return the folder of this process's cgroup.

    Raises:
        CgroupUnavailable: there is no cgroup version 2 here, or it is not mounted.
    """
    try:
        groups = (proc / "cgroup").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        mounts = (proc / "mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError as error:
        raise CgroupUnavailable(f"control groups cannot be seen here ({error.strerror})") from error
    path = next((line[3:] for line in groups if line.startswith("0::")), None)
    if path is None:
        raise CgroupUnavailable("this kernel has no control groups of version 2")
    for line in mounts:
        fields, _, kind = line.partition(" - ")
        if kind.startswith("cgroup2 "):
            root, point = (_unescaped(field) for field in fields.split()[3:5])
            inside = os.path.relpath(path, root)
            if not inside.startswith(".."):
                return Path(os.path.normpath(Path(point) / inside))
    raise CgroupUnavailable("control groups of version 2 are not mounted")


def _unescaped(field: str) -> str:
    """Undo the octal escapes of mountinfo (proc(5))."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split()
    except OSError as error:
        raise CgroupUnavailable(f"{path} cannot be read ({error.strerror})") from error


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="ascii")
    except OSError as error:
        raise CgroupUnavailable(f"{path} cannot be written ({error.strerror})") from error


def take_over(uid: int | None = None, gid: int | None = None) -> Path:
    """Make this process's cgroup one in which workspaces can be made; before any other process was started.

    Args:
        uid: give the group to this account (by root, before it gives up root).
        gid: and to this group.

    Returns:
        The folder in which the groups of workspaces are made.

    Raises:
        CgroupUnavailable: why not. Nothing was changed then.
    """
    own, base = foresee()
    if own.name == SERVICES:
        return base
    services = base / SERVICES
    try:
        services.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CgroupUnavailable(f"Broch may not make control groups ({error.strerror})") from error
    try:
        _write(services / "cgroup.procs", str(os.getpid()))
        for folder in dict.fromkeys((own, base)):
            _enable(folder)
        if uid is not None and gid is not None:
            for place in (base, services, *_delegated(base), *_delegated(services)):
                os.chown(place, uid, gid)
    except (CgroupUnavailable, OSError) as error:
        with contextlib.suppress(OSError, CgroupUnavailable):
            _write(own / "cgroup.procs", str(os.getpid()))
            services.rmdir()
        raise CgroupUnavailable(str(error)) from error
    return base


def foresee() -> tuple[Path, Path]:
    """Return our own group and the one in which those of workspaces would be made, changing nothing.

    Raises:
        CgroupUnavailable: why none can be made.
    """
    own = own_group()
    if own.name == SERVICES and _is_ours(own.parent):
        return own, own.parent
    # Only the root of all groups has no type, and it alone may hold processes beside groups with limits.
    top = not (own / "cgroup.type").exists()
    if "memory" not in _words(own / "cgroup.controllers"):
        raise CgroupUnavailable("control groups of version 2 do not have the memory controller here")
    if not os.access(own, os.W_OK) or not os.access(own / "cgroup.procs", os.W_OK):
        raise CgroupUnavailable("Broch may not make control groups here")
    if not top and set(_words(own / "cgroup.procs")) != {str(os.getpid())}:
        raise CgroupUnavailable("Broch shares its control group with other processes")
    return own, own / "broch" if top else own


def _enable(folder: Path) -> None:
    there = set(_words(folder / "cgroup.controllers"))
    _write(folder / "cgroup.subtree_control", " ".join(f"+{name}" for name in _WANTED if name in there))


def _delegated(folder: Path) -> list[Path]:
    """Return the files that a delegatee must own (cgroup-v2, *Model of Delegation*)."""
    names = ("cgroup.procs", "cgroup.subtree_control", "cgroup.threads")
    return [folder / name for name in names if (folder / name).exists()]


def _is_ours(base: Path) -> bool:
    try:
        return "memory" in _words(base / "cgroup.subtree_control") and os.access(base, os.W_OK)
    except CgroupUnavailable:
        return False


def base_group() -> Path:
    """Return where groups of workspaces are made, as `take_over` of our parent process left it.

    Raises:
        CgroupUnavailable: it could not, or we were started another way.
    """
    own = own_group()
    if own.name != SERVICES or not _is_ours(own.parent):
        raise CgroupUnavailable("Broch has no control group of its own")
    return own.parent


class Group:
    """The cgroup of one workspace.

    Args:
        base: see `base_group`.
        name: of the workspace, of letters and digits.
        limits: what it may use.

    Raises:
        CgroupUnavailable: it could not be made or limited; nothing is left then.
    """

    def __init__(self, base: Path, name: str, limits: GroupLimits) -> None:
        self.path = base / f"{_PREFIX}{name}"
        with contextlib.suppress(CgroupUnavailable):
            self.end()
        try:
            self.path.mkdir()
            self._limit(limits, set(_words(base / "cgroup.subtree_control")))
        except (OSError, CgroupUnavailable) as error:
            with contextlib.suppress(OSError):
                self.path.rmdir()
            raise CgroupUnavailable(str(error)) from error

    def _limit(self, limits: GroupLimits, there: set[str]) -> None:
        _write(self.path / "memory.max", str(limits.memory_bytes))
        # All of it ends at once: a workspace that lost one process to the kernel would be neither alive nor dead.
        _write(self.path / "memory.oom.group", "1")
        if (self.path / "memory.swap.max").exists():
            _write(self.path / "memory.swap.max", "0")
        if "pids" in there:
            _write(self.path / "pids.max", str(limits.processes))
        if "cpu" in there:
            _write(self.path / "cpu.weight", str(_WEIGHT))
            if (self.path / "cpu.max").exists():  # a kernel without bandwidth control has weights only
                _write(self.path / "cpu.max", f"{int(limits.cores * _PERIOD)} {_PERIOD}")

    def add(self, pid: int) -> None:
        """Put a process into the group; what it starts from now on is born there."""
        _write(self.path / "cgroup.procs", str(pid))

    def ended_by_memory(self) -> bool:
        """Whether the kernel killed the workspace because it was over its memory."""
        with contextlib.suppress(CgroupUnavailable):
            words = _words(self.path / "memory.events")
            return int(dict(zip(words[::2], words[1::2], strict=True)).get("oom_kill", 0)) > 0
        return False

    def end(self) -> None:
        """Kill what is left in the group and remove it; nothing happens when it is gone.

        Raises:
            CgroupUnavailable: processes in it do not end.
        """
        until = time.monotonic() + _PATIENCE_SECONDS
        while self.path.exists():
            with contextlib.suppress(CgroupUnavailable):
                _write(self.path / "cgroup.kill", "1")  # Linux 5.14; before, the sandbox's own end does it
            try:
                self.path.rmdir()
            except FileNotFoundError:
                return
            except OSError as error:
                if time.monotonic() > until:
                    raise CgroupUnavailable(f"{self.path.name} does not end ({error.strerror})") from error
                time.sleep(0.01)


def sweep(base: Path) -> None:
    """End the groups that a hub left which was killed."""
    for folder in base.glob(f"{_PREFIX}*"):
        group = Group.__new__(Group)
        group.path = folder
        with contextlib.suppress(CgroupUnavailable):
            group.end()
