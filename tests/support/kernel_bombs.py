"""Code that takes all it can get, what bounds it in a workspace, and how fast a neighbour answers meanwhile."""

import contextlib
import ctypes
import os
import shutil
import socket
import subprocess
import threading
import time
from dataclasses import dataclass, field

MIB = 1 << 20

_NEIGHBOUR = """
import socket, sys
listener = socket.socket(fileno=int(sys.argv[1]))
print("ready", flush=True)
while True:
    one, _ = listener.accept()
    with one: one.sendall(b"answer to " + one.recv(100))
"""


@dataclass(frozen=True)
class Bomb:
    """One way to take too much. The code prints `done` when nobody stopped it."""

    name: str
    code: str
    bounded_by: str
    control: str
    becomes: str
    """What the workspace is told, or what the code prints in it; a part of it."""
    limits: dict[str, int] = field(default_factory=dict)
    wall: str = ""
    """The wall that is removed for the control, besides the watchdog."""


_FORKS = """
import os, time
n = 0
try:
    while n < 400:
        if os.fork() == 0: time.sleep(20); os._exit(0)
        n += 1
    print("done", flush=True)
except OSError as error: print("stopped after", n, error.strerror, flush=True); time.sleep(1)
os.killpg(0, 9)
"""
_CHILDREN = """
import os, time
for _ in range(8):
    if os.fork() == 0: keep = bytearray(b"x") * (64 << 20); time.sleep(20); os._exit(0)
time.sleep(4); print("done", flush=True)
"""
_MEMFD = """
import os, time
fd = os.memfd_create("x")
for _ in range(512): os.write(fd, b"x" * (1 << 20))
time.sleep(4); print("done", flush=True)
"""
_SHARED = """
import mmap, time
keep = mmap.mmap(-1, 512 << 20)
for at in range(0, 512 << 20, 4096): keep[at] = 1
time.sleep(4); print("done", flush=True)
"""
_FILL = """
import os, time
try:
    with open({path!r}, "wb", buffering=0) as file:
        for _ in range({mib}):
            file.write(os.urandom(1 << 20)); time.sleep(0.002)
    time.sleep(2); print("done", flush=True)
except OSError as error: print("stopped", error.strerror, flush=True)
"""
_HIDDEN = """
import os, time
os.makedirs("a/b"); file = open("a/b/gone", "wb", buffering=0); os.unlink("a/b/gone"); os.chmod("a", 0)
for _ in range(200): file.write(os.urandom(1 << 20)); time.sleep(0.002)
time.sleep(4); print("done", flush=True)
"""
_INODES = """
import os, time
for i in range(200): os.mkdir(str(i))
for i in range(8000):
    open(f"{i % 200}/{i}", "w").close()
time.sleep(2); print("done", flush=True)
"""
_CPU = """
import os, time
for _ in range(100):
    if os.fork() == 0:
        os.setsid()
        while True: pass
time.sleep(4)
print("done", time.clock_gettime(time.CLOCK_MONOTONIC), flush=True)
os.kill(-1, 9)
"""
_SMALL = {"memory_bytes": 256 * MIB}
_HOME = {"home_bytes": 64 * MIB, "folder_entries": 2000}
_WATCHED = "a cgroup, or the watchdog of memory"
_COUNTED = "the watchdog of folders"

BOMBS = (
    Bomb("400 processes", _FORKS, "RLIMIT_NPROC", "no limits: 400 run", "stopped after 1", wall="unlimited"),
    Bomb("memory of many processes", _CHILDREN, _WATCHED, "not watched: all of it stays", "of memory; its limit is 256", _SMALL),
    Bomb("a memory file that nobody maps", _MEMFD, _WATCHED, "not watched: all of it stays", "of memory; its limit is 256", _SMALL),
    Bomb("shared memory", _SHARED, _WATCHED, "not watched: all of it stays", "of memory; its limit is 256", _SMALL),
    Bomb("a full /tmp", _FILL.format(path="/tmp/f", mib=200), "its size", "the same in /project goes through", "stopped No space left"),
    Bomb("one large file", _FILL.format(path="f", mib=200), "RLIMIT_FSIZE", "no limits: it is written", "stopped File too large",
         {"file_bytes": 32 * MIB}, "unlimited"),
    Bomb("a full home", _FILL.format(path="f", mib=200), _COUNTED, "not watched: it is written", "Your home holds", _HOME),
    Bomb("a full /project", _FILL.format(path="/project/f", mib=200), _COUNTED, "not watched: it is written", "/project holds",
         {"project_bytes": 64 * MIB}),
    Bomb("files without names in closed folders", _HIDDEN, _COUNTED, "not watched: it is written", "Your home holds", _HOME),
    Bomb("8,000 empty files", _INODES, _COUNTED, "not watched: they are made", "Your home holds", _HOME),
)  # fmt: skip


def mount_own(state):
    """Have the state lie on a file system that nobody else fills or empties: the watchdog goes by what is free (mount(2))."""
    state.mkdir(mode=0o700)
    flags = 2 | 4  # MS_NOSUID, MS_NODEV
    if ctypes.CDLL(None).mount(b"bombs", str(state).encode(), b"tmpfs", flags, b"mode=0700,size=1g") != 0:
        raise OSError("the file system for bombs could not be mounted")


class Neighbour:
    """Another workspace with a small server, asked all the time."""

    def __init__(self, world, path) -> None:
        self._path = str(path)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self._path)
            listener.listen(64)
            fd = listener.fileno()
            self.process, self._bounds, _ = world.start(
                world.plan(), _NEIGHBOUR.replace("sys.argv[1]", repr(str(fd))), pass_fds=[fd], bounded=False
            )
        self.process.stdout.readline()

    def ask(self):
        """Return how long an answer took, seconds."""
        began = time.monotonic()
        with socket.socket(socket.AF_UNIX) as one:
            one.settimeout(30)
            one.connect(self._path)
            one.sendall(b"question")
            assert one.recv(100) == b"answer to question"
        return time.monotonic() - began

    @contextlib.contextmanager
    def asked(self, every=0.02):
        """Ask all the while; yield the list that the times go to."""
        times, stop = [], threading.Event()

        def go():
            while not stop.is_set():
                times.append(self.ask())
                stop.wait(every)

        asking = threading.Thread(target=go)
        asking.start()
        try:
            yield times
        finally:
            stop.set()
            asking.join()


def commands(world):
    """Return what `kernel_world` can be told about bombs."""
    neighbour = Neighbour(world, world.run / "neighbour.sock")

    def explode(name, *, bounded):
        bomb = next(one for one in BOMBS if one.name == name)
        code = (
            bomb.code.replace("/tmp/f", "/project/f")
            if not bounded and bomb.name == "a full /tmp"
            else bomb.code
        )
        if not bounded:
            code = code.replace("sleep(4)", "sleep(0)").replace("sleep(2)", "sleep(0)")
        plan = world.plan(**({} if not bounded and bomb.wall else bomb.limits))
        free = os.statvfs(world.state)
        with neighbour.asked() as times:
            process, bounds, ended = world.start(plan, code, "" if bounded else bomb.wall, bounded=bounded)
            try:
                said = process.communicate(timeout=40)[0].decode()
            except subprocess.TimeoutExpired:
                process.kill()
                said = process.communicate()[0].decode() + "time-out"
        after = os.statvfs(world.state)
        ended += [why for why in [bounds.why_it_ended()] if why]
        bounds.release()
        clean(world)
        return {
            "said": said,
            "ended": ended,
            "bounds": bounds.memory,
            "taken": max(0, free.f_bavail - after.f_bavail) * free.f_frsize,
            "times": sorted(times),
        }

    def spin(seconds, answers, longest):
        """Spin for some seconds, and on a machine that others load until the neighbour was asked often enough."""
        before, began = time.process_time(), time.monotonic()
        with neighbour.asked() as times:
            process, bounds, _ = world.start(world.plan(), _CPU.replace("sleep(4)", f"sleep({longest})"))
            while (passed := time.monotonic() - began) < longest and (
                passed < seconds or len(times) < answers
            ):
                time.sleep(0.1)
            process.kill()
            process.communicate()
        bounds.release()
        return {"times": sorted(times), "own": time.process_time() - before}

    return {"explode": explode, "spin": spin}


def clean(world):
    """Empty home and project, closed folders included."""
    for folder in (world.home, world.project):
        for entry in folder.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                entry.chmod(0o700)
                shutil.rmtree(entry)
            else:
                entry.unlink()
