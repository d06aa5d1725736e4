"""What the checks say of real files, with a real clamd and real sandboxes."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import json
import lzma
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest

from broch_airlock.checks.clamd_config import eicar
from broch_airlock.checks.model import CheckResult, Direction, Verdict
from broch_airlock.checks.policy import Policy
from broch_airlock.checks.supervisor import overall


def zipped(*members: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return out.getvalue()


def tarred(*members: tuple[str, bytes], mode: str = "w:gz") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def nested(content: bytes, times: int) -> bytes:
    for level in range(times):
        content = zipped((f"level{level}.zip" if level else "core.txt", content))
    return content


def notebook(data: dict[str, object]) -> bytes:
    output = {"output_type": "display_data", "data": data, "metadata": {}}
    cell = {
        "cell_type": "code",
        "source": ["print(1)\n"],
        "outputs": [output],
        "metadata": {},
        "execution_count": 1,
    }
    return json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode()


def png() -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack("!L", len(content)) + kind + content + struct.pack("!L", zlib.crc32(kind + content))
        )

    rows = b"".join(b"\0" + bytes((row, 0, 255)) * 8 for row in range(8))
    header = struct.pack("!2L5B", 8, 8, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def encrypted_zip() -> bytes:
    content = bytearray(zipped(("secret.txt", b"some words that nobody can read")))
    content[6] |= 1  # the flag in the local header and in the directory
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def bomb_of_bombs() -> bytes:
    core = zipped(("zeros", b"\0" * (32 << 20)))
    for level in range(3):
        core = zipped(*((f"{level}-{number}.zip", core) for number in range(16)))
    return core


EICAR64 = base64.b64encode(eicar()).decode()

BLOCKED = {
    "plain.txt": eicar(),
    "in.zip": zipped(("a/b.com", eicar())),
    "zip-in.tar.gz": tarred(("x.zip", zipped(("b.com", eicar())))),
    "output.ipynb": notebook({"application/octet-stream": EICAR64}),
    "lines.ipynb": notebook({"application/octet-stream": [EICAR64[:40] + "\n", EICAR64[40:]]}),
    "zip-in-output.ipynb": notebook({"application/zip": base64.b64encode(zipped(("e", eicar()))).decode()}),
    "nested.gz": gzip.compress(gzip.compress(gzip.compress(eicar()))),
    "second-part.gz": gzip.compress(b"harmless") + gzip.compress(eicar()),
    "mixed.tar.xz": lzma.compress(tarred(("deep.bz2", bz2.compress(eicar())), mode="w")),
    "uri.md": b"# words\n![x](data:image/png;base64," + EICAR64.encode() + b")\n",
    "uri.html": b"<html><a href='data:text/plain;base64," + EICAR64.encode() + b"'>x</a></html>",
    "percent.html": b'<html><a href="data:,' + b"".join(b"%%%02X" % byte for byte in eicar()) + b'">x</a>',
    "traversal.tar": tarred(("../../etc/cron.d/x", b"words"), mode="w"),
    "traversal.zip": zipped(("../x", b"words")),
}

UNSCANNABLE = {
    "encrypted.zip": encrypted_zip(),
    "truncated.zip": zipped(("a.txt", b"words " * 1000))[:-30],
    "truncated.tar.gz": tarred(("a.txt", bytes(range(256)) * 400))[:-20],
    "cut.tar": tarred(("a.txt", b"words"), mode="w")[:700],
    "frame.zst": b"\x28\xb5\x2f\xfd\x04\x00\x59\x00\x00words and words",
    "x.tar.zst": b"\x28\xb5\x2f\xfd\x04\x00\x59\x00\x00words and words",
    "x.7z": b"7z\xbc\xaf\x27\x1c\0\4" + bytes(64),
    "x.rar": b"Rar!\x1a\x07\x01\0" + bytes(64),
    "x.xar": b"xar!\0\x1c\0\1" + bytes(64),
    "zstd-in.zip": zipped(("inner.zst", b"\x28\xb5\x2f\xfd\x04\x00words")),
    "twenty.zip": nested(b"words", 20),
    "bomb.zip": zipped(("zeros", b"\0" * (256 << 20))),
    "bomb.gz": gzip.compress(b"\0" * (256 << 20)),
    "42.zip": bomb_of_bombs(),
    "behind.tar": tarred(("a", b"words"), mode="w") + tarred(("b", eicar()[::-1]), mode="w"),
    "behind.gz": gzip.compress(b"words") + b"something else",
    "broken.ipynb": b'{"cells": [, "nbformat": 4}',
}

CLEAN = {
    "fit.py": b"#!/usr/bin/env python\nprint('hello')\n",
    "table.csv": "name,value\nä,1\nö,2\n".encode(),
    "plot.png": png(),
    "bundle.zip": zipped(
        ("src/a.py", b"print(1)\n"), ("src/b.csv", b"a,b\n1,2\n"), (".gitignore", b"*.pyc\n")
    ),
    "bundle.tar.gz": tarred(("src/a.py", b"print(1)\n"), ("plot.png", png())),
    "long-names.tar": tarred(("d/" * 80 + "x.txt", b"words"), mode="w"),
    "work.ipynb": notebook(
        {"image/png": base64.b64encode(png()).decode(), "text/plain": ["words\n", "more"]}
    ),
    "hashes.json": json.dumps({"sha256": ["ab12" * 16] * 50}).encode(),
    "page.md": b"![x](data:image/png;base64," + base64.b64encode(png()) + b")\n",
    "empty.txt": b"",
}


@pytest.fixture(scope="module")
def answers(lab) -> dict[str, list[CheckResult]]:
    return lab.check({**BLOCKED, **UNSCANNABLE, **CLEAN})


def told(results: list[CheckResult]) -> str:
    return "; ".join(
        f"{one.rule} {one.verdict} {one.where}: {one.message}" for r in results for one in r.findings
    )


@pytest.mark.parametrize("name", BLOCKED)
def test_malware_and_escapes_are_blocked_wherever_they_hide(answers, name):
    assert overall(answers[name]) is Verdict.BLOCKED, told(answers[name])


@pytest.mark.parametrize("name", UNSCANNABLE)
def test_what_cannot_be_looked_at_wholly_is_unscannable(answers, name):
    assert overall(answers[name]) is Verdict.UNSCANNABLE, told(answers[name])


@pytest.mark.parametrize("name", CLEAN)
def test_ordinary_files_are_clean(answers, name):
    assert overall(answers[name]) is Verdict.CLEAN, told(answers[name])


def test_every_required_check_answers_on_every_file(answers):
    for results in answers.values():
        assert [one.check for one in results] == sorted(Policy().required_checks)


def test_a_hundred_thousand_members_are_unscannable(lab):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number in range(100_000):
            archive.writestr(f"f{number}", b"")
    results = lab.check({"many.zip": out.getvalue()})["many.zip"]
    assert overall(results) is Verdict.UNSCANNABLE
    assert "members" in told(results)


def test_a_sparse_file_above_the_limit_is_refused_before_it_is_read(lab):
    def sparse(path: Path) -> None:
        with path.open("wb") as file:
            file.truncate(10 << 30)

    results = lab.check({"sparse.bin": sparse})["sparse.bin"]
    assert overall(results) is Verdict.UNSCANNABLE
    assert "too-large" in told(results)


def test_a_program_is_flagged_on_the_way_in_and_blocked_on_the_way_out(lab):
    program = {"tool": b"\x7fELF\x02\x01\x01" + bytes(64)}
    assert overall(lab.check(program)["tool"]) is Verdict.FLAGGED
    assert overall(lab.check(program, direction=Direction.EGRESS)["tool"]) is Verdict.BLOCKED


def test_a_name_that_promises_another_content_is_flagged(lab):
    assert overall(lab.check({"table.csv": png()})["table.csv"]) is Verdict.FLAGGED


def test_bytes_hidden_between_members_are_flagged(lab):
    archive = zipped(("a.txt", b"words"))
    disguised = b"plain words at first\n" * 10 + archive
    assert overall(lab.check({"a.txt": disguised})["a.txt"]) > Verdict.CLEAN
