"""A folder whose owner swaps what lies under a name, as fast as the kernel can, while it is read."""

import contextlib
import ctypes
import hashlib
import itertools
import multiprocessing
import os
import time

import pytest

from broch_workspaces.sandbox.safe_open import (
    FileTooLarge,
    UnsafePath,
    copy_beneath,
    list_beneath,
    open_beneath,
)
from support.counts import count

SECRET = b"outside"
_FORK = multiprocessing.get_context("fork")
_TRIES = {"ci": 1500, "nightly": 300_000}


def exchange(one, other, ends):
    """Swap two names atomically (renameat2(2), RENAME_EXCHANGE) until told to end."""
    libc = ctypes.CDLL(None, use_errno=True)
    one, other = os.fsencode(one), os.fsencode(other)
    while not ends.is_set():
        for _ in range(50):
            libc.renameat2(-100, one, -100, other, 2)


@contextlib.contextmanager
def swapping(one, other, work=exchange):
    """Let a process of its own swap two names meanwhile."""
    ends = _FORK.Event()
    process = _FORK.Process(target=work, args=(one, other, ends), daemon=True)
    process.start()
    try:
        yield
    finally:
        ends.set()
        process.join(10)
        process.kill()


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "zone"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "file").write_bytes(b"mine")
    (folder / "file").write_bytes(b"mine")
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    (outside / "file").write_bytes(SECRET)
    (outside / "only-outside").write_bytes(SECRET)
    return folder


def tries(what, done):
    """Yield as often as the run asks, and on until `done`: the other process may not have had its turn yet."""
    until = time.monotonic() + 60
    for number in itertools.count():
        if (number >= count(f"race: {what}", **_TRIES) and done()) or time.monotonic() > until:
            return
        yield


def read_often(root, rel, what):
    """Read again and again: what comes is ours, and both we and the trap win."""
    won = {"ours": 0, "trap": 0}
    for _ in tries(what, lambda: all(won.values())):
        try:
            fd = open_beneath(root, rel)
        except (UnsafePath, FileNotFoundError, NotADirectoryError):
            won["trap"] += 1
            continue
        with os.fdopen(fd, "rb") as file:
            assert file.read() == b"mine"
        won["ours"] += 1
    assert all(won.values()), f"the race was never won by one: nothing was tried: {won}"


def test_reading_without_care_is_led_out(root):
    """The traps of this file work: an ordinary open(2) falls into them."""
    (root / "trap").symlink_to(root.parent / "elsewhere" / "file")
    (root / "way").symlink_to(root.parent / "elsewhere")
    seen = set()
    with swapping(root / "file", root / "trap"), swapping(root / "sub", root / "way"):
        for _ in tries("reading without care", lambda: len(seen) == 4):
            for rel in ("file", "sub/file"):
                seen.add((rel, (root / rel).read_bytes()))
    assert {(rel, SECRET) for rel in ("file", "sub/file")} <= seen


def trap_link(root):
    (root / "trap").symlink_to(root.parent / "elsewhere" / "file")


def trap_second_name(root):
    os.link(root.parent / "elsewhere" / "file", root / "trap")


def trap_fifo(root):
    os.mkfifo(root / "trap")


def trap_folder(root):
    (root / "trap").mkdir()


@pytest.mark.parametrize("trap", [trap_link, trap_second_name, trap_fifo, trap_folder])
@pytest.mark.timeout(120)
def test_a_name_that_is_swapped_shows_its_plain_file_or_nothing_and_never_blocks(root, trap):
    trap(root)
    with swapping(root / "file", root / "trap"):
        read_often(root, "file", trap.__name__)


def test_a_folder_on_the_way_that_is_swapped_for_a_link_leads_nowhere(root):
    (root / "trap").symlink_to(root.parent / "elsewhere")
    with swapping(root / "sub", root / "trap"):
        read_often(root, "sub/file", "folder on the way")


def test_a_folder_that_is_swapped_for_a_link_lists_only_its_own(root):
    (root / "trap").symlink_to(root.parent / "elsewhere")
    won = {"ours": 0, "trap": 0}
    with swapping(root / "sub", root / "trap"):
        for _ in tries("listing", lambda: all(won.values())):
            try:
                names = [entry.name for entry in list_beneath(root, "sub").entries]
            except (UnsafePath, FileNotFoundError, NotADirectoryError):
                won["trap"] += 1
            else:
                assert names == ["file"]
                won["ours"] += 1
    assert all(won.values())


def test_a_folder_that_moves_away_takes_no_reader_out_with_it(root):
    """`sub/../../elsewhere` would lead out at the moment when `sub` lies deeper."""
    (root / "deep" / "deeper").mkdir(parents=True)
    (root / "deep" / "deeper" / "place").mkdir()
    rel = "sub/../../elsewhere/file"
    with swapping(root / "sub", root / "deep" / "deeper" / "place"):
        for _ in tries("way out by moving", lambda: True):
            with pytest.raises((UnsafePath, FileNotFoundError)):
                open_beneath(root, rel)


def rewrite(one, _other, ends):
    """Change size and content of a file all the time: shorter, longer, with a hole."""
    with open(one, "r+b", buffering=0) as file:  # noqa: PTH123
        while not ends.is_set():
            for size, letter in ((10, b"a"), (3 << 20, b"b"), (1 << 20, b"c"), (2 << 20, b"d")):
                file.truncate(size)
                file.seek(max(0, size - 70_000))
                file.write(letter * 65_000)


def test_a_copy_of_a_file_that_changes_all_the_time_has_the_digest_of_the_copy(root, tmp_path):
    path, seen = root / "file", set()
    with swapping(path, path, work=rewrite):
        for _ in range(count("race: copy of a changing file", ci=150, nightly=20_000)):
            with (tmp_path / "copy").open("w+b") as out:
                try:
                    copied = copy_beneath(root, "file", out.fileno(), max_bytes=2 << 20)
                except FileTooLarge:
                    seen.add("too large")
                    assert out.seek(0, os.SEEK_END) <= 2 << 20, "more was written than is taken"
                    continue
                out.seek(0)
                body = out.read()
                seen.add("copied")
                assert (copied.size, copied.sha256) == (len(body), hashlib.sha256(body).hexdigest())
    assert seen == {"too large", "copied"}


def test_bytes_that_change_after_the_copy_change_nothing(root, tmp_path):
    with (tmp_path / "copy").open("w+b") as out:
        copied = copy_beneath(root, "file", out.fileno(), max_bytes=100)
        (root / "file").write_bytes(b"else")
        out.seek(0)
        assert out.read() == b"mine"
        assert copied.sha256 == hashlib.sha256(b"mine").hexdigest()
