"""The locks: `requirements.lock` for who runs Broch, `requirements-dev.lock` for who changes it.

Both hold names, versions, markers and hashes, and no addresses: where files come from is each person's
own pip configuration. Made for every Python from 3.11 on at once; the wheels must exist for Linux on
x86-64 and ARM, because nothing is built at installation.
"""

import dataclasses
import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from broch.dev.environment import DEV_LOCK, RUNTIME_LOCK, cache_settings, pip_settings, say, uv_settings

RUNTIME_EXTRAS = ("workspace", "setup")
DEV_EXTRAS = (*RUNTIME_EXTRAS, "dev")
PLATFORMS = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28")
"""glibc 2.28 is RHEL 8 and older than every Debian or Ubuntu that has Python 3.11."""
PYTHONS = ("3.11", "3.12", "3.13")

_PIN = re.compile(
    r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[^\s;\\]+)(?P<rest>.*(?:\n .*)*)", re.MULTILINE
)
_INPUTS = re.compile(r"^# inputs sha256:([0-9a-f]{64})$", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Pin:
    """One `name==version` of a lock; a name may have several, for different Pythons."""

    name: str
    version: str
    hashed: bool


def pins(lock: str) -> list[Pin]:
    """Return what a lock pins, names in canonical form."""
    return [
        Pin(canonicalize_name(found["name"]), found["version"], "--hash=sha256:" in found["rest"])
        for found in _PIN.finditer(lock)
    ]


def requirements(project: dict[str, Any], extras: Iterable[str]) -> list[str]:
    """Return the requirements that `[project]` of pyproject.toml states, with those of `extras`."""
    optional = project.get("optional-dependencies", {})
    return sorted([*project["dependencies"], *(line for extra in extras for line in optional[extra])])


def inputs_digest(project: dict[str, Any], extras: Iterable[str]) -> str:
    """Return the sha256 of everything in pyproject.toml that a lock is made from."""
    inputs = [project["requires-python"], *requirements(project, extras)]
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()


def problems(pyproject: str, runtime_lock: str, dev_lock: str) -> list[str]:
    """Return in what the locks do not answer to pyproject.toml, or to each other. Needs no network."""
    project = tomllib.loads(pyproject)["project"]
    found = []
    for name, lock, extras in (
        (RUNTIME_LOCK, runtime_lock, RUNTIME_EXTRAS),
        (DEV_LOCK, dev_lock, DEV_EXTRAS),
    ):
        pinned = pins(lock)
        for line in requirements(project, extras):
            wanted = Requirement(line)
            versions = [pin.version for pin in pinned if pin.name == canonicalize_name(wanted.name)]
            if not versions:
                found.append(f"{name} has no pin for {line}")
            found += [
                f"{name} pins {wanted.name} {version}, pyproject.toml wants {line}"
                for version in versions
                if not wanted.specifier.contains(version, prereleases=True)
            ]
        found += [f"{name} has no hash for {pin.name} {pin.version}" for pin in pinned if not pin.hashed]
        if "://" in lock or re.search(r"^-", lock, flags=re.MULTILINE):
            found.append(f"{name} holds an address or an option: it must hold pins and hashes alone")
        made_from = _INPUTS.search(lock)
        if not found and (made_from is None or made_from[1] != inputs_digest(project, extras)):
            found.append(f"{name} was made from other dependencies than pyproject.toml states")
    missing = set(pins(runtime_lock)) - set(pins(dev_lock))
    found += [
        f"{DEV_LOCK} does not pin {pin.name} {pin.version} as {RUNTIME_LOCK} does"
        for pin in sorted(missing, key=str)
    ]
    return [f"{problem}: run ./broch lock" for problem in found]


def stale(root: Path) -> list[str]:
    """Return the `problems` of the locks in `root`."""
    names = ("pyproject.toml", RUNTIME_LOCK, DEV_LOCK)
    return problems(*((root / name).read_text() for name in names))


def _uv(root: Path, *arguments: str) -> None:
    uv = Path(sys.executable).with_name("uv")
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    extra = cache_settings(root, os.environ) | uv_settings(pip_settings(listing.stdout), os.environ)
    subprocess.run(
        [uv, "pip", "compile", "--quiet", *arguments], cwd=root, env=os.environ | extra, check=True
    )


def _compile(root: Path, lock: str, extras: Iterable[str], arguments: Iterable[str]) -> None:
    path = root / lock
    new = root / f".{lock}.new"
    # uv keeps the pins that it finds in its output file unless told to upgrade.
    new.write_bytes(path.read_bytes() if path.exists() else b"")
    try:
        selected = [f"--extra={extra}" for extra in extras]
        _uv(root, "pyproject.toml", *selected, *arguments, f"--output-file={new.name}")
        project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
        header = (
            f"# Made by ./broch lock from pyproject.toml.\n# inputs sha256:{inputs_digest(project, extras)}\n"
        )
        path.write_text(header + new.read_text())
    finally:
        new.unlink(missing_ok=True)


def make(root: Path, *, upgrade: tuple[str, ...] | None) -> int:
    """Make both locks anew and try that every wheel exists; return the exit status.

    `upgrade`: None keeps what is pinned where it still fits, () takes the newest of everything, names take
    the newest of those.
    """
    how = ["--universal", "--python-version=3.11", "--generate-hashes", "--no-build", "--no-header"]
    how += ["--no-emit-index-url", "--no-emit-find-links"]
    if upgrade is not None:
        how += [f"--upgrade-package={name}" for name in upgrade] or ["--upgrade"]
    try:
        _compile(root, RUNTIME_LOCK, RUNTIME_EXTRAS, how)
        _compile(root, DEV_LOCK, DEV_EXTRAS, [*how, f"--constraints={RUNTIME_LOCK}"])
        for platform in PLATFORMS:
            for python in PYTHONS:
                say(f"wheels for {platform}, Python {python}")
                at = [
                    f"--python-platform={platform}",
                    f"--python-version={python}",
                    "--no-build",
                    "--no-deps",
                ]
                _uv(root, DEV_LOCK, *at, f"--output-file={os.devnull}")
    except subprocess.CalledProcessError as failed:
        say(f"uv ended with {failed.returncode}; the reason is above")
        return 1
    found = stale(root)
    for problem in found:
        say(problem)
    return 1 if found else 0
