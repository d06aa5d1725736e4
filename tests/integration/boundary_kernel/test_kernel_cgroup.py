"""Control groups of version 2, tried on a kernel that has them: User Mode Linux, booted for this by whoever runs the test."""

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

UML = shutil.which("linux.uml")
SCRIPT = Path(__file__).parents[2] / "support" / "kernel_cgroup.py"
REGISTERS = SCRIPT.with_name("uml_registers.c")
INIT = """#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin PYTHONDONTWRITEBYTECODE=1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs -o mode=1777 tmpfs /mnt
mount -t cgroup2 none /sys/fs/cgroup
for mode in delegated shared root; do
    echo "MODE $mode"
    {python} {script} $mode
    for one in $(cat /sys/fs/cgroup/$mode/cgroup.procs 2>/dev/null); do kill -9 $one; done
done
halt -f
"""

pytestmark = pytest.mark.skipif(
    platform.machine() not in {"x86_64", "i686"}, reason="User Mode Linux is made for x86 alone"
)


@pytest.fixture(scope="module")
def found():
    """Return what each mode said."""
    assert UML is not None, "no kernel to boot: apt-get install user-mode-linux"
    folder = Path(tempfile.mkdtemp(prefix="broch-test-", dir="/var/tmp"))
    init = folder / "init"
    init.write_text(INIT.format(python=sys.executable, script=SCRIPT))
    init.chmod(0o755)
    registers = folder / "registers.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", registers, REGISTERS], check=True, timeout=60)
    kernel = [UML, "mem=1500M", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", f"init={init}"]
    try:
        done = subprocess.run(
            [*kernel, "con=null", "con0=fd:0,fd:1", "quiet", f"uml_dir={folder}"],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=240, check=False,
            env={**os.environ, "TMPDIR": str(folder), "LD_PRELOAD": str(registers)},
        )  # fmt: skip
    finally:
        shutil.rmtree(folder)
    said, mode = {}, ""
    for line in done.stdout.decode("utf-8", "replace").splitlines():
        if line.startswith("MODE "):
            mode = line.split()[1]
            said[mode] = {}
        elif line.startswith("RESULT "):
            result = json.loads(line.removeprefix("RESULT "))
            said[mode] |= {result["name"]: result} if "name" in result else result
    assert set(said) == {"root", "delegated", "shared"}, done.stdout[-3000:]
    return said


@pytest.mark.parametrize(
    ("mode", "base"), [("root", "/sys/fs/cgroup/broch"), ("delegated", "/sys/fs/cgroup/delegated")]
)
def test_a_group_of_its_own_bounds_each_workspace_and_goes_with_it(found, mode, base):
    said = found[mode]
    assert said["base"] == base
    assert said["in_force"] == {"memory": True, "processor": True, "processes": True, "disk": False}
    assert said["plain"] | {"took": 0} == {
        "name": "plain",
        "by": "cgroup",
        "said": "hello",
        "why": "",
        "left": [],
        "took": 0,
    }
    assert said["heap"]["why"] == "The workspace used more memory than its limit, 256 MiB."
    assert said["heap"]["said"] == ""
    assert said["heap"]["left"] == []


@pytest.mark.parametrize("hidden", ["memfd", "tmpfs"])
def test_memory_that_no_process_shows_counts_too(found, hidden):
    assert "used more memory than its limit" in found["root"][hidden]["why"]
    assert "done" not in found["root"][hidden]["said"]


def test_a_quarter_of_a_processor_is_a_quarter(found):
    assert 0.2 <= float(found["root"]["cpu"]["said"]) <= 0.3


def test_a_group_that_is_shared_is_left_alone_and_the_watchdog_stands_in(found):
    said = found["shared"]
    assert said["refused"] == "Broch shares its control group with other processes"
    assert said["stayed"] == "0::/shared"
    assert said["watched"]["by"] == "watchdog"
    assert "done" not in said["watched"]["said"]
