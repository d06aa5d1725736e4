"""Lock files of npm: `package-lock.json` and `npm-shrinkwrap.json`, versions 2 and 3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from broch_workspaces.packages.locks.lock import Gathered, LockUnreadable, integrity_digest, printable
from broch_workspaces.packages.locks.structures import lines_of_keys, read_json, text_of, texts
from broch_workspaces.packages.spec import Ecosystem

_FOLDER = "node_modules/"
_LOCAL = ("file:", "git", "link:", "workspace:", "github:")


def read_package_lock(text: str, gathered: Gathered) -> None:
    """Take the packages of a `package-lock.json`.

    Raises:
        LockUnreadable: it is none, or of npm 6 and before.
    """
    table = read_json(text)
    if table.get("lockfileVersion") not in (2, 3) or not isinstance(table.get("packages"), dict):
        raise LockUnreadable(
            "This is no package-lock.json of version 2 or 3. Make it anew with npm 7 or later: npm install --package-lock-only."
        )
    lines = lines_of_keys(text)
    for place, entry in table["packages"].items():
        if place:  # the empty one is the project itself
            _entry(place, texts(entry), lines.get(place), gathered)


def _entry(place: str, entry: Mapping[str, Any], line: int | None, gathered: Gathered) -> None:
    if _FOLDER not in place or entry.get("link") is True:
        # A folder of the project's own, and the link to it.
        return
    name = text_of(entry, "name") or place.rpartition(_FOLDER)[2]
    version = text_of(entry, "version")
    if entry.get("inBundle") is True:
        return  # it comes inside another's file
    if not version or version.startswith(_LOCAL) or text_of(entry, "resolved").startswith(_LOCAL):
        gathered.problem(f"'{printable(name)}' is not from the npm registry.", line)
        return
    digest = integrity_digest(entry.get("integrity"))
    gathered.want(Ecosystem.NPM, name, version, digests=[digest], line=line)
