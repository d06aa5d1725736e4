"""Zones on a disk of their own, made by the commands of docs/workspaces.md: what a workspace fills is that disk alone."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

DOC = Path(__file__).parents[3] / "docs" / "workspaces.md"
PACKAGES = ("broch_core", "broch_workspaces")
FILL = """
import os
try:
    with open("/home/researcher/f", "wb", buffering=0) as file:
        for _ in range(200): file.write(os.urandom(1 << 20))
    print("done")
except OSError as error: print(error.strerror)
"""
SCRIPT = """
import json, os, sys
from pathlib import Path
from broch_workspaces.sandbox import account, bounds, launch, runtime
from broch_workspaces.sandbox.profile import Bind, SandboxProfile
state, fill = Path(sys.argv[1]), sys.argv[2]
os.chown(state / "zones", account.FALLBACK_ID, account.FALLBACK_ID)
(state / "zones" / "lost+found").rmdir()
account.drop_privileges([*runtime.interpreter_folders(), *runtime.package_folders({packages!r})], [state, state / "zones"])
home = state / "zones" / "home"
home.mkdir()
best = {{one.what: one.best for one in bounds.in_force(state / "zones")}}["disk"]
process = launch.start(SandboxProfile(binds=(*runtime.runtime_binds(), Bind(home, "/home/researcher", read_only=False)),
    links=runtime.system_links()), [sys.executable, "-I", "-c", fill])
said = process.communicate(timeout=60)[0].decode()
held = sum(path.stat().st_blocks * 512 for path in home.iterdir())
print(json.dumps({{"said": said, "best": best, "held": held}}))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts disks")
def test_the_disk_of_the_zones_is_the_bound():
    (block,) = [text for text in re.findall(r"```sh\n(.*?)```", DOC.read_text(), re.DOTALL) if "mkfs" in text]
    parent = Path(tempfile.mkdtemp(prefix="broch-test-", dir="/tmp"))
    parent.chmod(0o711)
    state = parent / "state"
    (state / "zones").mkdir(parents=True)
    shutil.chown(state, 64610, 64610)
    commands = block.replace("200G", "64M").replace("sudo ", "").replace("/var/lib/broch", str(state))
    commands = commands.replace("zones.img", str(parent / "zones.img"))
    script = f'set -e\n{commands}\nexec "$@"\n'
    try:
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", script, "sh", sys.executable, "-c", SCRIPT.format(packages=PACKAGES), str(state), FILL],
            capture_output=True, text=True, timeout=120, check=False,
            env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
        )  # fmt: skip
    finally:
        shutil.rmtree(parent)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["said"] == "No space left on device\n"
    assert found["best"]
    assert 20 << 20 < found["held"] < 64 << 20
