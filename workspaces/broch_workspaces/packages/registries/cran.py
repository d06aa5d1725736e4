"""A mirror of CRAN. Its index has MD5 alone and only the newest versions, so a package is fetched once to know it."""

from __future__ import annotations

import asyncio
import gzip
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, cast

from pydantic import ValidationError

from broch_core.errors import NotFound
from broch_workspaces.packages.errors import RegistryRefused
from broch_workspaces.packages.indexes import CRAN_FACTS
from broch_workspaces.packages.outside import Outside
from broch_workspaces.packages.registries.registry import text
from broch_workspaces.packages.scratch import Kept, Scratch
from broch_workspaces.packages.settings import PackagesSettings
from broch_workspaces.packages.spec import Ecosystem, Package, PackageFile, Resolved, Wanted

_FACTS = (*CRAN_FACTS, "NeedsCompilation")
_DESCRIPTION_BYTES = 1 << 20
_MEMBERS = 2000
"""How many members are looked at; DESCRIPTION is among the first."""
_UNPACKED_BYTES = 1 << 30
"""How far into the archive is looked, unpacked: packed zeros are a thousand times smaller."""
_LONGEST_FACT = 20_000


class Cran:
    """One mirror.

    Args:
        base: its address.
        outside: asks it.
        settings: which hosts files may be on, how large they may be.
        scratch: where a package lies while it is looked at.
    """

    def __init__(self, base: str, outside: Outside, settings: PackagesSettings, scratch: Scratch) -> None:
        self._base = base
        self._outside = outside
        self._hosts = settings.hosts(Ecosystem.CRAN)
        self._largest = settings.largest_file
        self._scratch = scratch

    async def addresses(self, package: Package, file: PackageFile) -> Sequence[str]:
        """Return where it is while it is the newest, and where it is afterwards."""
        return self._places(package.name, file.name)

    def _places(self, name: str, file: str) -> list[str]:
        return [f"{self._base}/src/contrib/{file}", f"{self._base}/src/contrib/Archive/{name}/{file}"]

    async def resolve(self, wanted: Wanted) -> Resolved:
        """Return the source package with its SHA-256, and what its DESCRIPTION says."""
        file = f"{wanted.name}_{wanted.version}.tar.gz"
        kept = await self._fetch(wanted, file)
        fields = await asyncio.to_thread(read_description, kept.path, wanted.name)
        if fields.get("Package") != wanted.name or fields.get("Version") != wanted.version:
            raise RegistryRefused(
                "The package says another name or version of itself than it is asked for by."
            )
        try:
            package = Package(
                ecosystem=Ecosystem.CRAN,
                name=wanted.name,
                version=wanted.version,
                licence=text(fields.get("License"), 200),
                files=(PackageFile(name=file, digests=(f"sha256:{kept.sha256}",), size=kept.size),),
                facts={key: found for key in _FACTS if (found := text(fields.get(key), _LONGEST_FACT))},
            )
        except ValidationError:
            raise RegistryRefused("The package says nothing sensible of itself.") from None
        published = text(fields.get("Date/Publication"), 40).removesuffix(" UTC")
        return Resolved(
            package=package,
            summary=text(fields.get("Title"), 500),
            released_at=published.replace(" ", "T") + "Z" if published else "",
        )

    async def _fetch(self, wanted: Wanted, file: str) -> Kept:
        for address in self._places(wanted.name, file):
            try:
                async with self._outside.get(address, self._hosts) as answer:
                    return await self._scratch.take(answer.content.iter_any(), self._largest, ())
            except NotFound:
                continue
        raise NotFound(f"The mirror has no version {wanted.version} of '{wanted.name}'.")


class _Bounded:
    """An archive's bytes, unpacked, of which nobody takes much at once: tarfile reads a header as large as it says to be."""

    def __init__(self, file: gzip.GzipFile) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _DESCRIPTION_BYTES:
            raise ValueError("a header that is too large")
        return self._file.read(size)

    def seek(self, to: int) -> int:
        if to > _UNPACKED_BYTES:
            raise ValueError("an archive that is too large")
        return self._file.seek(to)

    def tell(self) -> int:
        return self._file.tell()


def read_description(path: Path, name: str) -> Mapping[str, str]:
    """Return the fields of a source package's DESCRIPTION. Nothing is unpacked to disk, and little is read.

    Args:
        path: the `.tar.gz`.
        name: of the package: the folder in it.

    Raises:
        RegistryRefused: there is none.
    """
    try:
        with (
            gzip.open(path) as unpacked,
            tarfile.open(fileobj=cast("IO[bytes]", _Bounded(unpacked)), mode="r:") as archive,
        ):
            for number, member in enumerate(archive):
                if number > _MEMBERS or member.offset_data + member.size > _UNPACKED_BYTES:
                    break
                if member.name == f"{name}/DESCRIPTION" and member.isreg():
                    inside = archive.extractfile(member)
                    data = inside.read(_DESCRIPTION_BYTES) if inside is not None else b""
                    return parse_description(data.decode("utf-8", "replace"))
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, OSError, ValueError):
        raise RegistryRefused("The package is no archive that R could install.") from None
    raise RegistryRefused("The package has no DESCRIPTION.")


def parse_description(data: str) -> dict[str, str]:
    """Return the fields of a file in the format of Debian's control files, as R writes it."""
    fields: dict[str, str] = {}
    key = ""
    for line in data.splitlines():
        if line[:1] in {" ", "\t"} and key:
            fields[key] += f" {line.strip()}"
        elif ":" in line:
            key, _, value = line.partition(":")
            fields[key] = value.strip()
    return fields
