"""Lock files of conda: lists with `@EXPLICIT`, and `conda-lock.yml`."""

from __future__ import annotations

import re

from broch_workspaces.packages.locks.lock import Gathered, LockUnreadable, hex_digest, printable
from broch_workspaces.packages.locks.structures import read_yaml, rows, text_of, texts
from broch_workspaces.packages.spec import Ecosystem

_ADDRESS = re.compile(
    r"https://[A-Za-z0-9.:-]+/(?:[A-Za-z0-9._~-]+/)*?(?P<channel>[A-Za-z0-9._-]+)/(?P<subdir>[a-z0-9_-]+)/"
    r"(?P<name>[A-Za-z0-9._-]+?)-(?P<version>[^-/]+)-(?P<build>[^-/]+)\.(?:conda|tar\.bz2)"
)
_LONGEST_ADDRESS = 1000
_DIGEST = re.compile(r"(?:sha256:)?([0-9a-f]{64})")


def read_explicit(text: str, gathered: Gathered) -> None:
    """Take the packages of a list that `conda list --explicit` wrote."""
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#") or line == "@EXPLICIT":
            continue
        address, _, digest = line.partition("#")
        found = _DIGEST.fullmatch(digest)
        _take(address, hex_digest(f"sha256:{found[1]}") if found else None, number, gathered)


def read_conda_lock(text: str, gathered: Gathered) -> None:
    """Take the packages of a `conda-lock.yml` of version 1; those of pip among them are PyPI's.

    Raises:
        LockUnreadable: it is none.
    """
    table = read_yaml(text)
    if table.get("version") != "1" or not isinstance(table.get("package"), list):
        raise LockUnreadable("This is no conda-lock.yml of version 1.")
    for package in rows(table["package"]):
        digest = hex_digest(f"sha256:{text_of(texts(package.get('hash')), 'sha256')}")
        name, version = text_of(package, "name"), text_of(package, "version")
        if text_of(package, "manager") == "pip":
            gathered.want(Ecosystem.PYPI, name, version, digests=[digest])
        elif text_of(package, "manager") == "conda":
            _take(text_of(package, "url"), digest, None, gathered)
        else:
            gathered.problem(f"'{printable(name)}' is neither from conda nor from PyPI.")


def _take(address: str, digest: str | None, line: int | None, gathered: Gathered) -> None:
    found = _ADDRESS.fullmatch(address) if len(address) <= _LONGEST_ADDRESS else None
    if found is None:
        gathered.problem(
            f"'{printable(address)}' is no address of a conda package: "
            "https://HOST/CHANNEL/PLATFORM/NAME-VERSION-BUILD.conda",
            line,
        )
        return
    gathered.want(
        Ecosystem.CONDA,
        found["name"],
        found["version"],
        channel=found["channel"],
        digests=[digest],
        line=line,
    )
