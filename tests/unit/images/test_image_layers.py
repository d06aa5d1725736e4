"""Layers: the same files make the same bytes, and a layer holds what it adds and nothing else."""

import gzip
import io
import os
import tarfile
from dataclasses import replace

import pytest

from broch.dev.images.layers import (
    Entry,
    difference,
    folder,
    read_folder,
    read_tar,
    text,
    unpack,
    write_layer,
)

EPOCH = 1_760_000_000
TREE = {
    "usr": folder(),
    "usr/bin": folder(),
    "usr/bin/tool": text("#!/bin/sh\n", 0o755),
    "usr/bin/other": Entry("link", 0o777, target="tool"),
    "usr-local": text("a name that sorts between a folder and what is in it"),
}


def written(tmp_path, tree, name="layer", epoch=EPOCH):
    return write_layer(tree, tmp_path / name, epoch)


def members(layer):
    return tarfile.open(fileobj=io.BytesIO(gzip.decompress(layer.path.read_bytes()))).getmembers()


def archive(tmp_path, *listed):
    path = tmp_path / "in.tar"
    with tarfile.open(path, "w") as out:
        for member, data in listed:
            member.size = len(data)
            out.addfile(member, io.BytesIO(data))
    return path


def member(name, kind=tarfile.REGTYPE, **facts):
    found = tarfile.TarInfo(name)
    found.type = kind
    for fact, value in facts.items():
        setattr(found, fact, value)
    return found


def test_the_order_in_which_files_are_found_does_not_show(tmp_path):
    turned = dict(reversed(TREE.items()))
    assert written(tmp_path, TREE).digest == written(tmp_path, turned, "turned").digest


@pytest.mark.parametrize(
    "other",
    [
        TREE | {"usr/bin/tool": text("#!/bin/bash\n", 0o755)},
        TREE | {"usr/bin/tool": text("#!/bin/sh\n", 0o644)},
        TREE | {"usr/bin/other": Entry("link", 0o777, target="else")},
        TREE | {"usr/more": text("")},
    ],
    ids=["content", "mode", "link", "another file"],
)
def test_another_file_makes_another_layer(tmp_path, other):
    one, two = written(tmp_path, TREE), written(tmp_path, other, "other")
    assert one.digest != two.digest
    assert one.diff_id != two.diff_id


def test_a_layer_is_an_archive_with_folders_before_what_is_in_them(tmp_path):
    found = members(written(tmp_path, TREE))
    assert [one.name for one in found] == ["usr", "usr/bin", "usr/bin/other", "usr/bin/tool", "usr-local"]
    assert {one.mtime for one in found} == {EPOCH}
    assert {(one.uid, one.gid, one.uname, one.gname) for one in found} == {(0, 0, "", "")}


def test_the_digests_are_those_of_the_file_and_of_what_it_unpacks_to(tmp_path):
    import hashlib

    layer = written(tmp_path, TREE)
    packed = layer.path.read_bytes()
    assert layer.size == len(packed)
    assert layer.digest == f"sha256:{hashlib.sha256(packed).hexdigest()}"
    assert layer.diff_id == f"sha256:{hashlib.sha256(gzip.decompress(packed)).hexdigest()}"


def test_nothing_in_a_layer_becomes_somebody_else(tmp_path):
    path = archive(
        tmp_path,
        (member("su", mode=0o4755), b"x"),
        (member("write", mode=0o2755), b"x"),
        (member("ls", mode=0o755), b"x"),
    )
    assert {name: entry.mode for name, entry in read_tar(path).items()} == {
        "su": 0o755,
        "write": 0o755,
        "ls": 0o755,
    }


def test_a_shared_folder_stays_one_in_which_nobody_removes_what_is_not_theirs(tmp_path):
    path = archive(tmp_path, (member("tmp", tarfile.DIRTYPE, mode=0o1777), b""))
    assert read_tar(path)["tmp"].mode == 0o1777


def test_devices_are_left_out_and_hard_links_become_files(tmp_path):
    path = archive(
        tmp_path,
        (member("./perl", mode=0o755), b"perl"),
        (member("./perl5", tarfile.LNKTYPE, linkname="./perl"), b""),
        (member("./null", tarfile.CHRTYPE), b""),
    )
    found = read_tar(path)
    assert set(found) == {"perl", "perl5"}
    assert found["perl5"].piece.read() == b"perl"


def test_a_folder_of_this_machine_looks_the_same_whatever_the_umask_and_the_account(tmp_path):
    def made(name, umask):
        old = os.umask(umask)
        try:
            place = tmp_path / name
            place.mkdir()
            (place / "run").write_text("x")
            (place / "run").chmod(0o777 & ~umask)
            (place / "data").write_text("y")
            (place / "link").symlink_to("run")
            (place / "below").mkdir()
            (place / "here").symlink_to("below")
        finally:
            os.umask(old)
        return write_layer(read_folder(place, "opt/x"), tmp_path / f"{name}.layer", EPOCH).digest

    assert made("open", 0o000) == made("closed", 0o077)
    found = read_folder(tmp_path / "open", "opt/x")
    assert {"opt", "opt/x", "opt/x/run", "opt/x/here", "opt/x/link", "opt/x/below"} <= set(found)
    assert (found["opt/x/run"].mode, found["opt/x/data"].mode) == (0o755, 0o644)
    assert found["opt/x/here"].target == "below"


def test_what_is_no_file_is_refused_in_a_folder(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="neither a file"):
        read_folder(tmp_path, "opt")


def test_a_layer_holds_what_it_adds_and_the_folders_above(tmp_path):
    above = TREE | {"usr/bin/new": text("new")}
    assert set(difference(TREE, above)) == {"usr", "usr/bin", "usr/bin/new"}


def test_a_layer_on_the_same_is_empty():
    assert difference(TREE, dict(TREE)) == {}


@pytest.mark.parametrize(
    "changed",
    [text("#!/bin/sj\n", 0o755), text("#!/bin/sh\n", 0o700), replace(TREE["usr/bin/tool"], uid=1000)],
    ids=["content of the same length", "mode", "owner"],
)
def test_what_changed_comes_again(changed):
    assert difference(TREE, TREE | {"usr/bin/tool": changed})["usr/bin/tool"] == changed


def test_what_is_gone_is_marked_once():
    above = {"usr-local": TREE["usr-local"]}
    assert set(difference(TREE, above)) == {".wh.usr"}
    above = {name: entry for name, entry in TREE.items() if name != "usr/bin/tool"}
    assert set(difference(TREE, above)) == {"usr", "usr/bin", "usr/bin/.wh.tool"}


def test_a_file_that_became_shorter_is_no_layer(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "file").write_text("long enough")
    tree = read_folder(tmp_path / "in", "opt")
    (tmp_path / "in" / "file").write_text("short")
    with pytest.raises(EOFError):
        written(tmp_path, tree)


def test_an_unpacked_tree_is_the_tree_again(tmp_path):
    unpack(TREE, tmp_path / "root")
    assert (
        difference(
            read_folder(tmp_path / "root/usr", "usr"), {k: v for k, v in TREE.items() if k != "usr-local"}
        )
        == {}
    )
