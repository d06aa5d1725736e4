"""Random bytes behind magic headers through every parser of the checks; and how much memory the supervisor needs."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broch_airlock.checks.model import Verdict
from broch_airlock.checks.policy import REQUIRED_CHECKS, Policy
from broch_airlock.checks.supervisor import check_files, overall
from support.counts import count


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/b.txt", b"words " * 50)
    return out.getvalue()


def tarred() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo("a.txt")
        info.size = 5
        archive.addfile(info, io.BytesIO(b"words"))
    return out.getvalue()


WHOLE = {
    "zip": zipped(),
    "tar": tarred(),
    "gz": gzip.compress(b"words " * 50, mtime=0),
    "ipynb": json.dumps({"cells": [{"source": ["data:;base64,d29yZHM="]}], "nbformat": 4}).encode(),
}
HEADS = {
    "zip": [b"PK\x03\x04\x14\0\0\0\x08\0", b"PK\x05\x06", b"PK\x03\x04\x14\0\x01\0"],
    "tar": [tarred()[:512]],
    "gz": [b"\x1f\x8b\x08\0\0\0\0\0\0\x03", b"\x1f\x8b\x08\x1f"],
    "bz2": [b"BZh91AY&SY", b"BZh9"],
    "xz": [b"\xfd7zXZ\0\0\x04"],
    "ipynb": [b'{"cells": [', b'{"nbformat": 4, "cells": [{"source": "data:;base64,'],
    "json": [b'{"a": "', b"[["],
    "html": [b"<!DOCTYPE html><a href='data:text/html;base64,", b"data:,%41"],
    "pkl": [b"\x80\x04\x95", b"\x80\x02}q\0"],
    "txt": [b"", b"\xff\xfe", b"\xfe\xff", b"#!"],
}


@st.composite
def hostile(draw: st.DrawFn) -> tuple[str, bytes]:
    """Draw a name and a content: random bytes behind a header, or a good file with some bytes changed or cut off."""
    kind = draw(st.sampled_from(sorted(HEADS)))
    rest = draw(st.binary(max_size=600))
    if kind in WHOLE and draw(st.booleans()):
        content = bytearray(WHOLE[kind])
        for byte in rest[:4]:
            content[draw(st.integers(0, len(content) - 1))] = byte
        return f"x.{kind}", bytes(content[: draw(st.integers(1, len(content)))])
    return f"x.{kind}", draw(st.sampled_from(HEADS[kind])) + rest


@settings(
    max_examples=count("batches of hostile files through the checks", ci=6, nightly=200),
    deadline=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
    ],
)
@given(batch=st.lists(hostile(), min_size=8, max_size=24))
def test_hostile_files_never_raise_and_all_required_checks_answer(lab, batch):
    def action():
        taken = [lab.file(name, content, "ingress") for name, content in batch]
        return check_files(taken, Policy(), lab.setup.antivirus())

    answers = lab.run(action)
    assert len(answers) == len(batch)
    for answer, (name, content) in zip(answers, batch, strict=True):
        assert {one.check for one in answer} >= set(REQUIRED_CHECKS)
        # One file that breaks the sandbox would make all of them `error`: the parsers must judge, not fall.
        assert overall(answer) is not Verdict.ERROR, (name, content, answer)


def zeros(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(500 << 20)


def bomb(path: Path) -> None:
    path.write_bytes(gzip.compress(bytes(256 << 20), 9))


@pytest.mark.parametrize("content", [zeros, bomb], ids=["500 MB of zeros", "bomb"])
def test_the_supervisor_needs_little_memory_whatever_the_file_is(lab, content):
    def action():
        file = lab.file("x.gz" if content is bomb else "x.bin", content, "ingress")
        # The peak of this process alone: a child begins with what its parent had.
        Path("/proc/self/clear_refs").write_text("5")
        before = peak_kib()
        answers = check_files([file], Policy(), lab.setup.antivirus())[0]
        file.path.unlink()
        return overall(answers), peak_kib() - before

    verdict, grown = lab.run(action)
    assert verdict is not Verdict.CLEAN
    assert grown < 200 << 10


def peak_kib() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])
