# ruff: noqa: INP001 (run by its path, inside images)
"""Compile every module below the named folders, the same bytes each time. Runs inside images; standard library only.

A root that is read-only keeps no byte code: without it a notebook server needs 3.3 s to start in place of 1.8 s. Marshal
writes an object that is alive elsewhere in the process differently, so each top-level name gets a process of its own.
"""

import multiprocessing
import os
import py_compile
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

_NO_CODE = {"__pycache__", "tests", "test"}
"""Tests of packages stay, for who wants to read them; nobody waits for them at start."""


def modules(folder: Path) -> Iterator[Path]:
    """Yield the modules below a folder, in the order of their names."""
    for place, below, names in os.walk(folder):
        below[:] = sorted(set(below) - _NO_CODE)
        yield from (Path(place, name) for name in sorted(names) if name.endswith(".py"))


def shares(roots: list[Path]) -> list[tuple[str, ...]]:
    """Return what one process compiles each: a top-level folder, or all modules that lie in a root itself."""
    found: list[tuple[str, ...]] = []
    for root in roots:
        within = sorted(root.iterdir())
        found.append(tuple(str(path) for path in within if path.suffix == ".py"))
        found += [
            tuple(map(str, modules(path))) for path in within if path.is_dir() and path.name not in _NO_CODE
        ]
    return [share for share in found if share]


def compile_share(paths: tuple[str, ...]) -> None:
    """Compile some modules. One that is no Python of this version is left as it is: templates, old branches."""
    warnings.simplefilter("ignore")
    # Never looked at again at import: files in an image do not change.
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    for path in paths:
        py_compile.compile(path, quiet=2, invalidation_mode=mode)


def main() -> None:
    """Compile below the folders that are named as arguments."""
    work = shares([Path(name) for name in sys.argv[1:]])
    # The largest first: the last process to end is then a short one.
    work.sort(key=len, reverse=True)
    with multiprocessing.get_context("fork").Pool(maxtasksperchild=1) as pool:
        for _ in pool.imap_unordered(compile_share, work):
            pass


if __name__ == "__main__":
    main()
