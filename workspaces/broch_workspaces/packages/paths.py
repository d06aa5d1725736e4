"""What a zone may ask the package route: one canonical form each, compared with the request's own bytes. Pure.

The gateway and the route both use it. Nothing is joined or normalised, and two encodings pass, each in the one place where
a client writes it: npm's `%2f` in a scoped name, and pip's `%2B` and `%21` for `+` and `!` in the address of a file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from broch_workspaces.packages.spec import Ecosystem

_PYPI = r"(?P<name>[a-z0-9]+(?:-[a-z0-9]+)*)"
_CRAN = r"(?P<name>[A-Za-z][A-Za-z0-9.]*[A-Za-z0-9])"
_NPM = r"(?P<name>@[a-z0-9][a-z0-9._-]*{slash}[a-z0-9_][a-z0-9._-]*|[A-Za-z0-9_][A-Za-z0-9._-]*)"
"""Names without a scope may be older than npm's rule that all are in lower case."""
_VERSION = r"(?P<version>[A-Za-z0-9][A-Za-z0-9._+!-]{0,99})"
_QUOTED_VERSION = r"(?P<version>[A-Za-z0-9](?:[A-Za-z0-9._+!-]|%2[Bb]|%21){0,99})"
_QUOTED_FILE = r"(?P<file>[A-Za-z0-9_](?:[A-Za-z0-9._+!-]|%2[Bb]|%21){0,254})"
"""As pip writes them: local versions have a `+`, epochs a `!`."""
_QUOTED = {"%2B": "+", "%2b": "+", "%21": "!"}
_CHANNEL = r"(?P<channel>[a-z0-9][a-z0-9_.-]{0,63})"
_SUBDIR = r"(?P<subdir>[a-z0-9][a-z0-9_-]{0,31})"
LONGEST_TARGET = 1024
"""Bytes of a request line's target."""
_LONGEST_NAME = 214
"""Bytes of a package's name; npm's limit, and the largest of them all."""


class What(StrEnum):
    """Kinds of answers."""

    INDEX = "index"
    """What versions and files there are; made from the list."""
    FILE = "file"
    RESOURCE = "resource"
    ABSENT = "absent"
    """Clients ask for it and do well without: an index in a form that is not made here."""


@dataclass(frozen=True)
class Ask:
    """What a request line asks for."""

    what: What
    ecosystem: Ecosystem | None = None
    name: str = ""
    """Of the package, canonical; or slug of a resource."""
    version: str = ""
    """Only where the address says it apart from the file's name."""
    file: str = ""
    channel: str = ""
    subdir: str = ""
    packed: bool = False
    """CRAN's index is wanted with gzip."""


_FORMS: tuple[tuple[re.Pattern[str], What, Ecosystem | None], ...] = (
    (re.compile(rf"/packages/pypi/simple/{_PYPI}/"), What.INDEX, Ecosystem.PYPI),
    (
        re.compile(rf"/packages/pypi/files/{_PYPI}/{_QUOTED_VERSION}/{_QUOTED_FILE}"),
        What.FILE,
        Ecosystem.PYPI,
    ),
    (re.compile(r"/packages/cran/src/contrib/PACKAGES\.rds"), What.ABSENT, Ecosystem.CRAN),
    (re.compile(r"/packages/cran/src/contrib/PACKAGES(?P<packed>\.gz)?"), What.INDEX, Ecosystem.CRAN),
    (
        re.compile(rf"/packages/cran/src/contrib/(?P<file>{_CRAN}_{_VERSION}\.tar\.gz)"),
        What.FILE,
        Ecosystem.CRAN,
    ),
    (re.compile(rf"/packages/conda/{_CHANNEL}/{_SUBDIR}/repodata\.json"), What.INDEX, Ecosystem.CONDA),
    (
        re.compile(
            rf"/packages/conda/{_CHANNEL}/{_SUBDIR}/(?:current_)?repodata(?:_shards)?\.(?:json|jlap|state\.json|msgpack)"
            r"(?:\.zst|\.bz2)?"
        ),
        What.ABSENT,
        Ecosystem.CONDA,
    ),
    (
        re.compile(
            rf"/packages/conda/{_CHANNEL}/{_SUBDIR}/(?P<file>[A-Za-z0-9_][A-Za-z0-9._+!-]{{0,245}}\.(?:conda|tar\.bz2))"
        ),
        What.FILE,
        Ecosystem.CONDA,
    ),
    (re.compile(r"/packages/npm/" + _NPM.format(slash="%2f")), What.INDEX, Ecosystem.NPM),
    (re.compile(r"/packages/npm/" + _NPM.format(slash="/")), What.INDEX, Ecosystem.NPM),
    (
        re.compile(
            r"/packages/npm/"
            + _NPM.format(slash="/")
            + r"/-/(?P<file>[A-Za-z0-9_][A-Za-z0-9._+!-]{0,250}\.tgz)"
        ),
        What.FILE,
        Ecosystem.NPM,
    ),
    (re.compile(r"/resources/(?P<name>[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)"), What.RESOURCE, None),
)


def find_ask(method: str, target: str) -> Ask | None:
    """Return what a request line asks for, if it is one of the forms.

    Args:
        method: as it came.
        target: path and query as they came.
    """
    if method not in {"GET", "HEAD"} or ".." in target:
        return None
    for pattern, what, ecosystem in _FORMS:
        if (found := pattern.fullmatch(target)) is None:
            continue
        parts = found.groupdict()
        name = (parts.get("name") or "").replace("%2f", "/")
        if len(name) > _LONGEST_NAME or (method == "HEAD" and what is What.RESOURCE):
            return None
        return Ask(
            what,
            ecosystem,
            name=name,
            version=_plain(parts.get("version")),
            file=_plain(parts.get("file")),
            channel=parts.get("channel") or "",
            subdir=parts.get("subdir") or "",
            packed=bool(parts.get("packed")),
        )
    return None


def _plain(part: str | None) -> str:
    """Return a part without the encodings that its form lets pass."""
    part = part or ""
    for quoted, plain in _QUOTED.items():
        part = part.replace(quoted, plain)
    return part
