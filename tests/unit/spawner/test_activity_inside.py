"""What counts as activity inside a workspace, on real terminals and processes."""

from __future__ import annotations

import ctypes
import os
import pty
import shutil
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from broch_spawner.inside.activity import Gpus, Look, Worker, active_at, cpu_seconds, has_foreground
from broch_spawner.inside.idle import Policy
from broch_spawner.inside.notices import notice, pause_of, policy_of

NOON = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
HOUR_AGO = NOON - timedelta(hours=1)
MINUTE_AGO = NOON - timedelta(minutes=1)
BEFORE = Look(NOON - timedelta(seconds=10), cpu_seconds=100.0)


@pytest.mark.parametrize(
    ("look", "person_at", "expected"),
    [
        (Look(NOON), HOUR_AGO, HOUR_AGO),
        (Look(NOON), MINUTE_AGO, MINUTE_AGO),
        (Look(NOON), NOON + timedelta(hours=1), NOON),
        (Look(NOON, (Worker(busy=True, active_at=HOUR_AGO),)), HOUR_AGO, NOON),
        (Look(NOON, (Worker(busy=False, active_at=MINUTE_AGO),)), HOUR_AGO, MINUTE_AGO),
        (Look(NOON, cpu_seconds=101.0), HOUR_AGO, HOUR_AGO),
        (Look(NOON, cpu_seconds=102.5), HOUR_AGO, NOON),
        (Look(NOON, cpu_seconds=None), HOUR_AGO, HOUR_AGO),
        (Look(BEFORE.at + timedelta(seconds=0.1), cpu_seconds=100.1), HOUR_AGO, HOUR_AGO),
        (Look(NOON, gpu_percent=1), HOUR_AGO, HOUR_AGO),
        (Look(NOON, gpu_percent=40), HOUR_AGO, NOON),
    ],
)
def test_a_look_shows_the_last_activity(look: Look, person_at: datetime, expected: datetime) -> None:
    assert active_at(BEFORE, look, person_at=person_at) == expected


def test_the_first_look_has_no_share_of_a_processor() -> None:
    assert active_at(None, Look(NOON, cpu_seconds=1e6), person_at=HOUR_AGO) == HOUR_AGO


@pytest.mark.parametrize(
    ("name", "text", "unit", "seconds"),
    [
        ("cpu.stat", "usage_usec 2500000\nuser_usec 1\n", 1e-6, 2.5),
        ("cpuacct.usage", "3500000000\n", 1e-9, 3.5),
    ],
)
def test_processor_time_is_the_control_groups(
    tmp_path: Path, name: str, text: str, unit: float, seconds: float
) -> None:
    (tmp_path / name).write_text(text)
    missing = (tmp_path / "missing", 1.0)
    assert cpu_seconds([missing, (tmp_path / name, unit)], tmp_path) == pytest.approx(seconds)


def test_without_a_control_group_it_is_that_of_all_processes_and_of_children_that_ended(
    tmp_path: Path,
) -> None:
    for pid, name in ((1, "init"), (2, "a) R 5 (b c")):
        (tmp_path / str(pid)).mkdir()
        rest = " ".join(["S", *["0"] * 10, "100", "50", "30", "20", "0"])
        (tmp_path / str(pid) / "stat").write_text(f"{pid} ({name}) {rest}\n")
    assert cpu_seconds([], tmp_path) == pytest.approx(400 / os.sysconf("SC_CLK_TCK"))


def test_a_program_that_computes_shows_among_all_processes() -> None:
    before = cpu_seconds([])
    with subprocess.Popen(["/bin/sh", "-c", "while :; do :; done"]) as busy:
        time.sleep(0.5)
        busy.kill()
        busy.wait()
        assert cpu_seconds([]) - before > 0.1


def test_a_terminal_is_busy_while_a_program_runs_in_it() -> None:
    shell, terminal = pty.fork()
    if shell == 0:
        os.execv("/bin/bash", ["/bin/bash", "--norc", "-i"])
    try:
        _until(lambda: not has_foreground(terminal, shell))
        os.write(terminal, b"sleep 30\n")
        _until(lambda: has_foreground(terminal, shell))
        os.write(terminal, b"\x03")
        _until(lambda: not has_foreground(terminal, shell))
    finally:
        os.kill(shell, 9)
        os.waitpid(shell, 0)
        os.close(terminal)
    assert not has_foreground(terminal, shell)


def _until(check, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_without_a_library_no_gpu_tells() -> None:
    assert Gpus("libthere-is-none.so.1").percent() is None


_NVML = """
typedef struct { unsigned gpu, memory; } Use;
int nvmlInit_v2(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned *n) { *n = 3; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **d) { *d = (void *)(long)(i + 1); return i == 2; }
int nvmlDeviceGetUtilizationRates(void *d, Use *u) { u->gpu = 30 * (long)d; u->memory = 99; return (long)d == 2; }
"""


@pytest.mark.skipif(
    shutil.which("cc") is None, reason="no C compiler: the library's calls are tried on a GPU only"
)
def test_the_busiest_gpu_that_tells_counts(tmp_path: Path) -> None:
    """A library with NVML's signatures: one GPU tells, one refuses (as a part of one does), one has no handle."""
    (tmp_path / "nvml.c").write_text(_NVML)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / "nvml.so", tmp_path / "nvml.c"], check=True)
    ctypes.CDLL(str(tmp_path / "nvml.so"))
    assert Gpus(str(tmp_path / "nvml.so")).percent() == 30


@pytest.mark.parametrize(
    ("environment", "policy"),
    [
        ({}, Policy.of_seconds(0, 0)),
        ({"BROCH_IDLE_SECONDS": "x", "BROCH_WARN_SECONDS": "1"}, Policy.of_seconds(0, 0)),
        ({"BROCH_IDLE_SECONDS": "3600", "BROCH_WARN_SECONDS": "600"}, Policy.of_seconds(3600, 600)),
    ],
)
def test_the_policy_comes_with_the_start(environment: dict[str, str], policy: Policy) -> None:
    assert policy_of(environment) == policy


def test_the_page_is_told_when_the_workspace_ends() -> None:
    hour = Policy.of_seconds(3600, 600)
    told = notice(NOON, hour, NOON, "2026-11-29T20:00:00+00:00")
    assert told["idle_stop_at"] == "2026-11-29T13:00:00+00:00"
    assert told["deadline_at"] == "2026-11-29T20:00:00+00:00"
    assert notice(NOON, Policy.of_seconds(0, 0), NOON, None)["idle_stop_at"] is None
    assert pause_of(hour) == 15.0
    assert pause_of(Policy.of_seconds(20, 12)) == 2.0
