"""Starting and stopping a whole Broch: what is refused, what stays, as whom it runs."""

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
import psutil
import pytest

from integration.up.up_acts import (
    ORDINARY_ID,
    ROOT,
    all_gone,
    as_ordinary,
    await_ready,
    broch_command,
    draft,
    got,
    open_workspace,
    outcome,
    readyz,
    sandboxes,
    services,
    submit,
    until,
    workspace,
)
from support.busy import slower
from support.counts import count
from support.ports import free_port
from support.running import DIRECT, client, running_broch

root_only = pytest.mark.skipif(not ROOT, reason="needs mounts, or folders of two users")


@pytest.fixture
def folder():
    """Yield a folder with a short path that every account may pass."""
    made = Path(tempfile.mkdtemp(prefix="broch-test-", dir="/tmp"))
    made.chmod(0o711)
    yield made
    # Folders of sealed datasets are closed to writing, which stops everybody but root.
    subprocess.run(["chmod", "-R", "u+w", made], check=False)
    shutil.rmtree(made)


def test_a_port_that_is_taken_is_refused_at_once_and_nothing_is_made(folder):
    with socket.socket() as listener:
        port = free_port() + 1
        listener.bind(("127.0.0.1", port))
        listener.listen()
        for given in (port, port - 1):  # the workspaces' port is the next one
            done = broch_command("up", "--dir", folder / "state", "--port", given)
            assert done.returncode == 1
            assert f"port {port} of 127.0.0.1 cannot be used: address already in use." in done.stderr
            assert f"./broch up --port {port + 100}" in done.stderr
    assert not (folder / "state").exists()


def test_a_second_start_on_the_same_folder_is_refused(broch):
    before = services(broch)
    done = broch_command("up", "--dir", broch.folder, "--port", free_port())
    assert done.returncode == 1
    assert f"Another Broch is running on {broch.folder}." in done.stderr
    assert "--dir FOLDER" in done.stderr
    assert services(broch) == before
    await_ready(broch)


@root_only
def test_root_refuses_a_folder_with_somebody_elses_files(folder):
    state = folder / "state"
    state.mkdir()
    (state / "thesis.txt").touch()
    os.chown(state, 12345, 12345)
    done = broch_command("up", "--dir", state, "--port", free_port())
    assert done.returncode == 1
    assert f"{state} belongs to user id 12345" in done.stderr
    assert f"chown -R {services_account()}" in done.stderr
    assert [path.name for path in state.iterdir()] == ["thesis.txt"]


def services_account():
    from broch_workspaces.sandbox.account import choose_account

    return choose_account()[0]


@root_only
def test_an_ordinary_user_is_refused_a_folder_of_somebody_else(folder):
    state = folder / "state"
    state.mkdir(mode=0o777)
    state.chmod(0o777)
    command = as_ordinary(DIRECT, writable=[folder / "home"])
    done = broch_command("up", "--dir", state, "--port", free_port(), command=command)
    assert done.returncode == 1
    assert f"{state} belongs to user id 0, not to {ORDINARY_ID}." in done.stderr
    assert not list(state.iterdir())


@root_only
def test_a_run_folder_that_somebody_made_first_is_refused(folder):
    """Below /tmp anybody can make a link under the name that is to come; root must not give away where it leads."""
    from broch_core.settings import Settings

    target = folder / "precious"
    target.mkdir(mode=0o700)
    state = folder / ("long-" * 20)
    run = Settings(folder=state).run
    assert run.parent == Path(tempfile.gettempdir())
    run.symlink_to(target)
    try:
        done = broch_command("up", "--dir", state, "--port", free_port())
    finally:
        run.unlink()
    assert done.returncode == 1
    assert f"{run} is a link or belongs to somebody else" in done.stderr
    assert target.stat().st_uid == 0


def names(broch, kind):
    """Return what an administrator sees of people, data or projects."""
    with client(broch, "sunniva") as admin:
        return sorted((row["id"], row["slug"]) for row in got(admin.get(f"/api/v1/{kind}"))["items"])


def test_stopped_by_ctrl_c_and_started_again_everything_is_there(folder):
    with running_broch(folder) as broch:
        with client(broch, "ada") as ada:
            token = ada.headers["Authorization"]
            row = open_workspace(ada)
            request = draft(ada, {"kept.py": b"print(1)\n"})
        before = {kind: names(broch, kind) for kind in ("projects", "datasets")}
        started = [process for one in services(broch).values() for process in (one, *one.children(True))]
        assert len(started) > 3, "a workspace is among them"
        broch.process.send_signal(signal.SIGINT)
        assert broch.process.wait(30 * slower()) == 0
        all_gone(started, 5)
        assert not (broch.folder / "run").exists(), "the secrets of a run end with it"
        assert b"Traceback" not in b"".join(path.read_bytes() for path in (broch.folder / "logs").iterdir())
    with running_broch(folder) as broch:
        await_ready(broch)
        assert {kind: names(broch, kind) for kind in before} == before
        answer = httpx.get(
            f"{broch.api}/api/v1/airlock/requests/{request['id']}",
            headers={"Authorization": token},
            trust_env=False,
        )
        assert got(answer)["file_list"] == request["file_list"], "the session is still good too"
        assert (broch.folder / "logs" / "web.log").read_text().count("demo.planted") == 1
        with client(broch, "ada") as ada:
            ended = until(lambda: (now := workspace(ada, row["id"]))["status"] == "stopped" and now, 20)
            assert ended["message"]


def test_ctrl_c_while_it_starts_ends_it_whole(folder):
    command = [*DIRECT, "up", "--dir", str(folder / "state"), "--port", str(free_port())]
    process = subprocess.Popen(
        command, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    started = until(lambda: len(found := psutil.Process(process.pid).children()) == 3 and found, 20)
    process.send_signal(signal.SIGINT)
    assert process.wait(30 * slower()) == 0
    all_gone(started, 5)


@root_only
def test_an_ordinary_user_gets_the_same_broch(folder):
    state = folder / "state"
    command = as_ordinary(DIRECT, writable=[state])
    with running_broch(folder, command=command) as broch:
        assert psutil.Process(broch.process.pid).uids().real == ORDINARY_ID
        await_ready(broch)
        with client(broch, "ada") as ada:
            assert open_workspace(ada)["url"]
            inside = sandboxes(broch)
            assert {process.uids().real for process in (*inside, *services(broch).values())} == {ORDINARY_ID}
            request = draft(ada, {"model.py": b"print(1)\n"})
            submit(ada, request)
            assert outcome(ada, request)["status"] == "in_review"
        assert {path.lstat().st_uid for path in state.rglob("*")} == {ORDINARY_ID}
        everything = [*inside, *services(broch).values()]
        broch.process.kill()
        broch.process.wait()
        all_gone(everything, 5)


@root_only
def test_started_by_root_nothing_stays_root_and_the_folder_is_private(broch):
    uids = {process.uids() for process in services(broch).values()}
    assert len(uids) == 1
    assert set(uids.pop()) == {services_account()}
    for path in (broch.folder, *broch.folder.glob("*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def never_clean(broch):
    """Submit a harmless file, and return where it is once its checks ended, by themselves or at their deadline."""
    with client(broch, "ada") as ada:
        request = draft(ada, {"harmless.py": b"print(1)\n"})
        submit(ada, request)
        found = outcome(ada, request)
    assert found["status"] == "quarantined", found
    assert found["file_list"][0]["verdict"] != "clean"
    return found


@root_only
def test_without_clamd_broch_runs_says_so_and_lets_nothing_cross(folder):
    """clamd is hidden by a mount namespace: find_clamd looks beside PATH too."""
    from broch_airlock.checks.clamd_process import find_clamd

    hide = 'mount --bind /dev/null "$0" && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", hide, find_clamd(), *DIRECT]
    with running_broch(folder, command=command, BROCH_CHECK_DEADLINE="PT20S") as broch:
        assert (
            "clamd is not installed: nothing can cross the airlock." in (folder / "console.log").read_text()
        )
        status, parts = readyz(broch)
        assert status == 503
        assert not parts["antivirus"]["ok"]
        assert parts["antivirus"]["remedy"] == "Run: sudo apt-get install clamav-daemon"
        assert all(part["ok"] for name, part in parts.items() if name != "antivirus")
        assert never_clean(broch)["file_list"][0]["verdict"] == "error"


def test_with_old_signatures_or_a_dead_scanner_nothing_is_clean(folder):
    """The settings lie in a file that the account cannot reach by itself."""
    config = folder / "broch.toml"
    config.write_text('signature_age = "PT1S"\n')
    config.chmod(0o600)
    with running_broch(folder, BROCH_CONFIG=str(config)) as broch:
        # The signature was made at the start, and an answer stands for two seconds: wait until both are too old.
        until(lambda: "days old" in readyz(broch)[1]["antivirus"]["why"], 20)
        status, parts = readyz(broch)
        assert status == 503
        assert parts["antivirus"]["remedy"] == "Run: sudo freshclam"
        assert never_clean(broch)["file_list"][0]["verdict"] == "unscannable"

        clamd = services(broch)["clamd"]
        clamd.suspend()
        try:
            until(lambda: "does not answer" in readyz(broch)[1]["antivirus"]["why"], 30)
            assert readyz(broch)[0] == 503
        finally:
            clamd.resume()


CRASHING_WEB = """
import os, signal, sys
from importlib import import_module
from broch import run_folder
from broch.web import serve
from broch_core.settings import Settings

module, owner, name, left = sys.argv[1:]
place = getattr(import_module(module), owner) if owner else import_module(module)
real, left = getattr(place, name), int(left)

def dying(*arguments, **named):
    global left
    answer = real(*arguments, **named)
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return answer

setattr(place, name, dying)
run_folder.prepare(Settings().run)
serve()
"""
MOMENTS = [
    ("broch_api.datasets.versions", "VersionVault", "seal", "1"),
    ("broch_workspaces.zones", "FolderZones", "home", "2"),
    ("broch.demo.seed", "Seed", "plant", "1"),
    ("broch.migrations", "", "upgrade", "1"),
    ("broch.demo.seed", "Seed", "_first_admin", "1"),
]
"""Just after which call web dies in its first start."""


def test_a_first_start_that_died_is_made_anew(folder):
    """Web dies at one moment after another; what is there in the end is one whole demo."""
    state = folder / "state"
    moments = MOMENTS[: count("moments at which a first start dies", ci=2, nightly=len(MOMENTS))]
    for moment in moments:
        command = as_ordinary((sys.executable, "-c", CRASHING_WEB), writable=[state])
        done = broch_command(*moment, command=command, BROCH_FOLDER=str(state), BROCH_PORT=str(free_port()))
        assert done.returncode == -signal.SIGKILL, done.stderr
    with running_broch(folder, command=as_ordinary(DIRECT, writable=[state])) as broch:
        await_ready(broch)
        assert len(list(state.glob("unfinished-*"))) == len(moments)
        assert not (state / "first-start").exists()
        assert [len(names(broch, kind)) for kind in ("projects", "datasets")] == [2, 2]
        with client(broch, "sunniva") as admin:
            assert len(got(admin.get("/api/v1/people"))["items"]) == 7
        with client(broch, "ada") as ada:
            assert open_workspace(ada)
        assert broch.logs().count("demo.planted") == 1
