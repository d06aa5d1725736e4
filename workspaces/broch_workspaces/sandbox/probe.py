"""Can this machine make a sandbox? Tried for real, and when not: why, and the one command that mends it."""

from __future__ import annotations

import contextlib
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from broch_workspaces.sandbox import launch, runtime, seccomp
from broch_workspaces.sandbox.errors import Cause, SandboxUnavailable
from broch_workspaces.sandbox.profile import Limits, SandboxProfile

OLDEST_BUBBLEWRAP = (0, 8, 0)
"""First version with `--disable-userns` and `--perms` for data files."""

_REMEDY_APPARMOR = (
    "Run: sudo apt-get install apparmor-profiles && "
    "sudo cp /usr/share/apparmor/extra-profiles/bwrap-userns-restrict /etc/apparmor.d/ && "
    "sudo systemctl reload apparmor"
)


@dataclass(frozen=True)
class Machine:
    """What the probe looks at; tests give another one."""

    system: str = sys.platform
    machine: str = platform.machine()
    search_path: str | None = None
    """PATH on which bubblewrap is searched; the process's own by default."""
    proc_sys: Path = Path("/proc/sys")
    euid: int | None = None


@dataclass(frozen=True)
class ProbeResult:
    """A sandbox was made, and it was empty and cut off as it should be."""

    bwrap: str
    version: tuple[int, ...]


def _version(bwrap: str) -> tuple[int, ...]:
    said = subprocess.run(
        [bwrap, "--version"], capture_output=True, text=True, timeout=10, check=False
    ).stdout
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", said)
    return tuple(int(part or 0) for part in found.groups()) if found else (0,)


def _sysctl(machine: Machine, name: str) -> str | None:
    with contextlib.suppress(OSError):
        return (machine.proc_sys / name).read_text(encoding="ascii").strip()
    return None


def namespaces_off(machine: Machine) -> SandboxUnavailable | None:
    """Return which switch of the kernel forbids unprivileged user namespaces, if one does."""
    for name in ("kernel/unprivileged_userns_clone", "user/max_user_namespaces"):
        if _sysctl(machine, name) == "0":
            dotted, value = name.replace("/", "."), "1" if name.startswith("kernel") else "15000"
            return SandboxUnavailable(
                Cause.USER_NAMESPACES_OFF,
                f"Unprivileged user namespaces are switched off ({dotted} = 0).",
                f"Run: echo {dotted}={value} | sudo tee /etc/sysctl.d/60-broch.conf && sudo sysctl --system",
            )
    if _sysctl(machine, "kernel/apparmor_restrict_unprivileged_userns") == "1":
        return SandboxUnavailable(
            Cause.APPARMOR,
            "AppArmor lets no program make user namespaces without a profile, and bubblewrap has none.",
            _REMEDY_APPARMOR,
        )
    return None


def probe(machine: Machine | None = None) -> ProbeResult:
    """Make one empty sandbox and look around in it.

    Raises:
        SandboxUnavailable: with the cause and its remedy.
    """
    machine = machine or Machine()
    if machine.system != "linux":
        raise SandboxUnavailable(
            Cause.NOT_LINUX,
            "Workspaces and airlock checks need Linux.",
            "Use a Linux machine, a virtual machine, or WSL2 (run: wsl --install).",
        )
    if machine.machine not in seccomp.AUDIT_ARCH:
        raise SandboxUnavailable(
            Cause.UNKNOWN_MACHINE,
            f"There is no system call filter for {machine.machine}.",
            "Use an x86_64 or aarch64 machine.",
        )
    bwrap = shutil.which("bwrap", path=machine.search_path)
    if bwrap is None:
        raise SandboxUnavailable(
            Cause.NO_BUBBLEWRAP,
            "bubblewrap is not installed.",
            "Run: sudo apt-get install bubblewrap  (Fedora: sudo dnf install bubblewrap)",
        )
    version = _version(bwrap)
    if version < OLDEST_BUBBLEWRAP:
        raise SandboxUnavailable(
            Cause.OLD_BUBBLEWRAP,
            f"bubblewrap {'.'.join(map(str, version))} is too old; it cannot forbid nested user namespaces.",
            "Install bubblewrap 0.8 or newer (Debian 12, Ubuntu 24.04 and Fedora 38 have it).",
        )
    launch.refuse_root(machine.euid)
    try:
        interfaces = _interfaces_inside(bwrap)
    except SandboxUnavailable as failure:
        raise (namespaces_off(machine) or failure) from failure
    if interfaces != ["lo"]:
        raise SandboxUnavailable(
            Cause.NETWORK_VISIBLE,
            f"A sandbox here is not cut off from the network: it sees {interfaces}.",
            "Run: command -v bwrap  (it must be the bubblewrap of your distribution)",
        )
    return ProbeResult(bwrap, version)


def _interfaces_inside(bwrap: str) -> list[str]:
    profile = SandboxProfile(
        binds=tuple(
            bind for bind in runtime.runtime_binds() if bind.target.startswith(("/usr", "/lib", "/bin"))
        ),
        links=runtime.system_links(),
        limits=Limits(processes=16),
        env={"PATH": "/usr/bin:/bin"},
    )
    process = launch.start(profile, ["/bin/cat", "/proc/net/dev"], bwrap=bwrap)
    try:
        said, _ = process.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise SandboxUnavailable(
            Cause.FAILED, "A sandbox did not start within 20 s.", "Run: broch doctor"
        ) from None
    text = said.decode("utf-8", "replace")
    if process.returncode != 0:
        raise SandboxUnavailable(
            Cause.FAILED, f"A sandbox ended with {process.returncode}: {text.strip()}", "Run: broch doctor"
        )
    return [line.split(":")[0].strip() for line in text.splitlines()[2:]]
