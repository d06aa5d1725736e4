"""A place of conda's channels. Its index of one platform has hundreds of megabytes, so it is searched as it lies on disk."""

from __future__ import annotations

import asyncio
import json
import mmap
import re
import time
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from broch_core.errors import NotFound, Unavailable
from broch_workspaces.packages.errors import RegistryRefused
from broch_workspaces.packages.outside import Outside
from broch_workspaces.packages.registries.registry import text
from broch_workspaces.packages.scratch import Kept, Scratch
from broch_workspaces.packages.settings import PackagesSettings
from broch_workspaces.packages.spec import Ecosystem, Package, PackageFile, Resolved, Wanted

_FACTS = ("depends", "constrains", "build", "build_number", "timestamp", "noarch", "track_features")
_ENTRY_BYTES = 1 << 20
"""Most bytes of what an index says of one file."""
_DECODER = json.JSONDecoder()


class Conda:
    """One place of channels.

    Args:
        base: its address.
        outside: asks it.
        settings: which hosts, which platforms, how large an index may be.
        scratch: where indexes lie.
    """

    def __init__(self, base: str, outside: Outside, settings: PackagesSettings, scratch: Scratch) -> None:
        self._base = base
        self._outside = outside
        self._settings = settings
        self._hosts = settings.hosts(Ecosystem.CONDA)
        self._scratch = scratch
        self._indexes: dict[str, tuple[float, Kept]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def addresses(self, package: Package, file: PackageFile) -> Sequence[str]:
        """Return where every channel has it."""
        return [f"{self._base}/{package.channel}/{file.subdir}/{file.name}"]

    async def resolve(self, wanted: Wanted) -> Resolved:
        """Return all builds of one version for the platforms of the settings, with their SHA-256."""
        found: dict[str, Mapping[str, Any]] = {}
        for subdir in self._settings.conda_subdirs:
            index = await self._index(wanted.channel, subdir)
            if index is not None:
                try:
                    entries = await asyncio.to_thread(find_entries, index.path, wanted.name, wanted.version)
                except FileNotFoundError:
                    raise Unavailable("There is little room for indexes right now. Try again.") from None
                found |= {f"{subdir}/{name}": entry for name, entry in entries.items()}
        if not found:
            raise NotFound(
                f"The channel '{wanted.channel}' has no version {wanted.version} of '{wanted.name}'."
            )
        return _resolved(wanted, found)

    async def _index(self, channel: str, subdir: str) -> Kept | None:
        address = f"{self._base}/{channel}/{subdir}/repodata.json"
        async with self._locks.setdefault(address, asyncio.Lock()):
            fetched, kept = self._indexes.get(address, (0.0, None))
            fresh = time.monotonic() - fetched < self._settings.index_seconds
            if kept is not None and fresh and kept.path.exists():
                return kept
            try:
                async with self._outside.get(address, self._hosts, packed=True) as answer:
                    data: AsyncIterator[bytes] = answer.content.iter_any()
                    if answer.headers.get("Content-Encoding", "").lower() == "gzip":
                        data = _unpacked(data)
                    kept = await self._scratch.take(data, self._settings.largest_index, ())
            except NotFound:
                return None  # this channel has nothing for this platform
            self._indexes[address] = (time.monotonic(), kept)
            return kept


async def _unpacked(data: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Undo gzip piece by piece, never more at once than is asked for."""
    unpack = zlib.decompressobj(wbits=31)
    async for part in data:
        left = part
        while left:
            try:
                yield unpack.decompress(left, 1 << 20)
            except zlib.error:
                raise RegistryRefused("The registry's answer is not what it says to be.") from None
            left = unpack.unconsumed_tail


def find_entries(path: Path, name: str, version: str) -> dict[str, Mapping[str, Any]]:
    """Return what an index says of the files of one version, by file name.

    The file is searched for names in quotes with an object behind them; a quote within a text of JSON has a backslash
    before it, so nothing that an entry says can pass for another entry.

    Args:
        path: of `repodata.json`.
        name: of the package.
        version: of the package.
    """
    pattern = re.compile(
        rb'(?<!\\)"('
        + re.escape(f"{name}-{version}-".encode())
        + rb'[^"\\/-]+\.(?:conda|tar\.bz2))"\s*:\s*(?={)'
    )
    found: dict[str, Mapping[str, Any]] = {}
    if path.stat().st_size == 0:
        return found
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as index:
        for one in pattern.finditer(index):
            entry = _object_at(index[one.end() : one.end() + _ENTRY_BYTES])
            if entry.get("name") == name and entry.get("version") == version:
                found[one[1].decode("ascii", "replace")] = entry
    return found


def _object_at(data: bytes) -> Mapping[str, Any]:
    try:
        entry, _ = _DECODER.raw_decode(data.decode("utf-8", "ignore"))
    except (ValueError, RecursionError):
        return {}
    return entry if isinstance(entry, dict) else {}


def _resolved(wanted: Wanted, found: Mapping[str, Mapping[str, Any]]) -> Resolved:
    facts = {key: dict(_of_each(found, key)) for key in _FACTS}
    first = next(iter(found.values()))
    try:
        package = Package(
            ecosystem=Ecosystem.CONDA,
            name=wanted.name,
            version=wanted.version,
            channel=wanted.channel,
            licence=text(first.get("license"), 200),
            files=tuple(_file(place, entry) for place, entry in sorted(found.items())),
            facts={key: json.dumps(values, sort_keys=True) for key, values in facts.items() if values},
        )
    except (ValidationError, KeyError):
        raise RegistryRefused("The channel says nothing sensible of this version, or no SHA-256.") from None
    times = [entry["timestamp"] for entry in found.values() if isinstance(entry.get("timestamp"), int)]
    released = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(_seconds(min(times)))) if times else ""
    return Resolved(package=package, released_at=released)


def _seconds(stamp: int) -> float:
    # Milliseconds, and seconds in the oldest entries.
    return min(max(stamp / 1000 if stamp > 10**11 else stamp, 0), 2**33)


def _of_each(found: Mapping[str, Mapping[str, Any]], key: str) -> Iterator[tuple[str, Any]]:
    return ((place, entry[key]) for place, entry in sorted(found.items()) if entry.get(key) is not None)


def _file(place: str, entry: Mapping[str, Any]) -> PackageFile:
    subdir, _, name = place.partition("/")
    size = entry.get("size")
    return PackageFile(
        name=name,
        digests=(f"sha256:{entry['sha256']}",),
        size=size if isinstance(size, int) and size >= 0 else None,
        subdir=subdir,
    )
