"""Finds the format of a lock file by its name, and has it read."""

from __future__ import annotations

import re
from collections.abc import Callable

from broch_workspaces.packages.locks import conda, node, python, r
from broch_workspaces.packages.locks.lock import (
    LARGEST_LOCK,
    LONGEST_LINE,
    Gathered,
    Lock,
    LockKind,
    LockUnreadable,
    Problem,
)

KNOWN = (
    "requirements.txt, pylock.toml, uv.lock, package-lock.json, conda-lock.yml, a conda list with @EXPLICIT (.txt), "
    "or renv.lock"
)
"""For sentences that say what may be given."""
_Reader = Callable[[str, Gathered], None]
_NAMES: tuple[tuple[re.Pattern[str], LockKind, _Reader], ...] = (
    (re.compile(r"pylock(\.[^.]+)?\.toml"), LockKind.PYLOCK, python.read_pylock),
    (re.compile(r"uv\.lock"), LockKind.UV, python.read_uv),
    (re.compile(r"(package-lock|npm-shrinkwrap)\.json"), LockKind.NPM, node.read_package_lock),
    (re.compile(r"(.+[.-])?conda-lock\.ya?ml"), LockKind.CONDA_LOCK, conda.read_conda_lock),
    (re.compile(r"renv\.lock"), LockKind.RENV, r.read_renv),
)
_TEXT = re.compile(r".+\.(txt|in|lock)")
_EXPLICIT = re.compile(r"^@EXPLICIT[ \t]*$", re.MULTILINE)
# npm and renv write JSON, whose line ends nobody is held to.
_ONE_LINE = frozenset({LockKind.NPM, LockKind.RENV})


def parse_lock(filename: str, data: bytes) -> Lock:
    """Return what a lock file asks for. Never raises for anything that a file may hold.

    Args:
        filename: its last part tells the format.
        data: all of the file.
    """
    if len(data) > LARGEST_LOCK:
        return _nothing(f"The file is larger than {LARGEST_LOCK >> 20} MiB. No lock file of a project is.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return _nothing("The file is not text in UTF-8.")
    found = _format(filename, text)
    if found is None:
        return _nothing(f"The name of the file says nothing that is understood. Give a {KNOWN}.")
    kind, read = found
    gathered = Gathered()
    try:
        if kind not in _ONE_LINE:
            _check_lines(text)
        read(text, gathered)
    except LockUnreadable as error:
        return Lock(kind, (), (Problem(str(error), error.line),))
    lock = gathered.lock(kind)
    if not lock.wanted and not lock.problems:
        return Lock(kind, (), (Problem("The file asks for no packages."),))
    return lock


def _format(filename: str, text: str) -> tuple[LockKind, _Reader] | None:
    name = re.split(r"[/\\]", filename)[-1].lower()
    for pattern, kind, read in _NAMES:
        if pattern.fullmatch(name):
            return kind, read
    if _TEXT.fullmatch(name) is None:
        return None
    if _EXPLICIT.search(text):
        return LockKind.CONDA_EXPLICIT, conda.read_explicit
    return LockKind.REQUIREMENTS, python.read_requirements


def _check_lines(text: str) -> None:
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > LONGEST_LINE:
            raise LockUnreadable(
                f"It is longer than {LONGEST_LINE:,} characters. No package manager writes that.", number
            )


def _nothing(text: str) -> Lock:
    return Lock(None, (), (Problem(text),))
