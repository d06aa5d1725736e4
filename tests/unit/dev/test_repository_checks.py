"""Tracked files name no machine and no package index, and no Python file grows too long."""

import subprocess

import pytest

from broch.dev import repository

SLASH = "/"  # so that this file itself names no machine


@pytest.mark.parametrize(
    "line",
    [
        f"see {SLASH}root/notes.txt",
        f"path = '{SLASH}home/alice/broch'",
        f"cd {SLASH}Users/alice",
        f"cd {SLASH}work/main",
        "pip install --" + "index-url https://mirror.example.org/",
        "index" + "-url = https://mirror.example.org/",
        "https://mirror.example.org/pypi/" + "simple/",
        "https://files.python" + "hosted.org/packages/x.whl",
    ],
)
def test_a_trace_of_a_machine_is_found(line):
    assert [number for number, _ in repository.machine_traces(f"first\n{line}\n")] == [2]


@pytest.mark.parametrize(
    "line",
    [
        "in a workspace it is " + SLASH + "home/researcher/script.py",
        "mounted at /data/wisconsin and /imports",
        "the root/file of the tree; tests/work/x",
        "https://example.org/root/file",
        "the index url is the person's own",
        SLASH + "root/x  # machine-path: the sandbox hides this folder",
    ],
)
def test_ordinary_text_is_no_trace(line):
    assert list(repository.machine_traces(line)) == []


def checkout(folder, files):
    subprocess.run(["git", "init", "-q", folder], check=True)
    for name, text in files.items():
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    subprocess.run(["git", "add", "-A"], cwd=folder, check=True)
    return folder


def test_only_tracked_files_are_judged(tmp_path):
    trace = f"{SLASH}root/x\n"
    root = checkout(tmp_path / "a b", {"tracked.md": trace, "picture.png": b"\xff\xfe" + trace.encode()})
    (root / "scratch.md").write_text(trace)
    found = repository.traces_in(root, repository.tracked(root))
    assert found == [f"tracked.md:1: names a machine or a package index: {trace.strip()}"]


def test_the_first_line_too_many_is_told(tmp_path):
    root = checkout(tmp_path / "r", {"fits.py": "x\n" * 400, "long.py": "x\n" * 401, "long.md": "x\n" * 401})
    assert repository.too_long(root, repository.tracked(root)) == ["long.py: 401 lines, at most 400"]
