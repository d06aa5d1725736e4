"""Counting a folder whose owner does not want it counted."""

import os
import subprocess
import threading
from pathlib import Path

import pytest

from broch_workspaces.sandbox.disk import held_open, usage, written_bytes
from support.counts import count

ALL = {"stop_bytes": 1 << 60, "stop_entries": 1 << 60}
MIB = 1 << 20


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "home"
    made.mkdir()
    yield made
    for path in sorted(made.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o700)


def fill(path, size):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(os.urandom(size))
        file.flush()
        os.fsync(file.fileno())


def test_what_lies_anywhere_below_is_counted(folder):
    for name in ("a", "b/c", "b/d/e"):
        fill(folder / name, MIB)
    found = usage(folder, **ALL)
    assert 3 * MIB <= found.size < 3 * MIB + 100_000
    assert found.entries == 5
    assert found.complete


def test_a_sparse_file_costs_what_it_costs(folder):
    with (folder / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    assert usage(folder, **ALL).size < MIB


def test_links_are_not_followed(folder, tmp_path):
    fill(tmp_path / "elsewhere" / "big", MIB)
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    found = usage(folder, **ALL)
    assert found.size < MIB
    assert found.entries == 1


def test_counting_stops_above_a_bound(folder):
    for place in range(50):
        fill(folder / str(place) / "file", 10_000)
    assert not usage(folder, stop_bytes=100_000, stop_entries=1 << 60).complete
    few = usage(folder, stop_bytes=1 << 60, stop_entries=60)
    assert 60 < few.entries < 100


def test_depth_hides_nothing(folder):
    """Deeper than any path may be long, with a file at the bottom; and a second way down beside each folder."""
    depth, name = 150, "deep" * 10
    here = Path.cwd()
    try:
        os.chdir(folder)
        for place in range(depth):
            if place % 10 == 0:
                Path("beside").mkdir()
            Path(name).mkdir()
            os.chdir(name)
        fill(Path("bottom"), MIB)
    finally:
        os.chdir(here)
    found = usage(folder, **ALL)
    assert found.complete
    assert found.entries == depth + depth // 10 + 1
    assert found.size >= MIB
    subprocess.run(["rm", "-rf", folder / name], check=True)  # shutil.rmtree goes no deeper than its stack


def test_a_closed_folder_is_opened_and_counted(folder):
    fill(folder / "closed" / "file", MIB)
    (folder / "closed").chmod(0)
    assert usage(folder, **ALL).size >= MIB


def test_a_file_without_a_name_is_seen_while_it_is_open(folder):
    device = {folder.stat().st_dev}
    with (folder / "gone").open("wb") as file:
        file.write(os.urandom(MIB))
        file.flush()
        os.fsync(file.fileno())
        before = held_open([os.getpid()], device)
        (folder / "gone").unlink()
        assert usage(folder, **ALL).size < MIB
        assert held_open([os.getpid()], device) - before >= MIB


def test_what_a_process_wrote_is_told(folder):
    before = written_bytes([os.getpid()])
    fill(folder / "file", MIB)
    written = written_bytes([os.getpid()]) - before
    if not written:
        pytest.skip("the temporary folder lies in memory: nothing was given to a disk")
    assert written >= MIB


def test_a_folder_that_keeps_moving_is_never_called_complete_and_small(folder):
    """A process moves folders about while we count: what is there is counted, or the count says it is not whole."""
    for place in range(20):
        fill(folder / f"d{place}" / "sub" / "file", 100_000)
    stop = threading.Event()

    def move():
        while not stop.is_set():
            for place in range(20):
                (folder / f"d{place}" / "sub").rename(folder / f"moved{place}")
                (folder / f"moved{place}").rename(folder / f"d{place}" / "sub")

    mover = threading.Thread(target=move)
    mover.start()
    broken = whole = 0
    try:
        for _ in range(count("counting a moving folder", ci=100, nightly=20000)):
            found = usage(folder, **ALL)
            broken += not found.complete
            whole += found.complete
            assert found.entries <= 200
    finally:
        stop.set()
        mover.join()
    assert usage(folder, **ALL).size >= 20 * 100_000
    assert whole + broken
