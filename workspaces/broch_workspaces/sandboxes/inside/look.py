"""The container that runs the module: hard limits, read-only inputs, and its output in frames to the other container."""

from __future__ import annotations

import ctypes
import os
import resource
import selectors
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

from broch_workspaces.sandbox.profile import Limits
from broch_workspaces.sandboxes.frames import (
    CHUNK,
    JOB,
    ORDER,
    OUTPUT,
    BrokenFrame,
    end_frame,
    frame,
    receive_frame,
)
from broch_workspaces.sandboxes.order import Order, limits_for

MEETING = "/run/sandbox/link"
_MEETING_SECONDS = 60.0
_PR_SET_DUMPABLE = 4
_INITIAL = ("0", "0", "4294967295")
"""The only line of uid_map(5) in a user namespace that is everybody's."""


def meet(path: str) -> socket.socket:
    """Connect to the other container, which may start later.

    Raises:
        OSError: it did not.
    """
    deadline = time.monotonic() + _MEETING_SECONDS
    link = socket.socket(socket.AF_UNIX)
    while True:
        try:
            link.connect(path)
        except OSError:
            if time.monotonic() > deadline:
                link.close()
                raise
            time.sleep(0.02)
        else:
            return link


def limits_here(cpu_seconds: int, own_users: bool) -> Limits:  # noqa: FBT001 - a fact, named where it is told
    """Return the bounds of the module.

    Without a user namespace of its own the kernel counts the processes of this id on the whole machine: the pod's
    own bound must do then.
    """
    limits = limits_for(cpu_seconds)
    if own_users:
        return limits
    return Limits(limits.data_bytes, None, None, limits.file_bytes, limits.open_files, limits.cpu_seconds)


def in_own_users() -> bool:
    """Say whether this process is in a user namespace that is not the machine's."""
    return tuple(Path("/proc/self/uid_map").read_text(encoding="ascii").split()) != _INITIAL


def start(order: Order, job: bytes) -> subprocess.Popen[bytes]:
    """Start the module: nothing of ours is inherited but its job and its output."""
    rlimits = limits_here(order.cpu_seconds, in_own_users()).as_rlimits()

    def bound() -> None:
        for which, value in rlimits.items():
            ceiling = resource.getrlimit(which)[1]
            allowed = value if ceiling == resource.RLIM_INFINITY else min(value, ceiling)
            resource.setrlimit(which, (allowed, allowed))

    descriptor = os.memfd_create("job", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as file:
        file.write(job)
        file.flush()
        file.seek(0)
        return subprocess.Popen(
            [sys.executable, "-I", "-B", "-m", order.module, str(descriptor)],
            env={"LANG": "C.UTF-8", "PATH": "/usr/bin:/bin"},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=[descriptor],
            start_new_session=True,
            preexec_fn=bound,  # noqa: PLW1509 - there is one thread here
        )


def pass_on(output: IO[bytes], link: socket.socket) -> bool:
    """Send the output in frames until its end; False when the other side went before."""
    with selectors.DefaultSelector() as ready:
        ready.register(output, selectors.EVENT_READ)
        ready.register(link, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                if key.fileobj is link:
                    return False  # it ended, or spoke where nothing is due
                if part := os.read(output.fileno(), CHUNK):
                    link.sendall(frame(OUTPUT, part))
                else:
                    return True


def _hide() -> None:
    """Let nobody of the same id look into this process or take it over (PR_SET_DUMPABLE, prctl(2))."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def run(link: socket.socket) -> None:
    """Take the job from the link, run it, and tell how it ended."""
    _, head = receive_frame(link.recv, ORDER)
    _, job = receive_frame(link.recv, JOB)
    process = start(Order.parse(head), job)
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    try:
        whole = pass_on(process.stdout, link)
        if not whole:
            process.kill()
        status = process.wait()
        if whole:
            link.sendall(end_frame(status))
    finally:
        process.kill()
        process.wait()


def main() -> None:
    """Wait for one job, and do it."""
    try:
        _hide()
        with meet(sys.argv[1] if len(sys.argv) > 1 else MEETING) as link:
            run(link)
    except (OSError, BrokenFrame, ValueError) as error:
        sys.stderr.write(f"sandbox: {type(error).__name__}: {error}\n")
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
