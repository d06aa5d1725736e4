"""Files on their way: written into a bounded folder, hashed as they come, kept by digest while there is room."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn

import structlog

from broch_core.errors import Unavailable
from broch_workspaces.packages.errors import RegistryRefused, WrongBytes

_log = structlog.get_logger()

_KINDS = ("sha256", "sha512")


@dataclass(frozen=True)
class Kept:
    """One whole file in the folder, its digests computed from its bytes."""

    path: Path
    size: int
    digests: frozenset[str]

    @property
    def sha256(self) -> str:
        """Hexadecimal."""
        return next(one.partition(":")[2] for one in self.digests if one.startswith("sha256:"))

    def open(self) -> BinaryIO:
        """Open it; it may be removed from the folder afterwards and is read to its end all the same.

        Raises:
            OSError: it was removed before.
        """
        return self.path.open("rb")


@dataclass
class _Written:
    """Bytes of one file so far."""

    size: int = 0


class Scratch:
    """The folder. One event loop uses it.

    Args:
        folder: emptied here: what a process that was killed left half is nobody's file.
        most: bytes in it.
    """

    def __init__(self, folder: Path, most: int) -> None:
        self._folder = folder
        self._most = most
        self._taken = 0
        self._kept: OrderedDict[Path, Kept] = OrderedDict()
        self._by_digest: dict[str, Kept] = {}
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.iterdir():
            if left.is_file() or left.is_symlink():
                left.unlink()

    @property
    def taken(self) -> int:
        """Bytes in the folder."""
        return self._taken

    def find(self, digests: Collection[str]) -> Kept | None:
        """Return a file that has all of these digests, if there is one."""
        kept = next((self._by_digest[one] for one in digests if one in self._by_digest), None)
        if kept is None or not kept.digests.issuperset(digests):
            return None
        self._kept.move_to_end(kept.path)
        return kept

    async def take(self, data: AsyncIterator[bytes], largest: int, digests: Collection[str]) -> Kept:
        """Write a file; it is kept if its digests are right, and gone otherwise.

        Args:
            data: its bytes.
            largest: how many it may be.
            digests: what all of them must hash to; none: whatever they are.

        Raises:
            RegistryRefused: it is too large.
            WrongBytes: a digest is another.
            Unavailable: there is no room.
        """
        path = self._folder / f"part-{secrets.token_hex(8)}"
        before = _Written()
        try:
            found = await self._write(path, data, largest, before)
            if not found.issuperset(digests):
                _refuse_bytes()
        except BaseException:
            self._taken -= before.size
            path.unlink(missing_ok=True)
            raise
        return self._keep(path, before.size, found)

    async def _write(
        self, path: Path, data: AsyncIterator[bytes], largest: int, written: _Written
    ) -> frozenset[str]:
        hashes = {kind: hashlib.new(kind) for kind in _KINDS}
        with path.open("xb") as file:
            async for part in data:
                if written.size + len(part) > largest:
                    raise RegistryRefused(f"The file is larger than the {largest:,} bytes that it may have.")
                self._make_room(len(part))
                self._taken += len(part)
                written.size += len(part)
                await asyncio.to_thread(_write, file, part, hashes.values())
        return frozenset(f"{kind}:{one.hexdigest()}" for kind, one in hashes.items())

    def _keep(self, path: Path, size: int, digests: frozenset[str]) -> Kept:
        whole = self._folder / next(one.replace(":", "-") for one in sorted(digests))
        if (same := self._kept.get(whole)) is not None:
            self._taken -= size
            path.unlink()
            return same
        path.rename(whole)
        kept = Kept(whole, size, digests)
        self._kept[whole] = kept
        self._by_digest |= dict.fromkeys(digests, kept)
        return kept

    def _make_room(self, size: int) -> None:
        while self._taken + size > self._most:
            if not self._kept:
                _log.error("packages.no_room", most=self._most)
                raise Unavailable("There is no room for this file right now. Try again in a few minutes.")
            self.drop(next(iter(self._kept.values())))

    def drop(self, kept: Kept) -> None:
        """Remove a file; who has it open reads on."""
        if self._kept.pop(kept.path, None) is None:
            return
        self._taken -= kept.size
        for one in kept.digests:
            self._by_digest.pop(one, None)
        kept.path.unlink(missing_ok=True)


def _refuse_bytes() -> NoReturn:
    raise WrongBytes(
        "The registry's bytes are not the ones that were allowed. Nothing was passed on. "
        "Tell your administrator: the registry's file has changed, or somebody changed it on its way."
    )


def _write(file: BinaryIO, part: bytes, hashes: Collection[hashlib._Hash]) -> None:
    file.write(part)
    for one in hashes:
        one.update(part)
