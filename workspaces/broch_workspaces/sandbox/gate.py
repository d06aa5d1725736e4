"""The moment between making a sandbox and being sure that it dies with us.

bubblewrap's processes ask the kernel to be killed with their parent (PR_SET_PDEATHSIG) only at the end of their
set-up. Whoever is killed before that leaves an orphan. So what runs inside first waits for a word from us, and ends
when we are gone; and we give the word only when both processes of bubblewrap have made their arrangement.

One moment is left, of microseconds on a machine with time to spare: the outer process has made its arrangement and
dies with us, the first inner one still waits for it and waits for ever. It runs nothing and never will; the next start
of a sandbox ends it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

WORD = b"go\n"
_SCRIPT = 'read -r word && [ "$word" = go ] && exec "$@"'
_SCRIPT_NO_STDIN = _SCRIPT + " </dev/null"
_PATIENCE_SECONDS = 10.0


def gated(argv: Sequence[str], *, keep_stdin: bool) -> list[str]:
    """Return a command that runs `argv` once `WORD` came on its standard input (sh reads not a byte further)."""
    return ["/bin/sh", "-c", _SCRIPT if keep_stdin else _SCRIPT_NO_STDIN, "gate", *argv]


def wait_until_bound(outer: int, first: int) -> bool:
    """Wait until bubblewrap's outer and first inner process are past their set-up; False when one ended before.

    The first inner process makes its arrangement right after it forked the command, and sleeps only then; the outer
    one right after it let the inner one go on.

    Args:
        outer: pid of bubblewrap.
        first: pid of the process that is 1 inside.
    """
    until = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < until:
        states = _state(outer), _state(first)
        if any(state is None or state in "ZX" for state in states):
            return False
        if _has_child(first) and _state(first) == "S" and _state(outer) == "S":
            return True
        time.sleep(0.0005)
    return False


def _state(pid: int) -> str | None:
    fields = stat_fields(Path(f"/proc/{pid}/stat"))
    return fields[0] if fields else None


def stat_fields(path: Path) -> list[str] | None:
    """Return the fields of a `/proc/PID/stat` from the third (state) on, None when the process is gone."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The second field is the name in brackets, and may itself hold brackets and blanks.
    return text.rpartition(")")[2].split()


def _has_child(pid: int) -> bool:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        return bool(children.read_text(encoding="ascii").strip())
    except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN
        every = (stat_fields(path) for path in Path("/proc").glob("[0-9]*/stat"))
        return any(fields is not None and fields[1] == str(pid) for fields in every)


def end_orphans(proc: Path = Path("/proc")) -> list[int]:
    """Kill what a maker left that was killed in the one moment told above; return the pids.

    Such a process is a bubblewrap of this account, about to run our gate, whose parent is no bubblewrap any more.
    """
    found = {}
    for entry in os.listdir(proc):  # noqa: PTH208 (before each start)
        if entry.isdigit():
            place = proc / entry
            if _is_gate(place) and (fields := stat_fields(place / "stat")):
                found[int(entry)] = int(fields[1])
    ours = os.getpid()
    orphans = [pid for pid, parent in found.items() if parent not in found and parent != ours]
    orphans = [pid for pid in orphans if _is_first_inside(proc / str(pid))]
    for pid in orphans:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    return orphans


def _is_gate(place: Path) -> bool:
    with contextlib.suppress(OSError):
        if (place / "comm").read_bytes() != b"bwrap\n":
            return False
        command = (place / "cmdline").read_bytes().split(b"\0")
        return command[0].endswith(b"bwrap") and any(word.startswith(_SCRIPT.encode()) for word in command)
    return False


def _is_first_inside(place: Path) -> bool:
    """Whether the process is 1 in a pid namespace below ours."""
    with contextlib.suppress(OSError):
        for line in (place / "status").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("NSpid:"):
                return len(line.split()) > 2 and line.split()[-1] == "1"
    return False
