"""A real sandbox by a real unprivileged account."""

import os
import sys
import time
from pathlib import Path

import pytest

INSIDE = """
from broch_workspaces.sandbox import launch, profile
from broch_workspaces.sandbox.profile import Bind, DataFile, Limits, SandboxProfile
def inside(code, **more):
    given = dict(binds=runtime.runtime_binds(), links=runtime.system_links(), files=runtime.system_files())
    for key in ("binds", "files"):
        given[key] += tuple(more.pop(key, ()))
    process = launch.start(SandboxProfile(**given, **more), [sys.executable, "-I", "-c", code])
    out, _ = process.communicate(timeout=30)
    return out.decode()
"""


def test_root_is_gone_for_good(ordinary):
    said = ordinary(
        "import os; print(os.getresuid(), os.getgroups() if os.getuid() == 64610 else []);"
        "print([l for l in open('/proc/self/status') if l.startswith('CapEff')])"
    )
    assert "(0," not in said
    assert "0000000000000000" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give it up")
def test_what_is_not_needed_stays_out_of_reach(ordinary):
    said = ordinary("import os; print('seen', sorted(os.listdir('/root')))", check=False)
    assert ".ssh" not in said
    assert ".bashrc" not in said
    if Path(sys.base_prefix).is_relative_to("/root"):
        assert "seen" in said  # covered by an empty folder that holds the interpreter alone
    else:
        assert "seen" not in said


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give it up")
def test_a_state_folder_of_somebody_else_is_refused(ordinary, state_folder):
    state_folder.mkdir()
    (state_folder / "broch.sqlite").write_bytes(b"root's")
    said = ordinary("print('went on')", check=False)
    assert "went on" not in said
    assert "chown -R" in said


def test_an_empty_sandbox_has_its_own_loopback_and_nothing_else(ordinary):
    said = ordinary(
        INSIDE
        + """
print(inside('''
import os, socket
print("ifaces", socket.if_nameindex())
print("uid", os.getuid(), os.environ.get("HOME"))
for place in ("/root", "/home", "/etc/shadow", "/var"):
    try: print(place, os.listdir(place))
    except OSError as e: print(place, "no")
try: socket.create_connection(("127.0.0.1", PORT), 2); print("reached")
except OSError as e: print("unreachable", e)
try: open("/usr/x", "w"); print("wrote")
except OSError as e: print("read-only", e)
'''.replace("PORT", "22"), env={"HOME": "/tmp"}))
"""
    )
    assert "ifaces [(1, 'lo')]" in said
    assert "uid 1000 /tmp" in said
    assert "/etc/shadow no" in said
    assert "unreachable" in said
    assert "read-only" in said
    assert "wrote" not in said


def test_limits_hold_from_the_first_instruction(ordinary):
    said = ordinary(
        INSIDE
        + """
print(inside('''
import os, time
try: bytearray(600 << 20); print("got 600 MiB")
except MemoryError: print("no 600 MiB")
bytearray(50 << 20); print("got 50 MiB")
n = 0
try:
    while n < 100:
        if os.fork() == 0: time.sleep(5); os._exit(0)
        n += 1
    print("100 processes")
except OSError: print("stopped", 10 < n < 40)
''', limits=Limits(data_bytes=256 << 20, processes=32)))
"""
    )
    assert "no 600 MiB" in said
    assert "got 50 MiB" in said
    assert "stopped True" in said


def test_refused_calls_are_refused_inside(ordinary):
    said = ordinary(
        INSIDE
        + """
print(inside('''
import ctypes, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def call(name, f, *a):
    ctypes.set_errno(0); r = f(*a); print(name, r, ctypes.get_errno())
call("unshare", libc.unshare, 0x10000000)
call("mount", libc.mount, b"none", b"/tmp", b"tmpfs", 0, None)
call("ptrace", libc.ptrace, 0, 0, 0, 0)
call("io_uring", libc.syscall, 425, 8, None)
for family in (40, 38, 17):
    try: socket.socket(family, socket.SOCK_STREAM); print("family", family, "made")
    except OSError as e: print("family", family, e.errno)
'''))
"""
    )
    assert "unshare -1 1\n" in said
    assert "mount -1 1\n" in said
    assert "ptrace -1 1\n" in said
    assert "io_uring -1 38" in said
    assert [f"family {family} 97" in said for family in (40, 38, 17)] == [True] * 3


def test_a_read_only_bind_is_read_only_and_a_data_file_needs_no_path(ordinary, state_folder):
    said = ordinary(
        INSIDE
        + f"""
import os
os.umask(0o022)
data, work = Path({str(state_folder)!r}, "d"), Path({str(state_folder)!r}, "w")
data.mkdir(); work.mkdir(); (data / "people.csv").write_text("x")
print(inside('''
import os
print(open("/data/cohort/people.csv").read(), open("/run/token").read(), oct(os.stat("/run/token").st_mode))
for f in (lambda: open("/data/cohort/people.csv", "a"), lambda: os.chmod("/data/cohort/people.csv", 0o777),
          lambda: os.unlink("/data/cohort/people.csv"), lambda: os.link("/data/cohort/people.csv", "/shared/l")):
    try: f(); print("DONE")
    except OSError as e: print("no", e.errno)
open("/shared/result", "w").write("r"); print("wrote work")
''', binds=[Bind(data, "/data/cohort"), Bind(work, "/shared", read_only=False)],
     files=[DataFile("/run/token", b"tok", 0o400)]))
print((work / "result").read_text())
"""
    )
    assert "x tok 0o100400" in said
    assert "DONE" not in said
    assert said.count("no ") == 4
    assert "wrote work" in said


def test_a_file_never_goes_in_by_descriptor(ordinary, state_folder):
    said = ordinary(
        INSIDE
        + f"""
import os
path = Path({str(state_folder)!r}, "f"); path.write_text("x")
with path.open() as file:
    try: launch.start(SandboxProfile(), ["/bin/true"], pass_fds=[file.fileno()])
    except ValueError as e: print("refused", e)
"""
    )
    assert "refused" in said


def test_nothing_secret_stands_on_the_command_line(ordinary):
    said = ordinary(
        INSIDE
        + """
process = launch.start(SandboxProfile(binds=runtime.runtime_binds(), links=runtime.system_links(),
    env={"TOKEN": "s3cret"}, files=(DataFile("/run/t", b"s3cret"),)), ["/usr/bin/sleep", "20"])
text = Path(f"/proc/{process.pid}/cmdline").read_bytes() + Path(f"/proc/{process.pid}/environ").read_bytes()
process.kill(); process.communicate()
print("bwrap" in text.decode(), "s3cret" in text.decode(), "--ro-bind" in text.decode())
"""
    )
    assert "True False False" in said


def test_the_probe_makes_a_sandbox_here(ordinary):
    said = ordinary("from broch_workspaces.sandbox.probe import probe; print(probe())")
    assert "ProbeResult(bwrap=" in said


def test_the_probe_names_user_namespaces_that_are_off(ordinary, state_folder):
    """Really off: a nested namespace whose limit is 0."""
    code = """
import os, subprocess
if not os.environ.get("NESTED"):
    script = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$0" "$@"'
    probe = "from broch_workspaces.sandbox.probe import probe; probe()"
    done = subprocess.run(["unshare", "--user", "--map-current-user", "--keep-caps", "sh", "-c", script,
                           sys.executable, "-c", probe], capture_output=True, text=True)
    print(done.stderr[-600:])
"""
    said = ordinary(code)
    assert "user.max_user_namespaces = 0" in said


MAKERS = {
    "while it is made": "before_run=lambda pid: (print(pid, flush=True), time.sleep(30))",
    "when it has just started": "before_run=lambda pid: print(pid, flush=True)",
}


@pytest.mark.parametrize("moment", MAKERS)
def test_a_sandbox_dies_with_its_maker_or_runs_nothing_until_the_next_start(
    ordinary_process, ordinary, moment
):
    maker = ordinary_process(
        INSIDE
        + f"""
import time
process = launch.start(SandboxProfile(binds=runtime.runtime_binds(), links=runtime.system_links()),
                       ["/usr/bin/sleep", "300"], {MAKERS[moment]})
process.wait()
"""
    )
    inner = Path("/proc", maker.stdout.readline().strip())
    assert inner.exists()
    maker.kill()
    maker.wait()
    until = time.monotonic() + 20
    while children_of(inner):
        assert time.monotonic() < until, "a sandbox outlived its maker"
        time.sleep(0.05)
    if inner.exists():
        ordinary("from broch_workspaces.sandbox import gate; gate.end_orphans()")
    gone_within(inner, 20)


def test_what_a_maker_left_half_made_is_ended_and_nothing_else_is(ordinary):
    """The outer process is killed while the first inner one waits for it: really, by a pipe that is full."""
    said = ordinary(
        INSIDE
        + """
import os, signal, subprocess, threading, time
from broch_workspaces.sandbox import gate
with_all = SandboxProfile(binds=runtime.runtime_binds(), links=runtime.system_links())
alive = launch.start(with_all, ["/usr/bin/sleep", "30"])
read, write = os.pipe()
os.set_blocking(write, False)
try:
    while True: os.write(write, b"x" * 4096)
except BlockingIOError: os.set_blocking(write, True)
half = subprocess.Popen(["bwrap", "--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", "--info-fd", str(write),
    "--", *gate.gated(["/usr/bin/sleep", "30"], keep_stdin=False)], pass_fds=[write], stdin=subprocess.PIPE)
children = Path(f"/proc/{half.pid}/task/{half.pid}/children")
until = time.monotonic() + 30
while not children.read_text() and time.monotonic() < until: time.sleep(0.01)
inner = int(children.read_text())
time.sleep(0.2)
half.kill(); half.wait()
time.sleep(0.2)
print("left", Path(f"/proc/{inner}").exists(), "ended", gate.end_orphans() == [inner], "alive", alive.poll() is None)
def gone():
    try: return "State:\\tZ" in Path(f"/proc/{inner}/status").read_text()
    except (FileNotFoundError, ProcessLookupError): return True
until = time.monotonic() + 20
while not gone() and time.monotonic() < until: time.sleep(0.05)
print("gone", gone())
alive.kill(); alive.communicate()
"""
    )
    assert "left True ended True alive True" in said
    assert "gone True" in said


def test_a_sandbox_that_is_killed_at_once_leaves_nothing(ordinary_process):
    maker = ordinary_process(
        INSIDE
        + """
import time
for _ in range(20):
    launch.start(SandboxProfile(binds=runtime.runtime_binds(), links=runtime.system_links()),
                 ["/usr/bin/sleep", "300"], before_run=lambda pid: print(pid, flush=True)).kill()
print("all", flush=True)
time.sleep(30)
"""
    )
    pids = [line.strip() for line in iter(maker.stdout.readline, "all\n") if line or pytest.fail("it died")]
    assert len(pids) == 20
    for pid in pids:
        gone_within(Path("/proc", pid), 20)


def children_of(process):
    """Return the pids below a process; none when it is gone."""
    try:
        return (process / "task" / process.name / "children").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def is_gone(process):
    try:
        return "State:\tZ" in (process / "status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def gone_within(process, seconds):
    until = time.monotonic() + seconds
    while not is_gone(process):
        assert time.monotonic() < until, "a sandbox outlived its maker"
        time.sleep(0.05)
