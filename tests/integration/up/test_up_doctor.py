"""The doctor as people run it, on machines that lack something for real (hidden in a namespace of the test's own)."""

import json
import shutil
import socket
import tempfile
from pathlib import Path

import pytest

from broch_airlock.checks.clamd_process import find_clamd
from integration.up.up_acts import ROOT, as_ordinary, broch_command
from support.ports import free_port
from support.running import DIRECT

root_only = pytest.mark.skipif(not ROOT, reason="needs mounts, or two users")
HIDE = 'mount --bind /dev/null "$0" && exec "$@"'
NO_NAMESPACES = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$0" "$@"'


@pytest.fixture
def folder():
    made = Path(tempfile.mkdtemp(prefix="broch-test-", dir="/tmp"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made)


@pytest.fixture(params=["as we are", "as an ordinary user"])
def command(request, folder):
    """Return the `broch` command, tried by both kinds of people."""
    return DIRECT if request.param == "as we are" else as_ordinary(DIRECT, writable=[folder / "mine"])


def examined(folder, command, *more):
    """Return exit status and findings by name."""
    done = broch_command(
        "doctor", "--json", "--dir", folder / "mine" / "state", "--port", free_port(), *more, command=command
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, {row["name"]: row for row in json.loads(done.stdout)}


def test_a_machine_that_has_everything(folder, command):
    status, found = examined(folder, command)
    assert status == 0, found
    assert found["sandbox"]["says"].startswith("bubblewrap")
    assert not (folder / "mine" / "state").exists(), "looking makes nothing"


def test_a_port_that_is_taken(folder, command):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        status, found = examined(folder, command, "--port", port)
    assert status == 1
    assert found[f"port {port}"]["says"].endswith("cannot be used: address already in use.")
    assert f"--port {port + 100}" in found[f"port {port}"]["remedy"]


@root_only
@pytest.mark.parametrize(
    ("program", "part", "remedy"),
    [
        (shutil.which("bwrap"), "sandbox", "Run: sudo apt-get install bubblewrap"),
        (find_clamd(), "clamd", "Run: sudo apt-get install clamav-daemon"),
    ],
)
def test_a_program_that_is_not_there(folder, command, program, part, remedy):
    hidden = ["unshare", "--mount", "sh", "-c", HIDE, program, *command]
    status, found = examined(folder, hidden)
    assert status == 1
    assert not found[part]["ok"]
    assert found[part]["remedy"].startswith(remedy)
    assert all(row["ok"] or not row["needed"] for name, row in found.items() if name != part)


def test_user_namespaces_that_are_off(folder):
    """Really off: a nested namespace whose limit is 0."""
    nested = ("unshare", "--user", "--map-current-user", "--keep-caps", "sh", "-c", NO_NAMESPACES, *DIRECT)
    status, found = examined(folder, as_ordinary(nested_absolute(nested), writable=[folder / "mine"]))
    assert status == 1
    assert (
        found["sandbox"]["says"]
        == "Unprivileged user namespaces are switched off (user.max_user_namespaces = 0)."
    )
    assert "user.max_user_namespaces=15000" in found["sandbox"]["remedy"]


def nested_absolute(command):
    return (shutil.which(command[0]), *command[1:])


@root_only
def test_a_folder_that_an_ordinary_user_may_not_write(folder):
    (folder / "mine").mkdir(mode=0o755)
    (folder / "home").mkdir()
    status, found = examined(folder, as_ordinary(DIRECT, writable=[folder / "home"]))
    assert status == 1
    assert found["folder"]["says"] == f"{folder / 'mine'} cannot be written to."
    assert "--dir" in found["folder"]["remedy"]
