"""What a lock file says, whatever its format."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import ValidationError

from broch_workspaces.packages.names import canonical_name
from broch_workspaces.packages.spec import Ecosystem, Wanted

LARGEST_LOCK = 8 << 20
"""Bytes of a lock file. 8 MiB: the largest of real projects (conda, all platforms) have 3."""
LONGEST_LINE = 20_000
"""Characters. Longer ones are of no package manager."""
MOST_ENTRIES = 5_000
"""Packages of one lock file; the largest of real projects have 2,000."""
MOST_PROBLEMS = 100
DEEPEST = 30
"""Levels of lists and objects in each other; npm nests 6."""
_HEX = {"sha256": 64, "sha512": 128}


class LockKind(StrEnum):
    """Formats that are understood."""

    REQUIREMENTS = "requirements.txt"
    PYLOCK = "pylock.toml"
    UV = "uv.lock"
    NPM = "package-lock.json"
    CONDA_EXPLICIT = "conda explicit list"
    CONDA_LOCK = "conda-lock.yml"
    RENV = "renv.lock"


@dataclass(frozen=True)
class Locked:
    """One version of one package that a lock file asks for."""

    wanted: Wanted
    digests: tuple[str, ...] = ()
    """Of its files, `sha256:` or `sha512:` and hexadecimal, as the lock file says them; the bytes may be any of these.
    Empty: it says none that count."""
    line: int | None = None
    """Where in the file, from 1; None where the format does not tell."""


@dataclass(frozen=True)
class Problem:
    """Something that cannot be taken from the file, in words for the person who wrote it."""

    text: str
    line: int | None = None

    def __str__(self) -> str:
        """Return the line and the text."""
        return self.text if self.line is None else f"Line {self.line}: {self.text}"


@dataclass(frozen=True)
class Lock:
    """What one lock file asks for. With problems the rest still counts; whether it is enough is for the caller to say."""

    kind: LockKind | None
    """None: it is no format that is understood, and nothing was taken from it."""
    wanted: tuple[Locked, ...] = ()
    """Each version once, in the order of the file."""
    problems: tuple[Problem, ...] = ()


class LockUnreadable(Exception):
    """Nothing can be taken from the file; the text says why, for the person who wrote it."""

    def __init__(self, text: str, line: int | None = None) -> None:
        super().__init__(text)
        self.line = line


@dataclass
class Gathered:
    """Takes in entries and problems while a file is read."""

    _wanted: dict[tuple[str, str, str, str], Locked] = field(default_factory=dict)
    _problems: list[Problem] = field(default_factory=list)
    _more: int = 0

    def problem(self, text: str, line: int | None = None) -> None:
        """Note what cannot be taken; beyond `MOST_PROBLEMS` they are counted only."""
        if len(self._problems) < MOST_PROBLEMS:
            self._problems.append(Problem(text, line))
        else:
            self._more += 1

    def want(
        self,
        ecosystem: Ecosystem,
        name: str,
        version: str,
        *,
        channel: str = "",
        digests: Iterable[str | None] = (),
        line: int | None = None,
    ) -> None:
        """Note one version of one package; the digests of one that is named twice are added up.

        Args:
            ecosystem: where it is from.
            name: as the file says it.
            version: as the file says it.
            channel: conda's.
            digests: `None` among them are left out.
            line: where in the file.

        Raises:
            LockUnreadable: there are more than `MOST_ENTRIES`.
        """
        try:
            wanted = Wanted(
                ecosystem=ecosystem, name=canonical_name(ecosystem, name), version=version, channel=channel
            )
        except ValidationError as error:
            part = str(error.errors()[0]["loc"][0])
            value = {"name": name, "version": version, "channel": channel}.get(part, name)
            self.problem(f"'{printable(value)}' is no {part} of a package of {TITLES[ecosystem]}.", line)
            return
        key = (wanted.ecosystem.value, wanted.name, wanted.version, wanted.channel)
        known = self._wanted.get(key)
        if known is None and len(self._wanted) >= MOST_ENTRIES:
            raise LockUnreadable(f"The file asks for more than {MOST_ENTRIES:,} packages.")
        before = known.digests if known else ()
        new = dict.fromkeys([*before, *(one for one in digests if one)])
        self._wanted[key] = Locked(wanted, tuple(new), known.line if known else line)

    def lock(self, kind: LockKind) -> Lock:
        """Return all of it."""
        problems = [*self._problems]
        if self._more:
            problems.append(Problem(f"There are {self._more:,} more problems like these."))
        return Lock(kind, tuple(self._wanted.values()), tuple(problems))


TITLES = {Ecosystem.PYPI: "PyPI", Ecosystem.CRAN: "CRAN", Ecosystem.CONDA: "conda", Ecosystem.NPM: "npm"}


def printable(text: object, longest: int = 80) -> str:
    """Return text of a file as it can be shown in a sentence: cut, and what cannot be printed replaced."""
    shown = "".join(char if char.isprintable() else "?" for char in str(text)[: longest + 1])
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def hex_digest(text: object) -> str | None:
    """Return `sha256:<hex>` or `sha512:<hex>` in our form, or None for any other digest."""
    if not isinstance(text, str):
        return None
    kind, _, value = text.partition(":")
    value = value.lower()
    if _HEX.get(kind) == len(value) and re.fullmatch(r"[0-9a-f]+", value):
        return f"{kind}:{value}"
    return None


def integrity_digest(text: object) -> str | None:
    """Return the strongest digest of a Subresource Integrity text (`sha512-<base64>`), or None."""
    if not isinstance(text, str):
        return None
    found = []
    for one in text.split()[:10]:
        kind, _, value = one.partition("-")
        try:
            raw = base64.b64decode(value.partition("?")[0], validate=True)
        except (binascii.Error, ValueError):
            continue
        if (digest := hex_digest(f"{kind}:{raw.hex()}")) is not None:
            found.append(digest)
    return max(found, default=None)
