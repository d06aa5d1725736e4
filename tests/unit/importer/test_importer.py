"""The importer: whole or not at all, never over another file, whatever dies in between."""

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broch_workspaces.cluster.spec import Delivery
from broch_workspaces.importer.__main__ import Exit, carry_out, run
from broch_workspaces.importer.fetch import NotNow
from broch_workspaces.importer.folder import BadName, ImportsFolder, NoLinks, Spoilt, Taken, plain_name
from support.counts import count

DATA = b"import this\n" * 100
SHA = hashlib.sha256(DATA).hexdigest()
ID = "01M8PKCG5HG5K11JS54ZY5PNE8"


def delivery(op="place", name="lib.py", data=DATA, **more):
    return Delivery(
        **{
            "id": ID,
            "op": op,
            "name": name,
            "sha256": hashlib.sha256(data).hexdigest(),
            "size": len(data),
            **more,
        }
    )


class Gives:
    """A door that gives these pieces, and fails if it must not be asked."""

    def __init__(self, *pieces: bytes | Exception) -> None:
        self.given = pieces

    def pieces(self, _delivery):
        for piece in self.given or (AssertionError("nobody needs the bytes"),):
            if isinstance(piece, Exception):
                raise piece
            yield piece


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_bytes_get_their_name_read_only(tmp_path):
    carry_out(delivery(), Gives(DATA[:7], DATA[7:]), tmp_path)
    assert names(tmp_path) == ["lib.py"]
    assert (tmp_path / "lib.py").read_bytes() == DATA
    assert (tmp_path / "lib.py").stat().st_mode & 0o777 == 0o444


def test_the_same_again_asks_for_no_bytes(tmp_path):
    for door in (Gives(DATA), Gives(), Gives()):
        carry_out(delivery(), door, tmp_path)
    assert names(tmp_path) == ["lib.py"]


@pytest.mark.parametrize("other", ["file", "folder", "link", "dangling", "pipe"])
def test_what_has_the_name_keeps_it(tmp_path, other):
    path, elsewhere = tmp_path / "lib.py", tmp_path / "elsewhere"
    if other == "file":
        path.write_bytes(b"theirs")
    elif other == "folder":
        path.mkdir()
    elif other == "pipe":
        os.mkfifo(path)
    else:
        if other == "link":
            elsewhere.write_bytes(DATA)  # even with the very bytes behind it
        path.symlink_to(elsewhere)
    before = path.lstat()
    with pytest.raises(Taken):
        carry_out(delivery(), Gives(DATA), tmp_path)
    carry_out(delivery("remove"), Gives(), tmp_path)
    assert path.lstat().st_ino == before.st_ino
    assert [name for name in names(tmp_path) if name.startswith(".")] == []


def test_a_name_taken_while_the_bytes_came_is_not_replaced(tmp_path):
    def late():
        yield DATA[:10]
        (tmp_path / "lib.py").write_bytes(b"theirs")
        yield DATA[10:]

    with ImportsFolder(tmp_path) as folder, pytest.raises(Taken):
        folder.place(ID, "lib.py", late(), size=len(DATA), sha256=SHA)
    assert (tmp_path / "lib.py").read_bytes() == b"theirs"
    assert names(tmp_path) == ["lib.py"]


def test_another_importer_of_the_same_delivery_cannot_slip_other_bytes_under_the_name(tmp_path):
    def raced():
        yield DATA
        (tmp_path / f".incoming-{ID}").unlink()
        (tmp_path / f".incoming-{ID}").write_bytes(b"half of")

    with ImportsFolder(tmp_path) as folder, pytest.raises(FileNotFoundError):
        folder.place(ID, "lib.py", raced(), size=len(DATA), sha256=SHA)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "pieces",
    [
        (DATA[:-1],),
        (DATA, b"x"),
        (DATA[:-1] + b"x",),
        (),
        (DATA[:5], NotNow("cut")),
        (DATA[:5], OSError(28, "No space left on device")),
    ],
)
def test_what_is_not_what_was_released_leaves_nothing(tmp_path, pieces):
    with pytest.raises((Spoilt, NotNow, OSError)):
        carry_out(delivery(), Gives(*(pieces or (b"",))), tmp_path)
    assert names(tmp_path) == []


def test_a_removal_takes_these_bytes_alone(tmp_path):
    (tmp_path / "lib.py").write_bytes(DATA)
    (tmp_path / "other.py").write_bytes(DATA)
    for _ in range(2):
        carry_out(delivery("remove"), Gives(), tmp_path)
    assert names(tmp_path) == ["other.py"]
    carry_out(delivery("remove", "other.py", b"others"), Gives(), tmp_path)
    assert names(tmp_path) == ["other.py"]


@pytest.mark.parametrize(
    "name",
    ["..", ".", ".bashrc", f".incoming-{ID}", "a/b", "/etc/passwd", "a\0b", "a\nb", "a\x7fb", "a\u202eb", "é" * 128, "\ud800", ""],
)  # fmt: skip
def test_a_hostile_name_is_refused(tmp_path, name):
    with pytest.raises(BadName):
        plain_name(name)


NAMES = count("no name leads out of /imports", ci=500, nightly=50_000)


@settings(max_examples=NAMES, deadline=None)
@given(name=st.text(alphabet=st.sampled_from("./\\\0\n~$ éa-\u202e\ud800"), max_size=8))
def test_no_name_leads_out(tmp_path_factory, name):
    try:
        found = plain_name(name)
    except BadName:
        return
    parent = Path("/imports")
    assert (parent / found).parent == parent
    assert os.path.normpath(parent / found) == str(parent / found)
    assert not found.startswith(".")


# ---- the process --------------------------------------------------------------


def environment(**changes):
    good = {
        "BROCH_DELIVERY": delivery().model_dump_json(),
        "BROCH_DOOR_URL": "https://localhost:1",
        "BROCH_DOOR_TOKEN_FILE": "/nonexistent",
        "SSL_CERT_FILE": "/nonexistent",
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


@pytest.mark.parametrize(
    "changes",
    [
        {"BROCH_DELIVERY": None},
        {"BROCH_DELIVERY": "{"},
        {"BROCH_DELIVERY": "[]"},
        {"BROCH_DELIVERY": json.dumps({**json.loads(delivery().model_dump_json()), "more": 1})},
        {"BROCH_DELIVERY": json.dumps({**json.loads(delivery().model_dump_json()), "op": "run"})},
        {"BROCH_DELIVERY": json.dumps({**json.loads(delivery().model_dump_json()), "name": "a/b"})},
        {"BROCH_DELIVERY": json.dumps({**json.loads(delivery().model_dump_json()), "name": ".."})},
        {"BROCH_DELIVERY": json.dumps({**json.loads(delivery().model_dump_json()), "sha256": "x"})},
        {"BROCH_DOOR_URL": None},
        {"BROCH_DOOR_URL": "http://localhost:1"},
        {"BROCH_DOOR_URL": "https://localhost:x"},
        {"BROCH_DOOR_URL": "https://"},
        {"BROCH_DOOR_TOKEN_FILE": None},
        {"SSL_CERT_FILE": None},
    ],
)
def test_an_environment_without_sense_is_told_apart_from_bad_luck(tmp_path, capsys, changes):
    assert run(environment(**changes), tmp_path) is Exit.SENSELESS
    assert capsys.readouterr().err.startswith("importer: ")
    assert names(tmp_path) == []


def test_bad_luck_is_not_now(tmp_path, capsys):
    assert run(environment(), tmp_path) is Exit.NOT_NOW
    assert run(environment(), tmp_path / "unmounted") is Exit.NOT_NOW
    assert capsys.readouterr().err.count("importer: ") == 2
    (tmp_path / "lib.py").write_bytes(b"theirs")
    assert run(environment(), tmp_path) is Exit.TAKEN


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.ENOSPC, "full"), Exit.FULL),
        (OSError(errno.EDQUOT, "quota"), Exit.FULL),
        (NoLinks(errno.EPERM, "no links"), Exit.UNFIT),
        (OSError(errno.EIO, "broken"), Exit.NOT_NOW),
    ],
)
def test_what_the_volume_lacks_is_told_apart(tmp_path, capsys, monkeypatch, error, code):
    def fails(*_args, **_more):
        raise error

    monkeypatch.setattr(ImportsFolder, "place", fails)
    assert run(environment(), tmp_path) is code
    assert "the volume says" in capsys.readouterr().err


# ---- killed anywhere ------------------------------------------------------------

_VICTIM = """
import os, pathlib, signal, sys
from broch_core import faults
from broch_workspaces.cluster.spec import Delivery
from broch_workspaces.importer.__main__ import carry_out

class Door:
    def pieces(self, _delivery):
        data = b"import this\\n" * 100
        for start in range(0, len(data), 500):
            faults.point("door.piece")
            yield data[start : start + 500]

moment, times = sys.argv[3], int(sys.argv[4])
def strike(name):
    global times
    if name == moment:
        times -= 1
        if times == 0:
            os.kill(os.getpid(), signal.SIGKILL)

faults.arm(strike)
carry_out(Delivery.model_validate_json(sys.argv[1]), Door(), pathlib.Path(sys.argv[2]))
"""
PLACING = [
    ("door.piece", 1),
    ("door.piece", 2),
    ("door.piece", 3),
    *((f"importer.{moment}", 1) for moment in ("written", "synced", "linked", "done")),
]
REMOVING = [("importer.found", 1), ("importer.unlinked", 1)]


def victim(what: Delivery, folder: Path, moment: str = "never", times: int = 1) -> int:
    words = [sys.executable, "-I", "-c", _VICTIM, what.model_dump_json(), str(folder), moment, str(times)]
    return subprocess.run(words, timeout=60, check=False).returncode


@pytest.mark.parametrize(("moment", "times"), PLACING)
def test_killed_while_placing_nobody_sees_a_part_and_the_next_one_ends_it(tmp_path, moment, times):
    assert victim(delivery(), tmp_path, moment, times) == -signal.SIGKILL
    seen = tmp_path / "lib.py"
    assert not seen.exists() or (seen.read_bytes() == DATA and seen.stat().st_mode & 0o777 == 0o444)
    assert victim(delivery(), tmp_path) == 0
    assert names(tmp_path) == ["lib.py"]
    assert seen.read_bytes() == DATA


@pytest.mark.parametrize(("moment", "times"), REMOVING)
def test_killed_while_removing_the_next_one_ends_it(tmp_path, moment, times):
    (tmp_path / "lib.py").write_bytes(DATA)
    assert victim(delivery("remove"), tmp_path, moment, times) == -signal.SIGKILL
    assert victim(delivery("remove"), tmp_path) == 0
    assert names(tmp_path) == []
