"""What one sandbox sees, as data, and the bubblewrap arguments that make it so (pure)."""

from __future__ import annotations

import resource
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

MIB = 1 << 20
UID = GID = 1000
"""Ids inside every sandbox; outside it is the unprivileged account that started it."""


@dataclass(frozen=True)
class Bind:
    """A file or folder of the machine shown inside at `target`."""

    source: Path
    target: str
    read_only: bool = True
    optional: bool = False
    """Leave it out without complaint when the source does not exist."""


@dataclass(frozen=True)
class Link:
    """A symbolic link inside, such as `/bin -> usr/bin`."""

    target: str
    text: str


@dataclass(frozen=True)
class DataFile:
    """A read-only file inside whose bytes come from memory: it has no path on the machine."""

    target: str
    content: bytes = field(repr=False)
    mode: int = 0o444


@dataclass(frozen=True)
class Tmpfs:
    """An empty, writable folder in memory; what is written there counts as memory of the machine."""

    target: str
    size: int = 64 * MIB
    """Bytes."""


@dataclass(frozen=True)
class Limits:
    """Resource limits (setrlimit(2)), soft and hard alike. None leaves one as it was."""

    data_bytes: int | None = None
    """Heap and private writable mappings of each process, bytes (RLIMIT_DATA)."""
    address_space_bytes: int | None = None
    """All mappings of each process, bytes (RLIMIT_AS). Breaks programs that reserve much and use little."""
    processes: int | None = 512
    """Processes and threads inside together (RLIMIT_NPROC counts per user namespace since Linux 5.14)."""
    file_bytes: int | None = None
    """Largest single file, bytes (RLIMIT_FSIZE)."""
    open_files: int | None = 4096
    """Descriptors of each process (RLIMIT_NOFILE)."""
    cpu_seconds: int | None = None
    """CPU time of each process, seconds (RLIMIT_CPU)."""
    cores: int | None = None
    """Processors that all processes together may run on; the filter of system calls keeps them there."""
    nice: int = 0
    """How much others go first (nice(2)), 0 to 19. It can be raised inside, never lowered."""

    def as_rlimits(self) -> dict[int, int]:
        """Return `{RLIMIT_x: value}`; core dumps, real time and much locked memory never are."""
        wanted = {
            resource.RLIMIT_DATA: self.data_bytes,
            resource.RLIMIT_AS: self.address_space_bytes,
            resource.RLIMIT_NPROC: self.processes,
            resource.RLIMIT_FSIZE: self.file_bytes,
            resource.RLIMIT_NOFILE: self.open_files,
            resource.RLIMIT_CPU: self.cpu_seconds,
            resource.RLIMIT_CORE: 0,
            resource.RLIMIT_RTPRIO: 0,
            resource.RLIMIT_NICE: 0,
            resource.RLIMIT_MEMLOCK: 8 * MIB,
        }
        return {which: value for which, value in wanted.items() if value is not None}


@dataclass(frozen=True)
class SandboxProfile:
    """Everything a sandbox is made of. What is not named here does not exist inside.

    There is no network setting: a sandbox has a loopback interface of its own and nothing else, always.
    """

    binds: tuple[Bind, ...] = ()
    links: tuple[Link, ...] = ()
    files: tuple[DataFile, ...] = ()
    tmpfs: tuple[Tmpfs, ...] = (Tmpfs("/tmp"), Tmpfs("/dev/shm"))  # noqa: S108 (inside)
    folders: tuple[str, ...] = ()
    """Empty folders (mount points for what may come to nothing)."""
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    limits: Limits = Limits()
    chdir: str = "/"
    hostname: str = "sandbox"


_KERNEL_FOLDERS = ("/proc", "/dev", "/sys")


def _checked_target(target: str) -> PurePosixPath:
    path = PurePosixPath(target)
    plain = (
        path.is_absolute()
        and str(path) == target
        and not {"..", "."} & set(path.parts)
        and "\0" not in target
    )
    if not plain or target == "/" or target.startswith("//"):
        raise ValueError(f"a mount target is a plain absolute path below /, not {target!r}")
    if any(path.is_relative_to(kernel) for kernel in _KERNEL_FOLDERS) and target != "/dev/shm":  # noqa: S108
        raise ValueError(f"{target} belongs to the kernel's own file systems")
    return path


def _mounts(profile: SandboxProfile, fds: Mapping[str, int]) -> Iterator[tuple[str, list[str]]]:
    """Yield each mount's target and its bubblewrap arguments, in no order."""
    for bind in profile.binds:
        if not bind.source.is_absolute() or "\0" in str(bind.source):
            raise ValueError(f"a mount source is an absolute path, not {str(bind.source)!r}")
        option = ("--ro-bind" if bind.read_only else "--bind") + ("-try" if bind.optional else "")
        yield bind.target, [option, str(bind.source), bind.target]
    for link in profile.links:
        yield link.target, ["--symlink", link.text, link.target]
    for file in profile.files:
        fd = str(fds[file.target])
        yield file.target, ["--perms", f"{file.mode:04o}", "--ro-bind-data", fd, file.target]
    for tmpfs in profile.tmpfs:
        yield tmpfs.target, ["--perms", "1777", "--size", str(tmpfs.size), "--tmpfs", tmpfs.target]
    for folder in profile.folders:
        yield folder, ["--perms", "0755", "--dir", folder]


def bwrap_arguments(profile: SandboxProfile, fds: Mapping[str, int]) -> list[str]:
    """Return the arguments for bwrap(1), up to but without the command.

    Args:
        profile: what the sandbox is made of.
        fds: descriptors by name: `seccomp`, `info`, `block` (each optional), and one for each `DataFile` by its
            target.

    Raises:
        ValueError: two mounts on one target, a target that is not plain, or one below a writable bind (whoever
            writes there could put a symbolic link in its place before the next start).
    """
    mounts: dict[PurePosixPath, list[str]] = {}
    for target, mount in _mounts(profile, fds):
        path = _checked_target(target)
        if path in mounts:
            raise ValueError(f"two mounts on {target}")
        mounts[path] = mount
    writable = [PurePosixPath(bind.target) for bind in profile.binds if not bind.read_only]
    for path in mounts:
        if any(path != top and path.is_relative_to(top) for top in writable):
            raise ValueError(f"{path} lies below a folder that the sandbox can write")

    # --disable-userns works only when --unshare-user is said explicitly.
    arguments = ["--unshare-user", "--unshare-all", "--disable-userns", "--uid", str(UID), "--gid", str(GID)]
    arguments += ["--hostname", profile.hostname, "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    for name, option in (("seccomp", "--seccomp"), ("info", "--info-fd"), ("block", "--block-fd")):
        if name in fds:
            arguments += [option, str(fds[name])]
    arguments.append("--clearenv")
    for name, value in sorted(profile.env.items()):
        arguments += ["--setenv", name, value]
    arguments += ["--proc", "/proc", "--dev", "/dev"]
    # A parent before its children, so that none hides another.
    for path in sorted(mounts, key=lambda path: (len(path.parts), str(path))):
        arguments += mounts[path]
    return [
        *arguments,
        "--remount-ro",
        "/proc",
        "--remount-ro",
        "/dev",
        "--remount-ro",
        "/",
        "--chdir",
        profile.chdir,
    ]


def encode_arguments(arguments: Sequence[str]) -> bytes:
    r"""Return the arguments as `--args FD` wants them: each one ended by a NUL.

    Raises:
        ValueError: an argument holds a NUL (it would become two).
    """
    if any("\0" in argument for argument in arguments):
        raise ValueError("an argument holds a NUL")
    return b"".join(argument.encode("utf-8", "surrogateescape") + b"\0" for argument in arguments)
