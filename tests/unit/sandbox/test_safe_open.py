"""Reading from a folder that its owner fills with traps."""

import hashlib
import os
import socket
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broch_workspaces.sandbox.safe_open import (
    FileTooLarge,
    UnsafePath,
    copy_beneath,
    list_beneath,
    open_beneath,
)
from support.counts import count

SECRET = b"outside"


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "zone"
    (folder / "sub").mkdir(parents=True)
    (folder / "plain.csv").write_bytes(b"a,b\n")
    (folder / "sub" / "deep.txt").write_bytes(b"deep")
    (tmp_path / "secret").write_bytes(SECRET)
    return folder


def read(root, rel):
    fd = open_beneath(root, rel)
    with os.fdopen(fd, "rb") as file:
        return file.read()


def test_a_plain_file_is_read_also_below_a_folder(root):
    assert read(root, "plain.csv") == b"a,b\n"
    assert read(root, "sub/deep.txt") == b"deep"
    assert read(root, "sub/../plain.csv") == b"a,b\n"  # stays beneath


def trap_symlink(root):
    (root / "x").symlink_to(root.parent / "secret")


def trap_symlink_within(root):
    (root / "x").symlink_to("plain.csv")


def trap_hardlink(root):
    os.link(root.parent / "secret", root / "x")


def trap_fifo(root):
    os.mkfifo(root / "x")


def trap_socket(root):
    here = Path.cwd()
    os.chdir(root)
    try:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind("x")
        listener.close()
    finally:
        os.chdir(here)


def trap_folder(root):
    (root / "x").mkdir()


TRAPS = [trap_symlink, trap_symlink_within, trap_hardlink, trap_fifo, trap_socket, trap_folder]


@pytest.mark.parametrize("trap", TRAPS)
def test_anything_but_a_plain_file_is_refused(root, trap):
    trap(root)
    with pytest.raises(UnsafePath):
        open_beneath(root, "x")


@pytest.mark.parametrize("trap", TRAPS[:-1])
def test_traps_do_not_show_in_a_listing(root, trap):
    trap(root)
    listing = list_beneath(root)
    assert [entry.name for entry in listing.entries if entry.name == "x"] == []
    assert listing.left_out == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes device nodes")
def test_a_device_is_refused(root):
    os.mknod(root / "x", 0o600 | 0o020000, os.makedev(1, 3))
    with pytest.raises(UnsafePath):
        open_beneath(root, "x")


def test_a_linked_folder_on_the_way_is_refused(root):
    (root / "way").symlink_to(root.parent)
    (root / "inner").symlink_to("sub")
    for rel in ("way/secret", "inner/deep.txt"):
        with pytest.raises(UnsafePath):
            open_beneath(root, rel)
    for rel in ("way", "way/zone"):
        with pytest.raises((UnsafePath, NotADirectoryError)):
            list_beneath(root, rel)


@pytest.mark.parametrize("rel", ["../secret", "sub/../../secret", "/etc/passwd", "", "a\0b", "\udcff", "/"])
def test_no_name_leads_out(root, rel):
    with pytest.raises(UnsafePath):
        open_beneath(root, rel)


@pytest.mark.parametrize("rel", ["..", "../zone", "/", "/etc", "sub/../..", "a\0b"])
def test_no_listing_leads_out(root, rel):
    with pytest.raises(UnsafePath):
        list_beneath(root, rel)


def test_what_is_not_there_is_not_there(root):
    with pytest.raises(FileNotFoundError):
        open_beneath(root, "nothing")
    with pytest.raises(NotADirectoryError):
        list_beneath(root, "plain.csv")


def test_the_top_folder_itself_may_not_be_a_link(root):
    (root.parent / "alias").symlink_to(root)
    with pytest.raises(OSError, match=r"directory|symbolic"):
        open_beneath(root.parent / "alias", "plain.csv")


def test_a_listing_says_folders_first_with_sizes_and_is_bounded(root):
    listing = list_beneath(root)
    assert [(entry.name, entry.is_folder, entry.size) for entry in listing.entries] == [
        ("sub", True, 0),
        ("plain.csv", False, 4),
    ]
    assert not listing.truncated
    for i in range(20):
        (root / f"f{i}").touch()
    bounded = list_beneath(root, limit=10)
    assert len(bounded.entries) == 10
    assert bounded.truncated


def test_a_name_that_is_not_utf8_is_left_out(root):
    os.close(os.open(os.fsencode(root) + b"/\xff", os.O_CREAT | os.O_WRONLY, 0o600))
    assert list_beneath(root).left_out == 1


def copy(root, rel, tmp_path, max_bytes=1 << 20):
    with (tmp_path / "copy").open("wb") as out:
        result = copy_beneath(root, rel, out.fileno(), max_bytes=max_bytes)
    return result, (tmp_path / "copy").read_bytes()


def test_a_copy_carries_the_digest_of_what_was_copied(root, tmp_path):
    body = os.urandom(3 << 20)
    (root / "big").write_bytes(body)
    result, copied = copy(root, "big", tmp_path, max_bytes=len(body))
    assert copied == body
    assert (result.size, result.sha256) == (len(body), hashlib.sha256(body).hexdigest())


def test_a_file_above_the_limit_is_refused(root, tmp_path):
    with pytest.raises(FileTooLarge):
        copy(root, "plain.csv", tmp_path, max_bytes=3)
    with (root / "sparse").open("wb") as file:
        file.truncate(10 << 30)
    with pytest.raises(FileTooLarge):
        copy(root, "sparse", tmp_path)


def test_a_file_that_never_ends_is_cut_off(root, tmp_path):
    path = root / "grows"
    path.write_bytes(b"x")
    stop = threading.Event()

    def grow():
        with path.open("ab") as file:
            while not stop.is_set():
                file.write(b"x" * 65536)
                file.flush()
                if file.tell() > 256 << 20:
                    return

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        for _ in range(50):
            path_size = path.stat().st_size
            try:
                result, copied = copy(root, "grows", tmp_path, max_bytes=path_size + 1024)
            except FileTooLarge:
                break
            assert result.sha256 == hashlib.sha256(copied).hexdigest()
        else:
            pytest.fail("the file never outgrew the limit")
    finally:
        stop.set()
        writer.join()


def test_a_name_swapped_under_our_feet_never_shows_what_is_outside(root):
    """A process swaps a plain file and a link to a secret as fast as it can."""
    plain, link, name = root / "plain", root / "link", root / "x"
    stop = threading.Event()

    def swap():
        while not stop.is_set():
            plain.write_bytes(b"mine")
            plain.rename(name)
            link.symlink_to(root.parent / "secret")
            link.rename(name)

    swapper = threading.Thread(target=swap)
    swapper.start()
    read_own = refused = 0
    try:
        for _ in range(count("swap race", ci=3000, nightly=300000)):
            try:
                content = read(root, "x")
            except (UnsafePath, FileNotFoundError):
                refused += 1
            else:
                assert content in (b"mine", b"")
                read_own += 1
    finally:
        stop.set()
        swapper.join()
    assert read_own, "the race was never won by the plain file: the test tried nothing"
    assert refused, "the race was never won by the link: the test tried nothing"


@given(rel=st.text(st.sampled_from("abx./\\ \0~%"), max_size=24))
@settings(max_examples=count("no name leads out", ci=200, nightly=20000), deadline=None)
def test_no_spelling_leads_out(tmp_path_factory, rel):
    root = tmp_path_factory.getbasetemp() / "spelling" / "zone"
    root.mkdir(parents=True, exist_ok=True)
    for name in ("a", "b", "x"):
        (root.parent / name).write_bytes(SECRET)
    (root / "a").write_bytes(b"mine")
    try:
        content = read(root, rel)
    except OSError:
        return
    assert content == b"mine"
