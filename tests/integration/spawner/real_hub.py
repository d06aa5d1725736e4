"""The real hub and proxy beside a control plane that keeps the contract, for the time of a `with` block."""

import os
import shutil
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

from integration.spawner.conftest import ordinary_command
from integration.spawner.hub_client import admin, wait_for
from support.ports import free_port

HERE = Path(__file__).parent
BOOT = """
import os, subprocess, secrets
state = Path({state!r}); run = state / "run"; (run / "secrets").mkdir(parents=True)
for name in ("hub", "web", "hub-oauth"):
    (run / "secrets" / name).write_text(secrets.token_urlsafe(32))
(state / "hub.json").write_text('{{"state_dir": "%s", "run_dir": "%s", "port": {port}}}' % (state, run))
children = [subprocess.Popen([sys.executable, {fake!r}, str(state), str(run), "{port}"]),
            subprocess.Popen([sys.executable, "-m", "broch_spawner.serve", str(state / "hub.json")])]
print(*[child.pid for child in children], flush=True)
sys.stdin.read()
for child in children:
    child.kill(); child.wait()
"""


@contextmanager
def running_hub():
    """Yield what a test needs to reach them."""
    parent = Path(tempfile.mkdtemp(prefix="bh-", dir="/tmp"))
    parent.chmod(0o711)
    state, port = parent / "s", free_port()
    code = BOOT.format(state=str(state), fake=str(HERE / "fake_control.py"), port=port)
    log = (parent / "log").open("w+")
    boot = subprocess.Popen(
        ordinary_command(code, state), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    line = boot.stdout.readline().split()
    assert line, (parent / "log").read_text()
    run = state / "run"
    here = SimpleNamespace(
        state=state, run=run, port=port, fake=int(line[0]), hub=int(line[1]), log=parent / "log",
        hub_origin=f"http://hub.broch.localhost:{port + 1}",
        base_of=lambda principal: f"http://{principal}.hub.broch.localhost:{port + 1}/user/{principal}/",
    )  # fmt: skip
    here.token = (run / "secrets" / "web").read_text()
    try:
        wait_for("the hub", lambda: admin(run, "GET", "/users", here.token).status_code == 200, 90)
        wait_for("the proxy", lambda: socket.create_connection(("127.0.0.1", port + 1), 1))
        yield here
    finally:
        boot.stdin.close()
        boot.stdout.close()
        boot.wait(20)
        log.close()
        shutil.rmtree(parent, ignore_errors=True)
