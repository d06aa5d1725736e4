"""Lock files of R: `renv.lock`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from broch_workspaces.packages.locks.lock import Gathered, LockUnreadable, printable
from broch_workspaces.packages.locks.structures import lines_of_keys, read_json, text_of, texts
from broch_workspaces.packages.spec import Ecosystem

_CRAN = ("", "cran", "rspm", "ppm", "p3m")
"""Repositories that serve CRAN's packages, as renv names them."""


def read_renv(text: str, gathered: Gathered) -> None:
    """Take the packages of a `renv.lock`. Its hashes are of descriptions, not of files: they say nothing of bytes.

    Raises:
        LockUnreadable: it is none.
    """
    table = read_json(text)
    if not isinstance(table.get("Packages"), dict):
        raise LockUnreadable("This is no renv.lock: it has no 'Packages'.")
    lines = lines_of_keys(text)
    for key, entry in table["Packages"].items():
        _entry(key, texts(entry), lines.get(key), gathered)


def _entry(key: str, entry: Mapping[str, Any], line: int | None, gathered: Gathered) -> None:
    name = text_of(entry, "Package") or key
    source, repository = text_of(entry, "Source"), text_of(entry, "Repository")
    known = repository.lower() in _CRAN or repository.startswith("https://")
    if source not in {"Repository", "CRAN"} or not known:
        where = repository or source or "nowhere"
        gathered.problem(f"'{printable(name)}' is from {printable(where)}, not from CRAN.", line)
        return
    gathered.want(Ecosystem.CRAN, name, text_of(entry, "Version"), line=line)
