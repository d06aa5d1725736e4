"""The folder of one run: one owner, fresh secrets, nobody else's links."""

import os
import stat
import subprocess
import sys

import pytest

from broch import run_folder
from broch_core.errors import Conflict


@pytest.fixture
def claimed(tmp_path):
    descriptor = run_folder.claim(tmp_path / "state")
    yield tmp_path / "state"
    os.close(descriptor)


def test_a_second_claim_is_refused_with_a_way_out(claimed):
    with pytest.raises(Conflict) as caught:
        run_folder.claim(claimed)
    assert caught.value.detail == f"Another Broch is running on {claimed}."
    assert "--dir" in caught.value.remedy
    with pytest.raises(Conflict):
        run_folder.refuse_claimed(claimed)


def test_a_folder_can_be_claimed_again_after_its_owner_ended(tmp_path):
    os.close(run_folder.claim(tmp_path))
    assert not run_folder.is_claimed(tmp_path)
    os.close(run_folder.claim(tmp_path))


def test_the_claim_of_a_killed_process_does_not_stay(tmp_path):
    code = f"from pathlib import Path; from broch import run_folder; run_folder.claim(Path({str(tmp_path)!r})); print(1, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        assert run_folder.is_claimed(tmp_path)
        process.kill()
    assert not run_folder.is_claimed(tmp_path)


def test_asking_whether_a_folder_is_claimed_makes_nothing(tmp_path):
    assert not run_folder.is_claimed(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_lock_that_is_a_link_is_not_followed(tmp_path):
    target = tmp_path / "target"
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "lock").symlink_to(target)
    with pytest.raises(OSError, match="Too many levels"):
        run_folder.claim(tmp_path / "state")
    assert not target.exists()


def tokens(run):
    return {path.name: path.read_text() for path in (run / "secrets").iterdir()}


def test_tokens_are_private_long_and_new_at_each_run(tmp_path):
    run = tmp_path / "run"
    run_folder.prepare(run)
    first = tokens(run)
    run_folder.prepare(run)
    second = tokens(run)
    assert set(first) == set(run_folder.SERVICE_TOKENS)
    assert len(set(first.values()) | set(second.values())) == 2 * len(first)
    assert min(map(len, first.values())) >= 43  # 32 bytes in base 64
    for path in (run, *run.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_what_a_dead_run_left_is_gone(tmp_path):
    run = tmp_path / "run"
    run_folder.prepare(run)
    (run / "hub" / "hub.sock").touch()
    (run / "ws" / "1").mkdir()
    (run / "broch.toml").touch()
    run_folder.prepare(run)
    assert sorted(path.name for path in run.iterdir()) == sorted([*run_folder.SOCKET_FOLDERS, "secrets"])
    assert not list((run / "hub").iterdir())
    assert not list((run / "ws").iterdir())


def test_a_link_in_place_of_the_run_folder_is_refused_and_not_followed(tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    (target / "kept").touch()
    (tmp_path / "run").symlink_to(target)
    with pytest.raises(Conflict, match="is a link or belongs to somebody else"):
        run_folder.prepare(tmp_path / "run")
    assert (target / "kept").exists()


def test_a_file_in_place_of_the_run_folder_is_refused(tmp_path):
    (tmp_path / "run").touch()
    with pytest.raises(Conflict):
        run_folder.prepare(tmp_path / "run")


def test_a_run_folder_of_somebody_else_is_refused(tmp_path, monkeypatch):
    run = tmp_path / "run"
    run_folder.prepare(run)
    monkeypatch.setattr(os, "geteuid", lambda: run.stat().st_uid + 1)
    with pytest.raises(Conflict) as caught:
        run_folder.prepare(run)
    assert "belongs to somebody else" in caught.value.detail
    assert "--dir" in caught.value.remedy
    assert tokens(run)


def test_the_secret_of_web_is_made_once_and_private(tmp_path):
    first = run_folder.web_secret(tmp_path / "keys")
    assert len(first) == 32
    assert run_folder.web_secret(tmp_path / "keys") == first
    assert stat.S_IMODE((tmp_path / "keys" / "web-secret").stat().st_mode) == 0o600


def test_a_half_written_secret_is_never_used(tmp_path):
    (tmp_path / "web-secret.new").write_bytes(b"half")
    assert len(run_folder.web_secret(tmp_path)) == 32
