"""The supervisor with real children: they come back, end in order, and never outlive it."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from broch import supervisor
from broch.supervisor import Child, Supervisor, wait_for

PLAIN = {"PATH": "/usr/bin:/bin"}
DEAF = "trap '' TERM; echo up; while :; do sleep 1; done"


def shell(name, script):
    return Child(name, ["/bin/sh", "-c", script], PLAIN)


@asynccontextmanager
async def supervising(folder, *children):
    said = []
    it = Supervisor(folder, announce=said.append)
    for child in children:
        it.add(child)
    try:
        yield it, said
    finally:
        await it.stop()


async def until(question, seconds=30):
    async def ask():
        with contextlib.suppress(FileNotFoundError):  # a log that is not there yet
            return bool(question())
        return False

    assert await wait_for(ask, seconds), "it did not happen in time"


def runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_child_that_is_killed_comes_back_and_people_are_told(tmp_path):
    async def case():
        child = shell("clock", "exec sleep 300")
        async with supervising(tmp_path, child) as (_, said):
            await until(lambda: child.process)
            first = child.process.pid
            os.kill(first, signal.SIGKILL)
            await until(lambda: child.process.pid != first)
            assert runs(child.process.pid)
            assert child.restarts == 1
            assert said == [
                f"clock ended with status -9; starting it again. Its log: {tmp_path / 'clock'}.log"
            ]

    asyncio.run(case())


def test_a_child_that_keeps_failing_is_started_less_and_less_often(tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "BACKOFF_SECONDS", (0.1, 0.4, 0.4))

    async def case():
        async with supervising(tmp_path, shell("bad", "date +%s.%N; exit 3")):
            await until(lambda: len((tmp_path / "bad.log").read_text().split()) >= 4)

    asyncio.run(case())
    times = [float(word) for word in (tmp_path / "bad.log").read_text().split()]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert gaps[0] >= 0.1
    assert min(gaps[1:3]) >= 0.4


def test_a_child_that_ran_long_starts_again_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "STEADY_SECONDS", 0.05)
    monkeypatch.setattr(supervisor, "BACKOFF_SECONDS", (60,))

    async def case():
        child = shell("steady", "sleep 0.2")
        async with supervising(tmp_path, child):
            await until(lambda: child.restarts >= 2)

    asyncio.run(case())


def test_a_program_that_is_not_there_is_tried_again(tmp_path):
    async def case():
        program = tmp_path / "program"
        child = Child("late", [str(program)], PLAIN)
        async with supervising(tmp_path, child) as (_, said):
            await until(lambda: said)
            assert "late ended with status 127" in said[0]
            program.write_text("#!/bin/sh\nexec sleep 300\n")
            program.chmod(0o755)
            await until(lambda: child.process and child.process.returncode is None)

    asyncio.run(case())


def test_children_end_last_started_first(tmp_path):
    ended = tmp_path / "ended"
    script = "trap 'echo {0} >> {1}; exit 0' TERM; echo up; while :; do sleep 0.05; done"

    async def case():
        names = ("one", "two", "three")
        async with supervising(tmp_path, *(shell(name, script.format(name, ended)) for name in names)):
            for name in names:
                await until(lambda log=tmp_path / f"{name}.log": log.read_text())

    asyncio.run(case())
    assert ended.read_text().split() == ["three", "two", "one"]


def test_deaf_children_are_killed_within_the_time_for_all(tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "STOP_SECONDS", 2.0)
    monkeypatch.setattr(supervisor, "LEAST_STOP_SECONDS", 0.3)
    pids = []

    async def case():
        children = [shell(name, DEAF) for name in ("a", "b", "c")]
        async with supervising(tmp_path, *children):
            for child in children:
                log = tmp_path / f"{child.name}.log"
                await until(lambda log=log: log.read_text())
                pids.append(child.process.pid)
            began.append(time.monotonic())

    began = []
    asyncio.run(case())
    assert time.monotonic() - began[0] < 5.5, "the time of each takes 6 s"
    assert not any(runs(pid) for pid in pids)


def test_nothing_is_started_while_stopping(tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "BACKOFF_SECONDS", (0.0,))

    async def case():
        child = shell("busy", "echo up; exit 0")
        async with supervising(tmp_path, child):
            await until(lambda: child.restarts >= 3)
        return child.restarts

    asyncio.run(case())
    size = (tmp_path / "busy.log").stat().st_size
    time.sleep(0.2)
    assert (tmp_path / "busy.log").stat().st_size == size


@pytest.mark.parametrize(("size", "set_aside"), [(supervisor.LOG_BYTES + 1, True), (1000, False)])
def test_a_large_log_is_set_aside_at_a_start(tmp_path, size, set_aside):
    log = tmp_path / "talker.log"
    with log.open("wb") as file:
        file.truncate(size)

    async def case():
        child = shell("talker", "echo fresh; exec sleep 300")
        async with supervising(tmp_path, child):
            await until(lambda: log.read_bytes().endswith(b"fresh\n"))

    asyncio.run(case())
    assert (tmp_path / "talker.log.1").exists() is set_aside
    assert (log.stat().st_size == len("fresh\n")) is set_aside


def test_a_child_sees_its_own_environment_only(tmp_path, monkeypatch):
    monkeypatch.setenv("BROCH_DATABASE_URL", "postgresql://x:secret@localhost/x")

    async def case():
        child = Child("env", ["/usr/bin/env"], PLAIN)
        async with supervising(tmp_path, child):
            await until(lambda: child.restarts)

    asyncio.run(case())
    assert set((tmp_path / "env.log").read_text().split()) == {"PATH=/usr/bin:/bin"}


SUPERVISED = """
import asyncio, sys
from pathlib import Path
from broch.supervisor import Child, Supervisor

async def main():
    it = Supervisor(Path(sys.argv[1]), announce=print)
    for name in ("one", "two"):
        it.add(Child(name, ["/bin/sh", "-c", sys.argv[2]], {"PATH": "/usr/bin:/bin"}))
    logs = lambda: b"".join(log.read_bytes() for log in Path(sys.argv[1]).glob("*.log"))
    while logs().count(b"up") < 2 or not all(child.process for child in it._children.values()):
        await asyncio.sleep(0.02)
    print(*(child.process.pid for child in it._children.values()), flush=True)
    await asyncio.sleep(300)

asyncio.run(main())
"""


def test_children_die_with_a_supervisor_that_is_killed_even_deaf_ones(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", SUPERVISED, str(tmp_path), DEAF], stdout=subprocess.PIPE, text=True
    )
    with process:
        pids = [int(word) for word in process.stdout.readline().split()]
        assert len(pids) == 2
        assert all(runs(pid) for pid in pids)
        process.kill()
    deadline = time.monotonic() + 3
    while any(runs(pid) for pid in pids):
        assert time.monotonic() < deadline, "a child outlived its supervisor"
        time.sleep(0.02)
