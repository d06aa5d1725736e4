"""The moment between making a sandbox and being sure that it dies with us.

bubblewrap's processes ask the kernel to be killed with their parent (PR_SET_PDEATHSIG) only at the end of their
set-up. Whoever is killed before that leaves an orphan. So what runs inside first waits for a word from us, and ends
when we are gone; and we give the word only when both processes of bubblewrap have made their arrangement.
"""

from __future__ import annotations

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
