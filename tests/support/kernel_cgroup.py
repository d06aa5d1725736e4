"""Tries control groups on a kernel that has version 2: as root of the machine, or as its owner in a delegated group.

A program of one word, `root`, `delegated` or `shared`; says what it found as JSON after `RESULT `.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from broch_workspaces.plan import Profile
from broch_workspaces.sandbox import account, bounds, cgroup, launch, runtime
from broch_workspaces.sandbox.errors import CgroupUnavailable
from broch_workspaces.sandbox.profile import SandboxProfile, Tmpfs

TOP = Path("/sys/fs/cgroup")
MIB = 1 << 20
STATE = Path("/mnt/state")
_HEAP = """
import os, time
for _ in range(6):
    if os.fork() == 0: keep = bytearray(b"x") * (64 << 20); time.sleep(20); os._exit(0)
time.sleep(15); print("done")
"""
_MEMFD = """
import os, time
fd = os.memfd_create("x")
for _ in range(400): os.write(fd, b"x" * (1 << 20))
time.sleep(5); print("done")
"""
_TMPFS = 'file = open("/tmp/f", "wb")\nfor _ in range(400): file.write(b"x" * (1 << 20))\nprint("done")'
_CPU = """
import time
began, own = time.monotonic(), time.process_time()
while time.monotonic() - began < 3: pass
print((time.process_time() - own) / (time.monotonic() - began))
"""


def say(**what):
    """Tell the test something."""
    sys.stdout.write(f"RESULT {json.dumps(what)}\n")
    sys.stdout.flush()


def workspace(name, code, **limits):
    """Run code in a sandbox with the bounds of a workspace; say what became of it."""
    plan = Profile(**limits)
    tmpfs = (Tmpfs("/tmp", 512 * MIB),)
    held = bounds.Bounds(name, plan, tmpfs=tmpfs, quotas=(), on_excess=lambda _why: process.kill())
    profile = SandboxProfile(
        binds=runtime.runtime_binds(),
        links=runtime.system_links(),
        tmpfs=tmpfs,
        limits=bounds.limits_of(plan),
    )
    process = launch.start(profile, [sys.executable, "-I", "-c", code], before_run=held.before_run)
    held.watch(process)
    began = time.monotonic()
    try:
        said = process.communicate(timeout=60)[0].decode()
    except subprocess.TimeoutExpired:
        process.kill()
        said = "time-out"
    took, why = time.monotonic() - began, held.why_it_ended()
    held.release()
    left = [path.name for path in cgroup.base_group().glob("ws-*")] if held.memory == "cgroup" else []
    say(name=name, by=held.memory, said=said.strip(), why=why, left=left, took=round(took, 1))


def become_ordinary():
    """Give up root, with the interpreter in reach."""
    packages = ("broch_core", "broch_workspaces")
    account.drop_privileges([*runtime.interpreter_folders(), *runtime.package_folders(packages)], [STATE])


def delegate(name):
    """Make a group, give it to the account as systemd's Delegate=yes does, and enter it."""
    group = TOP / name
    group.mkdir(exist_ok=True)
    (TOP / "cgroup.subtree_control").write_text("+memory +pids +cpu")
    for place in (group, *(group / f"cgroup.{name}" for name in ("procs", "subtree_control", "threads"))):
        os.chown(place, account.FALLBACK_ID, account.FALLBACK_ID)
    (group / "cgroup.procs").write_text(str(os.getpid()))


def main():
    """See above."""
    mode = sys.argv[1]
    try:
        if mode == "root":
            say(base=str(cgroup.take_over(account.FALLBACK_ID, account.FALLBACK_ID)))
            become_ordinary()
        else:
            delegate(mode)
            if mode == "shared":
                subprocess.Popen(["/usr/bin/sleep", "100"])
            become_ordinary()
            say(base=str(cgroup.take_over()))
    except CgroupUnavailable as why:
        say(refused=str(why), stayed=Path("/proc/self/cgroup").read_text().strip())
        workspace("watched", _HEAP, memory_bytes=256 * MIB)
        return
    say(in_force={bound.what: bound.best for bound in bounds.in_force(STATE)})
    workspace("plain", "print('hello')", memory_bytes=256 * MIB)
    workspace("heap", _HEAP, memory_bytes=256 * MIB)
    if mode == "root":
        workspace("memfd", _MEMFD, memory_bytes=256 * MIB)
        workspace("tmpfs", _TMPFS, memory_bytes=256 * MIB)
        workspace("cpu", _CPU, memory_bytes=256 * MIB, cpu=0.25)


if __name__ == "__main__":
    main()
