"""The kernel's word that a file does not change while it is looked at."""

from __future__ import annotations

import contextlib
import os

import pytest

from broch_airlock.checks.antivirus import interpret
from broch_airlock.checks.leases import Lease
from broch_airlock.checks.model import Verdict


@pytest.fixture
def blob(tmp_path):
    path = tmp_path / "blob"
    path.write_bytes(b"words\n")
    return path


@contextlib.contextmanager
def leased(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield Lease.take(descriptor)
    finally:
        os.close(descriptor)


def open_to_write(path):
    # O_NONBLOCK: breaks the lease, but does not wait until it is given back.
    os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))


def test_a_lease_on_a_file_that_is_left_alone_is_kept(blob):
    with leased(blob) as lease:
        assert lease.kept()


def test_readers_links_and_removed_names_do_not_matter(blob):
    with leased(blob) as lease, leased(blob) as other:
        blob.read_bytes()
        os.link(blob, blob.with_name("held"))
        blob.unlink()
        assert lease.kept()
        assert other.kept()


def test_whoever_opens_the_file_for_writing_breaks_the_lease_for_good(blob):
    with leased(blob) as lease:
        with pytest.raises(BlockingIOError):
            open_to_write(blob)
        assert not lease.kept()
        lease.release()
        assert not lease.kept()


def test_there_is_no_lease_while_somebody_writes(blob):
    with blob.open("ab"), leased(blob) as lease:
        assert lease is None


def test_after_the_lease_is_given_back_the_file_can_be_written(blob):
    with leased(blob) as lease:
        lease.release()
        open_to_write(blob)


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        (b"fd[9]: OK\0", Verdict.CLEAN),
        (b"stream: OK\0", Verdict.CLEAN),
        (b"fd[9]: Some.Name FOUND\0", Verdict.BLOCKED),
        (b"stream: Heuristics.Limits.Exceeded FOUND\0", Verdict.UNSCANNABLE),
        (b"fd[9]: Can't access file ERROR\0", Verdict.ERROR),
        (b"fd[x]: OK\0", Verdict.ERROR),
        (b"x stream: OK\0", Verdict.ERROR),
        (b"OK\0", Verdict.ERROR),
        (b"UNKNOWN COMMAND\0", Verdict.ERROR),
        (b"\0", Verdict.ERROR),
    ],
)
def test_only_an_exact_ok_is_clean(reply, verdict):
    assert interpret(reply).verdict is verdict
