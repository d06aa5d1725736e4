"""Everything here runs as an ordinary account: as root, a child gives root up first, as `broch up` does."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

PACKAGES = ("broch_core", "broch_workspaces", "broch_spawner")
PREAMBLE = """
import sys
from pathlib import Path
from broch_workspaces.sandbox import account, runtime
needed = [*runtime.interpreter_folders(), *runtime.package_folders({packages!r}), Path({tests!r})]
account.drop_privileges(needed, [Path({state!r})])
"""


@pytest.fixture
def state_folder():
    """Yield a short path (unix sockets end at 107 bytes) whose parents every account may pass."""
    parent = Path(tempfile.mkdtemp(prefix="broch-test-", dir="/tmp"))
    parent.chmod(0o711)
    yield parent / "state"
    shutil.rmtree(parent)


def ordinary_command(code, state):
    """Return a command that runs `code` as an ordinary account with `state` as its folder."""
    preamble = PREAMBLE.format(packages=PACKAGES, tests=str(Path(__file__).parent), state=str(state))
    return [sys.executable, "-c", preamble + code]


@pytest.fixture
def ordinary(state_folder):
    """Return a function that runs code as an ordinary account and gives back what it printed."""

    def run(code, *, prefix=(), check=True):
        done = subprocess.run(
            [*prefix, *ordinary_command(code, state_folder)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )
        if check:
            assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


@pytest.fixture
def ordinary_process(state_folder):
    """Return a function that starts code as an ordinary account; what still runs at the end is killed."""
    started = []

    def start(code, **more):
        process = subprocess.Popen(
            ordinary_command(code, state_folder),
            stdout=more.pop("stdout", subprocess.PIPE),
            text=True,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            **more,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()
