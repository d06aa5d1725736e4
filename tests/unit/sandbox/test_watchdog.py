"""What the watchdogs decide, on folders and processes of our own."""

import os
import subprocess
import sys
import time

import pytest

from broch_workspaces.sandbox import disk
from broch_workspaces.sandbox.watchdog import (
    FAST_SECONDS,
    GRACE,
    MIB,
    DiskBound,
    DiskWatchdog,
    MemoryBound,
    MemoryWatchdog,
    Quota,
)

WRITER = """
import os, sys
for line in sys.stdin:
    path, size = line.split()
    with open(path, "wb") as file: file.write(os.urandom(int(size))); file.flush(); os.fsync(file.fileno())
    print("done", flush=True)
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home on a disk of its own, as it seems: what others delete meanwhile would hide what is written to it."""

    def free_space(folder):
        held = disk.usage(folder, stop_bytes=1 << 62, stop_entries=1 << 62)
        return (1 << 40) - held.size, (1 << 30) - held.entries

    monkeypatch.setattr(disk, "free_space", free_space)
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def writers():
    """Return a function that starts a process which writes what it is told."""
    started = []

    def start():
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)

        def write(path, size):
            process.stdin.write(f"{path} {size}\n")
            process.stdin.flush()
            assert process.stdout.readline() == "done\n"

        return process.pid, write

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def on_disk(tmp_path):
    before = disk.written_bytes([os.getpid()])
    with (tmp_path / "trial").open("wb") as file:
        file.write(os.urandom(MIB))
    if disk.written_bytes([os.getpid()]) == before:
        pytest.skip("the temporary folder lies in memory: nothing is given to a disk")


def quota(folder, size=2 * MIB, entries=1000):
    return Quota(folder, "Your home", size, entries)


class Stopped(list):
    """The pids that were stopped, and why."""

    def bound(self, pid, *quotas):
        return DiskBound(quotas, lambda why: self.append((pid, why)))


def test_a_folder_within_its_quota_stops_nobody_and_one_over_it_does(home, writers):
    dog, stopped = DiskWatchdog(reserve=0), Stopped()
    pid, write = writers()
    watched = {pid: stopped.bound(pid, quota(home))}
    dog.look(watched)
    write(home / "a", MIB)
    dog.look(watched)
    assert not stopped
    write(home / "b", 2 * MIB)
    dog.look(watched)
    assert [one for one, _ in stopped] == [pid]
    assert "Your home holds 3 MiB" in stopped[0][1]
    assert "limit is 2 MiB" in stopped[0][1]
    assert "delete" in stopped[0][1]


def test_too_many_files_are_too_much_too(home, writers):
    dog, stopped = DiskWatchdog(reserve=0), Stopped()
    pid, _ = writers()
    watched = {pid: stopped.bound(pid, quota(home, entries=100))}
    dog.look(watched)
    for place in range(150):
        (home / str(place)).touch()
    dog.look(watched)
    assert [one for one, _ in stopped] == [pid]


def test_who_is_over_already_may_open_it_to_tidy_up_and_no_more(home, writers, monkeypatch):
    monkeypatch.setattr("broch_workspaces.sandbox.watchdog.GRACE", MIB)
    dog, stopped = DiskWatchdog(reserve=0), Stopped()
    pid, write = writers()
    write(home / "old", 3 * MIB)
    watched = {pid: stopped.bound(pid, quota(home))}
    dog.look(watched)
    write(home / "little", MIB // 2)
    dog.look(watched)
    assert not stopped
    (home / "old").unlink()
    dog._counted[home].due = 0
    dog.look(watched)  # tidied: from now on the quota itself counts
    write(home / "again", 2 * MIB)
    dog.look(watched)
    assert [one for one, _ in stopped] == [pid]


def test_of_two_who_share_a_folder_the_one_who_wrote_is_stopped(home, writers, on_disk):
    dog, stopped = DiskWatchdog(reserve=0), Stopped()
    (innocent, little), (culprit, much) = writers(), writers()
    watched = {pid: stopped.bound(pid, quota(home)) for pid in (innocent, culprit)}
    dog.look(watched)
    little(home / "a", 4096)
    much(home / "b", 4 * MIB)
    dog.look(watched)
    assert [one for one, _ in stopped] == [culprit]
    del watched[culprit]
    dog.look(watched)
    dog._counted[home].due = 0
    dog.look(watched)
    assert [one for one, _ in stopped] == [culprit], "whoever is left may go on"


def test_a_disk_that_is_nearly_full_stops_who_writes(home, writers, on_disk):
    pid, write = writers()
    free = disk.free_space(home)[0]
    dog, stopped = DiskWatchdog(reserve=free + 100 * GRACE), Stopped()
    watched = {pid: stopped.bound(pid, quota(home, size=1 << 40))}
    dog.look(watched)
    write(home / "a", 4096)
    dog.look(watched)
    assert not stopped, "a little is let be while half of the reserve is left"
    write(home / "b", GRACE + MIB)
    dog.look(watched)
    assert [one for one, _ in stopped] == [pid]
    assert "disk is nearly full" in stopped[0][1]


def test_a_folder_that_is_gone_stops_its_workspace(home, writers):
    dog, stopped = DiskWatchdog(reserve=0), Stopped()
    pid, _ = writers()
    home.rmdir()
    dog.look({pid: stopped.bound(pid, quota(home))})
    assert [one for one, _ in stopped] == [pid]


HOG = """
import os, sys, time
kind, size = sys.argv[1], int(sys.argv[2])
if kind == "heap": keep = bytearray(os.urandom(1)) * size
if kind == "file":
    fd = os.memfd_create("x")
    for _ in range(size >> 20): os.write(fd, bytes(1 << 20))
if kind == "children":
    for _ in range(4):
        if os.fork() == 0: keep = bytearray(os.urandom(1)) * (size // 4); time.sleep(30)
print("ready", flush=True); time.sleep(30)
"""


@pytest.mark.parametrize("kind", ["heap", "file", "children"])
def test_memory_is_counted_wherever_it_hides(kind):
    process = subprocess.Popen(
        [sys.executable, "-c", HOG, kind, str(96 * MIB)], stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        assert process.stdout.readline() == b"ready\n"
        said = []
        dog = MemoryWatchdog()
        roomy = MemoryBound(400 * MIB, process.pid, (), said.append)
        dog.look({process.pid: roomy})
        assert not said
        tight = MemoryBound(80 * MIB, process.pid, (), said.append)
        until = time.monotonic() + 10
        pause = None
        while not said and time.monotonic() < until:
            pause = dog.look({process.pid: tight})
        assert pause == FAST_SECONDS, "above half of the limit it looks faster"
        assert "its limit is 80 MiB" in said[0]
    finally:
        os.killpg(process.pid, 9)
        process.communicate()
