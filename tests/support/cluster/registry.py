"""A registry of Python packages beside the cluster, over TLS, as an institution's mirror would be."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.cluster.authority import Authority
from support.cluster.places import Place, answers
from support.packages import sha256, wheel

PORT = 3141
_SERVER = Path(__file__).with_name("registry_inside.py")


@dataclass(frozen=True)
class Registry:
    """A running registry; the certificate is of the tests' authority."""

    address: str
    port: int
    folder: Path
    log: Path

    @property
    def url(self) -> str:
        """Its address as the package route is told it."""
        return f"https://{self.address}:{self.port}"

    def publish(self, name: str, version: str, licence: str = "MIT") -> str:
        """Have a version with one wheel; return the SHA-256 of the wheel."""
        file, data = wheel(name, version)
        digest = sha256(data)
        files = self.folder / "files" / digest[:8]
        index = self.folder / "simple" / name
        about = self.folder / "pypi" / name / version
        for folder in (files, index, about):
            folder.mkdir(parents=True)
        (files / file).write_bytes(data)
        entry = {"filename": file, "url": f"../../files/{digest[:8]}/{file}", "hashes": {"sha256": digest}, "size": len(data)}  # fmt: skip
        page = {"meta": {"api-version": "1.0"}, "name": name, "files": [entry]}
        (index / "index.json").write_text(json.dumps(page))
        (about / "json").write_text(
            json.dumps({"info": {"license_expression": licence, "summary": "A package."}})
        )
        return digest

    def asked(self) -> list[str]:
        """Return the paths that it was asked for, oldest first."""
        return self.log.read_text().splitlines()


@contextmanager
def running_registry(place: Place, authority: Authority, folder: Path) -> Iterator[Registry]:
    """Run an empty registry at a place's address for the time of a `with` block.

    Args:
        place: where.
        authority: who issues its certificate.
        folder: for its files.
    """
    files = authority.issue("registry.outside", addresses=[place.address]).write(folder / "tls")
    found = Registry(place.address, PORT, folder / "packages", folder / "registry.log")
    found.folder.mkdir()
    words = (
        sys.executable, "-I", "-S", _SERVER,
        place.address, str(PORT), files.certificate, files.key, found.folder,
    )  # fmt: skip
    with place.running(words, found.log, ready=answers(place.address, PORT)):
        yield found
