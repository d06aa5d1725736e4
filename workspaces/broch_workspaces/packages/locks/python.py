"""Lock files of Python: `requirements.txt` with pins, `pylock.toml` (PEP 751), `uv.lock`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from broch_workspaces.packages.locks.lock import Gathered, LockUnreadable, hex_digest, printable
from broch_workspaces.packages.locks.structures import read_toml, rows, text_of, texts
from broch_workspaces.packages.spec import Ecosystem

_REQUIREMENT = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)[ \t]*(?:\[[A-Za-z0-9._, \t-]*\])?[ \t]*(?P<rest>.*)", re.DOTALL
)
_PIN = re.compile(r"\(?[ \t]*={2,3}[ \t]*(?P<version>[^ \t,;)]+)[ \t]*\)?")
_HASH = re.compile(r"(?:^|[ \t])--hash[= \t](?P<digest>\S+)")
_OPTION = re.compile(r"(?:^|[ \t])--?[A-Za-z]")
_ELSEWHERE = ("vcs", "directory", "archive")
_NOT_REGISTRY = ("git", "url", "path", "directory")
_OWN = ("virtual", "editable")


def read_requirements(text: str, gathered: Gathered) -> None:
    """Take the pins of a requirements file as pip reads it; nothing that it includes is followed."""
    for number, line in _logical_lines(text):
        if line.startswith("-"):
            word = re.split(r"[ \t=]", line, maxsplit=1)[0]
            if word in {"-r", "--requirement", "-c", "--constraint"}:
                gathered.problem("Other files are not followed. Give each file by itself.", number)
            elif word in {"-e", "--editable"}:
                gathered.problem("A folder or repository is no package of PyPI.", number)
            else:
                gathered.problem(
                    f"The option {printable(word)} is left out: where packages come from is not the file's to say.",
                    number,
                )
            continue
        _requirement(line, number, gathered)


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Join lines that end with a backslash, drop comments, as pip does."""
    start, parts = 0, list[str]()
    for number, raw in enumerate(text.splitlines(), 1):
        start = start if parts else number
        if raw.endswith("\\") and not raw.lstrip().startswith("#"):
            parts.append(raw[:-1])
            continue
        joined = re.sub(r"(^|[ \t])#.*$", "", " ".join([*parts, raw]))
        parts = []
        if joined.strip():
            yield start, joined.strip()
    if parts and " ".join(parts).strip():
        yield start, " ".join(parts).strip()


def _requirement(line: str, number: int, gathered: Gathered) -> None:
    digests = [hex_digest(found["digest"]) for found in _HASH.finditer(line)]
    body = _HASH.sub(" ", line)
    if (option := _OPTION.search(body)) is not None:
        body = body[: option.start()]
    body = body.partition(";")[0].strip()
    found = _REQUIREMENT.fullmatch(body)
    if found is None or "://" in body or "@" in found["rest"] or "/" in body:
        gathered.problem(f"'{printable(body)}' is no package with a version, such as 'numpy==2.1.0'.", number)
        return
    pin = _PIN.fullmatch(found["rest"].strip())
    if pin is None or "*" in pin["version"]:
        gathered.problem(
            f"'{printable(found['name'])}' has no one version. Pin it with '==', "
            "or make a lock file (pip lock, uv lock, pip-compile --generate-hashes).",
            number,
        )
        return
    gathered.want(Ecosystem.PYPI, found["name"], pin["version"], digests=digests, line=number)


def read_pylock(text: str, gathered: Gathered) -> None:
    """Take the packages of a `pylock.toml` (PEP 751).

    Raises:
        LockUnreadable: it is none.
    """
    table = read_toml(text)
    if not text_of(table, "lock-version").startswith("1."):
        raise LockUnreadable("This is no pylock.toml of version 1 (PEP 751).")
    for line, package in _with_lines(text, "packages", table):
        name = text_of(package, "name")
        if any(key in package for key in _ELSEWHERE):
            gathered.problem(f"'{printable(name)}' is not from PyPI.", line)
            continue
        files = [*rows(package.get("wheels")), texts(package.get("sdist"))]
        digests = [hex_digest(f"sha256:{text_of(texts(file.get('hashes')), 'sha256')}") for file in files]
        _pinned(gathered, package, digests, line)


def read_uv(text: str, gathered: Gathered) -> None:
    """Take the packages of a `uv.lock`.

    Raises:
        LockUnreadable: it is none.
    """
    table = read_toml(text)
    if table.get("version") != 1:
        raise LockUnreadable("This is no uv.lock of version 1.")
    for line, package in _with_lines(text, "package", table):
        source = texts(package.get("source"))
        if any(key in source for key in _OWN):
            continue  # the project itself
        if "registry" not in source or any(key in source for key in _NOT_REGISTRY):
            gathered.problem(f"'{printable(text_of(package, 'name'))}' is not from PyPI.", line)
            continue
        files = [*rows(package.get("wheels")), texts(package.get("sdist"))]
        _pinned(gathered, package, [hex_digest(file.get("hash")) for file in files], line)


def _pinned(
    gathered: Gathered, package: Mapping[str, Any], digests: list[str | None], line: int | None
) -> None:
    name, version = text_of(package, "name"), text_of(package, "version")
    if not version:
        gathered.problem(f"'{printable(name)}' has no version.", line)
        return
    gathered.want(Ecosystem.PYPI, name, version, digests=digests, line=line)


def _with_lines(
    text: str, key: str, table: Mapping[str, Any]
) -> Iterator[tuple[int | None, Mapping[str, Any]]]:
    """Yield the tables of `[[key]]` with their lines, which TOML's parser does not tell."""
    header = re.compile(rf"[ \t]*\[\[[ \t]*{key}[ \t]*\]\][ \t]*(#.*)?")
    lines = [number for number, line in enumerate(text.split("\n"), 1) if header.fullmatch(line.rstrip("\r"))]
    packages = rows(table.get(key))
    sure = len(lines) == len(packages)
    for index, package in enumerate(packages):
        yield (lines[index] if sure else None), package
