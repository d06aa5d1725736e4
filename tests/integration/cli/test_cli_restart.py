"""An upload lives through the death of the server that takes it."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from broch.cli import airlock_upload
from broch.cli.main import app as broch_app
from broch.cli.sending import LocalFile
from support.running import RunningBroch

SIZE = 20 << 20
"""Three chunks, the last one short."""


@pytest.fixture
def person(running: RunningBroch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the home of somebody with a large file to send."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("BROCH_SERVER", running.api)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    (tmp_path / "model.bin").write_bytes(os.urandom(SIZE))
    return tmp_path


def upload(person: Path) -> tuple[int, str, str]:
    words = [
        "airlock",
        "upload",
        str(person / "model.bin"),
        "--project",
        "honest-odds",
        "--as",
        "mateo",
        "--json",
    ]
    result = CliRunner().invoke(broch_app, words)
    return result.exit_code, result.stdout, result.stderr


def kill_web(broch: RunningBroch) -> None:
    [web] = [
        child
        for child in psutil.Process(broch.process.pid).children()
        if child.cmdline()[-2:] == ["serve", "web"]
    ]
    web.kill()


def in_the_second_chunk(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> list[int]:
    """Do something once, in the middle of the second chunk; return where each chunk began."""
    real, begun = LocalFile.pieces, []

    def pieces(self: LocalFile, start: int, count: int, moved: Callable[[int], None]) -> Iterator[bytes]:
        if count == SIZE:  # the digest before anything is sent
            yield from real(self, start, count, moved)
            return
        begun.append(start)
        for index, piece in enumerate(real(self, start, count, moved)):
            yield piece
            if index == 8 and len(begun) == 2:
                act()

    monkeypatch.setattr(LocalFile, "pieces", pieces)
    return begun


def test_an_upload_goes_on_by_itself_when_the_server_is_killed_in_the_middle_and_starts_again(
    running: RunningBroch, person: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As often, and then for a minute more: how fast a server starts is not what this is about.
    monkeypatch.setattr(airlock_upload, "_WAITS", (*airlock_upload._WAITS, *(8.0,) * 8))
    begun = in_the_second_chunk(monkeypatch, lambda: kill_web(running))
    code, printed, said = upload(person)
    assert code == 0, said
    assert "Going on as soon as it answers" in said
    assert begun[:2] == [0, airlock_upload.CHUNK]
    assert begun[2] >= airlock_upload.CHUNK  # the first chunk was not sent again
    [file] = json.loads(printed)["file_list"]
    assert file["sha256"] == hashlib.sha256((person / "model.bin").read_bytes()).hexdigest()


def test_a_server_that_stays_away_ends_the_upload_and_the_same_command_goes_on(
    running: RunningBroch, person: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(airlock_upload, "_WAITS", (0.01, 0.01))
        in_the_second_chunk(broken, lambda: kill_web(running))
        code, printed, said = upload(person)
    assert (code, printed) == (3, "")
    assert said.splitlines()[-1].startswith("broch: ")
    await_answer(running)
    begun = in_the_second_chunk(monkeypatch, lambda: None)
    code, _, said = upload(person)
    assert code == 0, said
    assert begun[0] >= airlock_upload.CHUNK
    assert "Going on with the draft" in said


def await_answer(running: RunningBroch) -> None:
    deadline = time.monotonic() + 60
    while CliRunner().invoke(broch_app, ["project", "list", "--as", "mateo"]).exit_code != 0:
        assert time.monotonic() < deadline, running.logs()
        time.sleep(0.2)
