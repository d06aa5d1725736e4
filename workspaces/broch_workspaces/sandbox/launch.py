"""Starting one sandbox: bubblewrap with its arguments by descriptor, limits set before the first instruction."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import resource
import shutil
import signal
import stat
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from broch_workspaces.sandbox import gate, seccomp
from broch_workspaces.sandbox.errors import Cause, SandboxUnavailable
from broch_workspaces.sandbox.profile import Limits, SandboxProfile, bwrap_arguments, encode_arguments

Stream = int | IO[bytes] | None
_OUTER_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
"""All that bubblewrap itself is told; what is inside gets its environment by `--args FD`."""


def refuse_root(euid: int | None = None) -> None:
    """Refuse to make a sandbox as root.

    A sandbox made by root and mapped to an ordinary id inside could read root's files wherever they are bound.

    Raises:
        SandboxUnavailable: the effective user is root.
    """
    if (os.geteuid() if euid is None else euid) == 0:
        raise SandboxUnavailable(
            Cause.AS_ROOT,
            "A sandbox is never made by root.",
            "Start Broch with `broch up`, which gives up root first, or run it as an ordinary user.",
        )


def _refuse_file_descriptor(fd: int) -> None:
    """Refuse descriptors of named files and of folders.

    A read-only descriptor can be opened again for writing through /proc/self/fd, on the mount it came from,
    whatever the sandbox's own mounts say. Pipes, sockets and memory files are fine; files go in by `Bind`.
    """
    status = os.fstat(fd)
    if stat.S_ISDIR(status.st_mode) or (stat.S_ISREG(status.st_mode) and status.st_nlink > 0):
        raise ValueError("a named file or a folder goes into a sandbox by a Bind, never by a descriptor")


def _memory_file(content: bytes) -> int:
    fd = os.memfd_create("broch", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(fd), "wb") as file:
        file.write(content)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def start(
    profile: SandboxProfile,
    argv: Sequence[str],
    *,
    pass_fds: Sequence[int] = (),
    with_stdin: bool = False,
    stdout: Stream = subprocess.PIPE,
    stderr: Stream = subprocess.STDOUT,
    before_run: Callable[[int], None] | None = None,
    bwrap: str | None = None,
) -> subprocess.Popen[bytes]:
    """Start `argv` in a fresh sandbox and return bubblewrap's process; killing it ends everything inside.

    Takes some ten milliseconds. The sandbox dies with the *thread* that calls this (prctl(2), PR_SET_PDEATHSIG): call
    from the main thread or one that lives as long as the process.

    Args:
        profile: what the sandbox is made of.
        argv: the command inside, absolute path first.
        pass_fds: descriptors that stay open inside under the same numbers: pipes, sockets, memory files.
        with_stdin: give the command a pipe, `Popen.stdin`; nothing to read by default.
        stdout: a pipe by default. Never a log file: it could be reopened for writing through /proc.
        stderr: joined to stdout by default.
        before_run: called with the pid of the sandbox's first process before it runs anything (to put it in a cgroup).
        bwrap: the bubblewrap to use.

    Raises:
        SandboxUnavailable: as root, without bubblewrap, on an unknown machine, or when bubblewrap fails.
        ValueError: a descriptor or a profile that would open the sandbox.
    """
    refuse_root()
    gate.end_orphans()
    executable = bwrap or shutil.which("bwrap")
    if executable is None:
        raise SandboxUnavailable(
            Cause.NO_BUBBLEWRAP, "bubblewrap is not installed.", "Run: sudo apt-get install bubblewrap"
        )
    streams = [
        stream if isinstance(stream, int) else stream.fileno() for stream in (stdout, stderr) if stream
    ]
    for fd in (*pass_fds, *streams):
        if fd >= 0:  # the negative ones are subprocess.PIPE, DEVNULL, STDOUT
            _refuse_file_descriptor(fd)

    with contextlib.ExitStack() as ours:

        def own(fd: int) -> int:
            ours.callback(os.close, fd)
            return fd

        fds = {"seccomp": own(_memory_file(_filter_program()))}
        for file in profile.files:
            fds[file.target] = own(_memory_file(file.content))
        fds["block"], block_write = map(own, os.pipe())
        info_read, fds["info"] = os.pipe()
        own(info_read)
        try:
            arguments = own(_memory_file(encode_arguments(bwrap_arguments(profile, fds))))
            process = subprocess.Popen(
                [executable, "--args", str(arguments), "--", *gate.gated(argv, keep_stdin=with_stdin)],
                env=_OUTER_ENVIRONMENT,
                cwd="/",
                pass_fds=[arguments, *fds.values(), *pass_fds],
                stdin=subprocess.PIPE,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        finally:
            # Our copy of the writing end must go, else a bubblewrap that dies early is never noticed.
            os.close(fds["info"])
        try:
            pid = _child_pid(info_read, process)
            _set_limits(pid, profile.limits)
            if before_run is not None:
                before_run(pid)
            os.write(block_write, b"1")
            if not gate.wait_until_bound(process.pid, pid):
                raise _failed(process)  # noqa: TRY301 (what was started is ended below)
            _give_the_word(process, keep=with_stdin)
        except BaseException:
            _end(process)
            raise
    return process


def _filter_program() -> bytes:
    try:
        return seccomp.program()
    except KeyError as error:
        raise SandboxUnavailable(
            Cause.UNKNOWN_MACHINE,
            f"There is no system call filter for {error}.",
            "Use an x86_64 or aarch64 machine.",
        ) from None


def _child_pid(info: int, process: subprocess.Popen[bytes]) -> int:
    """Return the host pid of the sandbox's first process, which `--info-fd` tells once the mounts are made."""
    text = b""
    while chunk := os.read(info, 4096):
        text += chunk
        with contextlib.suppress(ValueError):
            return int(json.loads(text)["child-pid"])
    raise _failed(process)


def _failed(process: subprocess.Popen[bytes]) -> SandboxUnavailable:
    return SandboxUnavailable(
        Cause.FAILED, f"bubblewrap could not make the sandbox{_last_words(process)}.", "Run: broch doctor"
    )


def _give_the_word(process: subprocess.Popen[bytes], *, keep: bool) -> None:
    assert process.stdin is not None  # noqa: S101 (it is always a pipe)
    process.stdin.write(gate.WORD)
    process.stdin.flush()
    if not keep:
        process.stdin.close()
        process.stdin = None


def _set_limits(pid: int, limits: Limits) -> None:
    """Limit the first process from outside, before it runs anything; what it starts inherits them."""
    for which, value in limits.as_rlimits().items():
        ceiling = resource.prlimit(pid, which)[1]
        allowed = value if ceiling == resource.RLIM_INFINITY else min(value, ceiling)
        resource.prlimit(pid, which, (allowed, allowed))
    if limits.nice:
        os.setpriority(os.PRIO_PROCESS, pid, max(limits.nice, os.getpriority(os.PRIO_PROCESS, pid)))
    if limits.cores is not None:
        os.sched_setaffinity(pid, _cores(limits.cores))
    # When the machine runs out of memory, the kernel looks at what is in sandboxes first (proc(5)).
    Path(f"/proc/{pid}/oom_score_adj").write_text("1000", encoding="ascii")


def terminate(process: subprocess.Popen[bytes]) -> bool:
    """Send SIGTERM to the command inside a sandbox, which has to end by itself; return whether it was sent.

    bubblewrap passes no signals on: it would end at once, and everything inside with it.
    """
    for first in _children(process.pid):
        for command in _children(first):
            with contextlib.suppress(OSError):
                handle = os.pidfd_open(command)
                try:
                    if command in _children(first):  # so it is no other process that got the same number
                        signal.pidfd_send_signal(handle, signal.SIGTERM)
                        return True
                finally:
                    os.close(handle)
    return False


def _children(parent: int) -> list[int]:
    """Return the pids of a process's children, the oldest first."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        fields = gate.stat_fields(place / "stat")
        if fields is not None and int(fields[1]) == parent:
            found.append((int(fields[19]), int(place.name)))
    return [pid for _, pid in sorted(found)]


_turn = itertools.count()


def _cores(wanted: int) -> list[int]:
    """Return `wanted` of the processors that are ours, from the last on, beginning elsewhere each time."""
    ours = sorted(os.sched_getaffinity(0), reverse=True)
    start = next(_turn) * wanted
    return [ours[(start + place) % len(ours)] for place in range(min(wanted, len(ours)))]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def _last_words(process: subprocess.Popen[bytes]) -> str:
    """Return `: text` of what bubblewrap said before it died, when it said so to a pipe of ours."""
    stream = process.stderr or process.stdout
    if stream is None:
        return ""
    process.kill()
    words = stream.read(4096).decode("utf-8", "replace").strip()
    return f": {words}" if words else ""
