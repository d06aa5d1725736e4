"""Read the real data that ships inside installed packages, without importing them (that costs seconds)."""

from __future__ import annotations

import hashlib
from importlib import metadata
from pathlib import Path


class DemoDataError(RuntimeError):
    """A package is missing, or its bytes are not the ones that the demo describes."""


def _distribution(package: str) -> metadata.Distribution:
    try:
        return metadata.distribution(package)
    except metadata.PackageNotFoundError as error:
        raise DemoDataError(
            f"The demo data needs the package {package}. Install broch[workspace]."
        ) from error


def version(package: str) -> str:
    """Return the installed version of `package`.

    Raises:
        DemoDataError: the package is not installed.
    """
    return _distribution(package).version


def read(package: str, path: str) -> bytes:
    """Return the bytes of a file that ships in the wheel of `package`.

    Args:
        package: distribution name.
        path: place of the file as the wheel's RECORD has it, with forward slashes.

    Raises:
        DemoDataError: no such package or file.
    """
    place = Path(str(_distribution(package).locate_file(path)))
    try:
        return place.read_bytes()
    except OSError as error:
        raise DemoDataError(f"{package} {version(package)} has no file {path}.") from error


def read_pinned(package: str, path: str, sha256: str) -> bytes:
    """Return the bytes of a packaged file, only if they are the ones described (hex `sha256`).

    Raises:
        DemoDataError: no such file, or other bytes than those described.
    """
    content = read(package, path)
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise DemoDataError(
            f"{path} of {package} {version(package)} has changed: sha256 {found}, described as {sha256}."
        )
    return content


def licence(package: str) -> bytes:
    """Return the licence text that the wheel of `package` carries (PEP 639: `*.dist-info/licenses/`).

    Raises:
        DemoDataError: no such package, or it carries no licence file.
    """
    for file in sorted(_distribution(package).files or (), key=str):
        if len(file.parts) == 3 and file.parts[0].endswith(".dist-info") and file.parts[1] == "licenses":
            return Path(str(file.locate())).read_bytes()
    raise DemoDataError(f"{package} {version(package)} carries no licence file.")
