"""The test's side of `kernel_world`: starts it, orders it about, and reads what it says."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = os.geteuid() == 0
# What the runner imports comes first: the account may not reach the interpreter.
AS_ANYBODY = """
import os, sys
import ctypes, errno, json, mmap, pathlib, platform, resource, signal, socket, stat, struct, subprocess, time, traceback
if os.geteuid() == 0:
    os.setgroups([]); os.setresgid(64610, 64610, 64610); os.setresuid(64610, 64610, 64610)
exec(compile(sys.argv[1], "runner", "exec"))
"""


class Rig:
    """A running `kernel_world`."""

    def __init__(self, process) -> None:
        self._process = process
        self.at = self._answer()["at"]

    def _answer(self):
        line = self._process.stdout.readline()
        assert line, "the world ended; its words are above"
        return json.loads(line)

    def do(self, order, **more):
        """Give one order, return the answer."""
        self._process.stdin.write(json.dumps({"do": order, **more}) + "\n")
        self._process.stdin.flush()
        return self._answer()


@contextlib.contextmanager
def running_world(*words):
    """Yield a world of its own, as whoever runs the tests, without root."""
    parent = Path(tempfile.mkdtemp(prefix="broch-test-", dir="/tmp"))
    parent.chmod(0o711)
    anybody = [] if ROOT else ["--user", "--map-current-user", "--keep-caps"]
    disk = ["--mount"] if "bombs" in words else []
    new = ["unshare", *anybody, "--net", *disk]
    process = subprocess.Popen(
        [*new, sys.executable, str(HERE / "kernel_world.py"), str(parent / "state"), *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    try:
        yield Rig(process)
    finally:
        process.kill()
        process.communicate()
        shutil.rmtree(parent, ignore_errors=True)


def probe_as_anybody(probes):
    """Run probes by the account of workspaces where nothing forbids it to gain rights."""
    job = json.dumps({"at": {}, "probes": probes})
    runner = (HERE / "kernel_inside.py").read_text()
    done = subprocess.run(
        [sys.executable, "-c", AS_ANYBODY, runner],
        input=job,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    return [json.loads(line) for line in done.stdout.splitlines()], done.stdout + done.stderr
