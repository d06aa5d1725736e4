"""Checks of the tracked files that no linter knows: length, and traces of one person's machine."""

import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

LONGEST = 400
"""Lines. A longer Python file has more than one subject."""

_MACHINE = re.compile(
    # Home and work folders. Workspaces have the same made-up user everywhere: /home/researcher.
    r"(?<![\w./-])/(?:root|work|Users|home(?!/researcher\b)/[\w.-]+)/[\w.]"
    # Where one person's pip finds packages.
    r"|--(?:extra-)?index-url[= ]|--find-links[= ]|(?:^|[\s_-])index[-_]url\s*=|://[^\s/]+/(?:\S+/)?simple\b"
    r"|files\.pythonhosted\.org|registry\.npmjs\.org|registry\.yarnpkg\.com|conda\.anaconda\.org"
)
ALLOWED_HERE = re.compile(r"machine-path: \S")
"""A line that must hold such a text says why: `machine-path: REASON`."""


def tracked(root: Path) -> list[Path]:
    """Return the files that git tracks in `root` and that exist.

    Raises:
        subprocess.CalledProcessError: `root` is no git checkout.
    """
    # The checkout may belong to another account (a container's volume); reading the list is harmless.
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    listing = subprocess.run(command, cwd=root, capture_output=True, check=True).stdout.decode()
    return [path for name in listing.split("\0") if name and (path := root / name).is_file()]


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


def machine_traces(text: str) -> Iterator[tuple[int, str]]:
    """Yield line number and text of every absolute path of a machine or address of a package index."""
    for number, line in enumerate(text.splitlines(), start=1):
        found = _MACHINE.search(line)
        if found and not ALLOWED_HERE.search(line):
            yield number, found.group().strip()


def traces_in(root: Path, files: Iterable[Path]) -> list[str]:
    """Return one line for every trace of a machine in `files`."""
    return [
        f"{path.relative_to(root)}:{number}: names a machine or a package index: {trace}"
        for path in files
        if (text := _text(path)) is not None
        for number, trace in machine_traces(text)
    ]


def too_long(root: Path, files: Iterable[Path]) -> list[str]:
    """Return one line for every Python file of more than `LONGEST` lines."""
    lengths = ((path, len((_text(path) or "").splitlines())) for path in files if path.suffix == ".py")
    return [
        f"{path.relative_to(root)}: {lines} lines, at most {LONGEST}"
        for path, lines in lengths
        if lines > LONGEST
    ]
