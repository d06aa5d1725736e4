"""Giving up root for good, and keeping what is needed reachable afterwards.

Broch started by root (containers, CI) must not stay root: sandboxes are made by an unprivileged account. That account
often cannot reach the interpreter or the clone (`/root` is 0700). So the needed paths, and no others, are bound into
view in a mount namespace that this process and its children share with nobody.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import shutil
import stat
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from broch_workspaces.sandbox.errors import Cause, SandboxUnavailable

ACCOUNT_NAME = "broch"
FALLBACK_ID = 64610
"""Uid and gid when there is no account `broch`: no entry in /etc/passwd is needed."""

_CLONE_NEWNS = 0x00020000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = (
    1,
    2,
    4,
    32,
    4096,
    16384,
    1 << 18,
)
_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38
_SYS_MOUNT_SETATTR = 442  # the same number on x86_64 and aarch64
_MOUNT_ATTR_RDONLY, _AT_EMPTY_PATH, _AT_RECURSIVE = 1, 0x1000, 0x8000

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Account:
    """Who this process is from now on."""

    uid: int
    gid: int
    dropped: bool
    """Whether root was given up just now."""
    covered: tuple[Path, ...] = ()
    """Folders of the machine that were covered so that needed paths below them can be reached."""


def choose_account() -> tuple[int, int]:
    """Return uid and gid of the account `broch`, or the fixed fallback."""
    try:
        entry = pwd.getpwnam(ACCOUNT_NAME)
    except KeyError:
        return FALLBACK_ID, FALLBACK_ID
    if entry.pw_uid == 0:
        raise SandboxUnavailable(Cause.AS_ROOT, "The account `broch` is root.", "Run: userdel broch")
    return entry.pw_uid, entry.pw_gid


def drop_privileges(needed_readable: Sequence[Path], needed_writable: Sequence[Path]) -> Account:
    """Become an unprivileged account for good; does nothing but check when root is not held.

    Afterwards HOME, USER and LOGNAME are those of the account (HOME is the first writable path). Call it before any
    thread, event loop or database exists, and with absolute paths.

    Args:
        needed_readable: files and folders that must stay readable (interpreter, environment, sources, demo data).
        needed_writable: state folders; made when absent, given to the account when empty.

    Raises:
        SandboxUnavailable: a path cannot be reached, or root could not be given up. Nothing was started; the
            process must end.
    """
    readable = [Path(os.path.realpath(path)) for path in needed_readable]
    writable = [Path(os.path.realpath(path)) for path in needed_writable]
    wanted = _wanted(readable, writable)
    if os.geteuid() != 0:
        for folder in writable:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _require(_refused_to_us(wanted), os.geteuid())
        return Account(os.geteuid(), os.getegid(), dropped=False)

    uid, gid = choose_account()
    for folder in writable:
        _give(folder, uid, gid)
    covered: tuple[Path, ...] = ()
    if _refused_to(uid, gid, wanted):
        covered = _bring_into_view(uid, gid, readable, writable)
        _require(_refused_to(uid, gid, wanted), uid)
    _become(uid, gid, writable)
    return Account(uid, gid, dropped=True, covered=covered)


def _require(refused: list[Path], uid: int) -> None:
    if refused:
        names = ", ".join(str(path) for path in refused)
        raise SandboxUnavailable(
            Cause.UNREACHABLE_PATH,
            f"The unprivileged account (uid {uid}) cannot use {names}.",
            f"Run: chmod -R o+rX {refused[0]}  (or run Broch as an ordinary user from a folder of that user)",
        )


def _give(folder: Path, uid: int, gid: int) -> None:
    """Make `folder` the account's own when it is new or empty; refuse one that holds somebody else's files."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(fd).st_uid == uid:
            return
        if os.listdir(fd):  # noqa: PTH208 (by descriptor)
            raise SandboxUnavailable(
                Cause.FOREIGN_STATE,
                f"{folder} holds files of uid {os.fstat(fd).st_uid}, but Broch runs as uid {uid}.",
                f"Run: chown -R {uid}:{gid} {folder}  (or give another --dir)",
            )
        os.fchown(fd, uid, gid)
        os.fchmod(fd, 0o700)
    finally:
        os.close(fd)


def _wanted(readable: Sequence[Path], writable: Sequence[Path]) -> list[tuple[Path, int]]:
    return [(path, os.R_OK) for path in readable] + [(path, os.R_OK | os.W_OK) for path in writable]


def _refused_to_us(wanted: Sequence[tuple[Path, int]]) -> list[Path]:
    # os.path.isdir, unlike Path.is_dir, says no where it may not look.
    return [
        path
        for path, mode in wanted
        if not os.access(path, mode | (os.X_OK if os.path.isdir(path) else 0))  # noqa: PTH112
    ]


def _refused_to(uid: int, gid: int, wanted: Sequence[tuple[Path, int]]) -> list[Path]:
    """Return the paths that the account cannot use, tried by a child that has become it (so ACLs count too)."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        with contextlib.suppress(BaseException):
            os.setgroups([])
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            refused = set(_refused_to_us(wanted))
            os.write(writing, bytes(path in refused for path, _ in wanted))
            status = 0
        os._exit(status)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answers = pipe.read()
    os.waitpid(child, 0)
    if len(answers) != len(wanted):
        raise SandboxUnavailable(
            Cause.FAILED,
            f"This process cannot become uid {uid}.",
            "Give the container CAP_SETUID and CAP_SETGID, or run Broch as an ordinary user.",
        )
    return [path for (path, _), refused in zip(wanted, answers, strict=True) if refused]


def outermost(paths: Sequence[Path]) -> list[Path]:
    """Return the paths that lie below no other of them, sorted."""
    unique = sorted(set(paths))
    return [
        path for path in unique if not any(path != other and path.is_relative_to(other) for other in unique)
    ]


def _first_closed_ancestor(uid: int, gid: int, path: Path) -> Path | None:
    """Return the outermost folder above `path` that the account may not pass."""
    ancestors = list(reversed(path.parents))
    return next(iter(_refused_to(uid, gid, [(folder, os.X_OK) for folder in ancestors])), None)


def _bring_into_view(
    uid: int, gid: int, readable: Sequence[Path], writable: Sequence[Path]
) -> tuple[Path, ...]:
    """Cover closed folders by empty ones, and bind back only what is needed below them."""
    wanted = [(path, True) for path in outermost(readable)] + [(path, False) for path in outermost(writable)]
    closed: dict[Path, list[tuple[Path, bool]]] = {}
    for path, read_only in wanted:
        folder = _first_closed_ancestor(uid, gid, path)
        if folder is not None:
            closed.setdefault(folder, []).append((path, read_only))
    if not closed:
        return ()
    where = Path.cwd()
    if _libc.unshare(_CLONE_NEWNS) != 0:
        error = os.strerror(ctypes.get_errno())
        raise SandboxUnavailable(
            Cause.UNREACHABLE_PATH,
            f"The unprivileged account (uid {uid}) cannot pass {next(iter(closed))}, and no mount namespace "
            f"can be made here ({error}).",
            "Move the clone and the interpreter outside that folder, or run Broch as an ordinary user.",
        )
    _mount(None, "/", None, _MS_REC | _MS_PRIVATE)
    with contextlib.ExitStack() as held:
        fds = dict(_held(held, [path for paths in closed.values() for path, _ in paths]))
        for folder, paths in closed.items():
            _mount("tmpfs", str(folder), "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=0755,size=1m")
            for path, read_only in sorted(paths):
                _bind_back(fds[path], path, read_only=read_only)
    try:
        os.chdir(where)
    except OSError:
        os.chdir("/")
    return tuple(sorted(closed))


def _held(stack: contextlib.ExitStack, paths: Sequence[Path]) -> Iterator[tuple[Path, int]]:
    for path in paths:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        stack.callback(os.close, fd)
        yield path, fd


def _bind_back(fd: int, path: Path, *, read_only: bool) -> None:
    is_folder = stat.S_ISDIR(os.fstat(fd).st_mode)
    old = os.umask(0o022)
    try:
        if not path.exists():
            (path if is_folder else path.parent).mkdir(parents=True, exist_ok=True)
            if not is_folder:
                path.touch()
    finally:
        os.umask(old)
    _mount(f"/proc/self/fd/{fd}", str(path), None, _MS_BIND | _MS_REC)
    if read_only:
        _make_read_only(path)


def _make_read_only(path: Path) -> None:
    """Make the mount at `path` read-only, with all below it where the kernel can (Linux 5.12)."""
    attributes = struct.pack("QQQQ", _MOUNT_ATTR_RDONLY, 0, 0, 0)
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        done = _libc.syscall(
            _SYS_MOUNT_SETATTR,
            fd,
            b"",
            _AT_EMPTY_PATH | _AT_RECURSIVE,
            attributes,
            ctypes.c_size_t(len(attributes)),
        )
    finally:
        os.close(fd)
    if done != 0:
        _mount(None, str(path), None, _MS_BIND | _MS_REMOUNT | _MS_RDONLY)


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    def text(value: str | None) -> bytes | None:
        return None if value is None else os.fsencode(value)

    if _libc.mount(text(source), text(target), text(kind), ctypes.c_ulong(flags), text(data)) != 0:
        number = ctypes.get_errno()
        raise SandboxUnavailable(
            Cause.UNREACHABLE_PATH,
            f"{target} cannot be mounted ({os.strerror(number)}).",
            "Move the clone and the interpreter to a folder that every user may read, or run as an ordinary user.",
        )


def _become(uid: int, gid: int, writable: Sequence[Path]) -> None:
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    bwrap = shutil.which("bwrap")
    if bwrap is None or not Path(bwrap).stat().st_mode & stat.S_ISUID:
        _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    # After setuid the kernel hides /proc/self from us; what is in memory so far is nobody's secret.
    _libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
    if _root_can_be_regained(uid, gid):
        raise SandboxUnavailable(
            Cause.AS_ROOT, "Root could not be given up.", "Run Broch as an ordinary user."
        )
    os.umask(0o077)
    for name in ("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
        os.environ.pop(name, None)
    home = str(writable[0]) if writable else "/nonexistent"
    os.environ.update(HOME=home, USER=ACCOUNT_NAME, LOGNAME=ACCOUNT_NAME)


def _root_can_be_regained(uid: int, gid: int) -> bool:
    attempts: list[Callable[[], None]] = [
        partial(os.setuid, 0),
        partial(os.seteuid, 0),
        partial(os.setgid, 0),
        partial(os.setgroups, [0]),
    ]
    for regain in attempts:
        try:
            regain()
        except PermissionError:
            continue
        return True
    if os.getresuid() != (uid,) * 3 or os.getresgid() != (gid,) * 3 or os.getgroups():
        return True
    status = Path("/proc/self/status").read_text(encoding="ascii")
    held = [
        line.split()[1] for line in status.splitlines() if line.startswith(("CapPrm:", "CapEff:", "CapAmb:"))
    ]
    return any(int(capabilities, 16) for capabilities in held)
