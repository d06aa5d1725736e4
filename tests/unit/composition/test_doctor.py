"""The doctor names each cause and the one command that mends it."""

import json
import os
import shutil
import socket
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.testing import CliRunner

from broch import doctor, run_folder
from broch.cli.main import app
from broch.health import scanner_part
from broch_airlock.checks.clamd_config import demo_signatures
from broch_airlock.checks.clamd_process import ClamdSetup, find_clamd
from broch_core.settings import Settings
from broch_workspaces.sandbox.probe import Machine
from support.ports import free_port


class Usage(NamedTuple):
    total: int
    used: int
    free: int


ROOT = os.geteuid() == 0


@pytest.fixture
def listening():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_no_bubblewrap(tmp_path):
    found = doctor.look_at_sandbox(Machine(search_path=str(tmp_path)))
    assert not found.ok
    assert found.needed
    assert found.says == "bubblewrap is not installed."
    assert "apt-get install bubblewrap" in found.remedy


@pytest.fixture
def open_folder():
    """Yield a folder that every account may look into."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_user_namespaces_off(open_folder):
    """A bubblewrap that fails, on a kernel whose switch says why. The real trial is in tests/integration/up."""
    (open_folder / "user").mkdir()
    (open_folder / "user" / "max_user_namespaces").write_text("0\n")
    bwrap = open_folder / "bin" / "bwrap"
    bwrap.parent.mkdir()
    bwrap.write_text("#!/bin/sh\n[ $1 = --version ] && echo bubblewrap 0.8.0 && exit; exit 1\n")
    bwrap.chmod(0o755)
    found = doctor.look_at_sandbox(Machine(search_path=str(bwrap.parent), proc_sys=open_folder))
    assert not found.ok
    assert found.says == "Unprivileged user namespaces are switched off (user.max_user_namespaces = 0)."
    assert "user.max_user_namespaces=15000" in found.remedy


def test_no_clamd():
    found = doctor.look_at_clamd(lambda: None)
    assert not found.ok
    assert "nothing can cross the airlock" in found.says
    assert found.remedy == "Run: sudo apt-get install clamav-daemon"
    assert doctor.look_at_clamd(lambda: "/usr/sbin/clamd").ok


def test_no_system_signatures_is_a_note(tmp_path):
    found = doctor.look_at_signatures(tmp_path)
    assert (found.ok, found.needed, found.remedy) == (False, False, "Run: sudo freshclam")
    for name in ("main.cvd", "daily.cld"):
        (tmp_path / name).touch()
    assert doctor.look_at_signatures(tmp_path).ok


def test_a_port_that_somebody_listens_on(listening):
    found = doctor.look_at_port(listening)
    assert not found.ok
    assert found.says == f"port {listening} of 127.0.0.1 cannot be used: address already in use."
    assert f"sport = :{listening}" in found.remedy
    assert f"--port {listening + 100}" in found.remedy
    assert doctor.look_at_port(free_port()).ok


def test_a_folder_with_room_is_fine_also_before_it_is_made(tmp_path):
    assert doctor.look_at_folder(tmp_path / "new" / "er", least_free=0).ok
    assert not (tmp_path / "new").exists()


def test_a_disk_that_is_nearly_full(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(100 << 30, 99 << 30, 500 << 20))
    found = doctor.look_at_folder(tmp_path / "state")
    assert not found.ok
    assert "has 500 MiB left; Broch wants 2048 MiB" in found.says
    assert "--dir" in found.remedy


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "state").touch()
    found = doctor.look_at_folder(tmp_path / "state")
    assert not found.ok
    assert found.says == f"{tmp_path / 'state'} is not a folder."


def test_a_link_to_nowhere_in_place_of_the_folder(tmp_path):
    (tmp_path / "state").symlink_to(tmp_path / "none")
    assert not doctor.look_at_folder(tmp_path / "state").ok


def test_a_folder_that_may_not_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != tmp_path)
    found = doctor.look_at_folder(tmp_path / "state")
    assert not found.ok
    assert found.says == f"{tmp_path} cannot be written to."
    assert "--dir" in found.remedy


def test_a_folder_that_is_somebody_elses(tmp_path, monkeypatch):
    """As an ordinary user, whatever its mode."""
    state = tmp_path / "state"
    state.mkdir()
    (state / "broch.sqlite").touch()
    owner = state.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    monkeypatch.setattr(os, "getegid", lambda: owner + 1)
    found = doctor.look_at_folder(state)
    assert not found.ok
    assert found.says == f"{state} belongs to user id {owner}, not to {owner + 1}."
    assert "chown" not in found.remedy


@pytest.mark.skipif(not ROOT, reason="root alone can give folders away")
def test_root_is_told_to_give_a_folder_with_files_to_the_account(tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    assert doctor.look_at_folder(state).ok, "an empty folder is given to the account"
    (state / "broch.sqlite").touch()
    found = doctor.look_at_folder(state)
    uid = doctor.choose_account()[0]
    assert found.remedy.startswith(f"Run: chown -R {uid}:")
    os.chown(state, uid, uid)
    assert doctor.look_at_folder(state).ok


def test_a_running_broch_is_not_called_a_taken_port(tmp_path, listening):
    settings = Settings(folder=tmp_path, port=listening)
    names = [finding.name for finding in doctor.examine(settings, Machine(search_path=str(tmp_path)))]
    assert f"port {listening}" in names
    lock = run_folder.claim(tmp_path)
    try:
        found = {one.name: one for one in doctor.examine(settings, Machine(search_path=str(tmp_path)))}
    finally:
        os.close(lock)
    assert found["running"].ok
    assert f"port {listening}" not in found


def test_the_doctor_answers_json_and_an_exit_status(tmp_path, listening):
    answer = CliRunner().invoke(app, ["doctor", "--json", "--dir", str(tmp_path), "--port", str(listening)])
    assert answer.exit_code == 1
    rows = {row["name"]: row for row in json.loads(answer.stdout)}
    assert rows[f"port {listening}"]["ok"] is False
    assert all(row["remedy"] for row in rows.values() if not row["ok"])
    assert {"python", "sandbox", "clamd", "signatures", "folder"} <= set(rows)


def test_a_note_alone_is_no_failure(tmp_path, monkeypatch):
    fine, note = doctor.Finding("a", ok=True, says="[fine]"), doctor.Finding("b", False, "lacks", "do", False)
    monkeypatch.setattr(doctor, "examine", lambda _: [fine, note])
    answer = CliRunner().invoke(app, ["doctor"])
    assert answer.exit_code == 0
    assert "a: [fine]" in answer.stdout
    assert "note    b: lacks" in answer.stdout
    monkeypatch.setattr(doctor, "examine", lambda _: [fine, doctor.Finding("c", False, "gone", "mend [it]")])
    answer = CliRunner().invoke(app, ["doctor"])
    assert answer.exit_code == 1
    assert "missing c: gone\n        mend [it]" in answer.stdout


@pytest.mark.parametrize("installed", [True, False])
def test_a_scanner_that_does_not_answer_is_not_called_out_of_date(tmp_path, monkeypatch, installed):
    monkeypatch.setattr("broch.health.find_clamd", lambda: "/usr/sbin/clamd" if installed else None)
    demo_signatures(tmp_path)
    setup = ClamdSetup(tmp_path / "c", tmp_path / "none.sock", tmp_path, "demo (EICAR only)")
    part = scanner_part(setup.antivirus(), timedelta(days=2))
    assert not part.ok
    assert ("clamav-daemon" in part.remedy) is not installed
    assert ("logs/clamd.log" in part.remedy) is installed
    assert "freshclam" not in part.remedy


def test_clamd_is_found_beside_the_path(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    program = tmp_path / "clamd"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert find_clamd() == str(program)
