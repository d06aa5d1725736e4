"""Streams that are read once, with a look ahead, and the budget that bounds what unfolds from one file."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Protocol

from broch_airlock.checks.model import Limits

CHUNK = 256 << 10
_RATIO_FLOOR = 64 << 20
_XZ_MEMORY = 192 << 20


class Unreadable(Exception):
    """The content cannot be looked at wholly: the file is `unscannable`.

    Args:
        rule: which limit or defect.
        message: one sentence for a person.
    """

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule
        self.message = message
        self.where = ""


class Budget:
    """What is left of the limits for one file, over all its members."""

    def __init__(self, limits: Limits, stored_bytes: int) -> None:
        self.limits = limits
        self._most = min(limits.max_expanded_bytes, max(_RATIO_FLOOR, limits.max_ratio * stored_bytes))
        self._ratio = self._most < limits.max_expanded_bytes
        self.members = 0
        self.expanded = 0
        self._held = 0

    def member(self, depth: int) -> None:
        """Count one more member at this depth (1 = directly in the file)."""
        if depth > self.limits.max_archive_depth:
            raise Unreadable("depth", f"Containers are nested deeper than {self.limits.max_archive_depth}.")
        self.members += 1
        if self.members > self.limits.max_members:
            raise Unreadable("members", f"There are more than {self.limits.max_members} members.")

    def expand(self, size: int) -> None:
        """Count bytes that came out of a container."""
        self.expanded += size
        if self.expanded > self._most:
            if self._ratio:
                raise Unreadable("ratio", f"It unfolds to more than {self.limits.max_ratio} times its size.")
            raise Unreadable("expanded", f"It unfolds to more than {self._most} bytes.")

    def hold(self, size: int) -> None:
        """Count bytes kept in memory (negative: let go)."""
        self._held += size
        if self._held > self.limits.max_held_bytes:
            raise Unreadable("memory", "Nested parts are too large to be opened.")


class Stream:
    """Bytes read once, front to back, with a look ahead.

    Args:
        read: returns up to that many bytes, empty at the end.
    """

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._source = read
        self._ahead = b""
        self._at = 0

    def peek(self, size: int) -> bytes:
        """Return the next `size` bytes (fewer at the end) without taking them."""
        parts = [self._ahead[self._at :]]
        have = len(parts[0])
        while have < size and (more := self._source(max(size - have, 4096))):
            parts.append(more)
            have += len(more)
        self._ahead, self._at = b"".join(parts), 0
        return self._ahead[:size]

    def read(self, size: int = CHUNK) -> bytes:
        """Return up to `size` bytes, empty at the end."""
        if self._at < len(self._ahead):
            taken = self._ahead[self._at : self._at + size]
            self._at += len(taken)
            if self._at == len(self._ahead):
                self._ahead, self._at = b"", 0
            return taken
        return self._source(size)

    def exactly(self, size: int) -> bytes:
        """Return exactly `size` bytes.

        Raises:
            Unreadable: the stream ends before.
        """
        parts = []
        while size:
            part = self.read(min(size, CHUNK))
            if not part:
                raise Unreadable("truncated", "It ends in the middle.")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def drain(self) -> None:
        """Read to the end."""
        while self.read(CHUNK):
            pass


def held(stream: Stream, budget: Budget, most: int, what: str) -> bytes:
    """Return the rest of the stream as bytes; the caller lets go of them with `budget.hold(-len(...))`.

    Raises:
        Unreadable: more than `most` bytes, or more than may be held in all.
    """
    parts: list[bytes] = []
    size = 0
    try:
        while part := stream.read(CHUNK):
            budget.hold(len(part))
            size += len(part)
            _at_most(size, most, what)
            parts.append(part)
        return b"".join(parts)
    except BaseException:
        budget.hold(-size)
        raise


def _at_most(size: int, most: int, what: str) -> None:
    if size > most:
        raise Unreadable("memory", f"{what} is larger than {most} bytes and cannot be opened.")


class _Decompressor(Protocol):
    eof: bool
    unused_data: bytes

    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes: ...


class _Gzip:
    """`zlib` with the interface of the other decompressors: input that was not used up is kept here."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)
        self._left = b""

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._left and not self._inner.eof

    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes:
        out = self._inner.decompress(self._left + data, max(0, max_length))
        self._left = self._inner.unconsumed_tail
        return out


_MAKERS: dict[str, tuple[Callable[[], object], bytes]] = {
    "gzip": (_Gzip, b"\x1f\x8b"),
    "bzip2": (bz2.BZ2Decompressor, b"BZh"),
    "xz": (lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY), b"\xfd7zXZ\0"),
}


class Decompressed:
    """The content of a gzip, bzip2 or xz stream: all concatenated parts, to the last byte of the input.

    Args:
        kind: `gzip`, `bzip2` or `xz`.
        source: the packed bytes.
    """

    def __init__(self, kind: str, source: Stream) -> None:
        self._kind = kind
        self._source = source
        self._make, self._magic = _MAKERS[kind]
        self._inner: object | None = self._make()
        self._input = b""

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes.

        Raises:
            Unreadable: damaged, truncated, or followed by something else.
        """
        try:
            return self._read(size)
        except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as error:
            raise Unreadable(
                "damaged", f"The {self._kind} data are damaged or too demanding: {error}."
            ) from None

    def _read(self, size: int) -> bytes:
        while self._inner is not None:
            inner: _Decompressor = self._inner  # type: ignore[assignment]
            if getattr(inner, "needs_input", True) and not self._input:
                self._input = self._source.read(CHUNK)
                if not self._input:
                    raise Unreadable("truncated", f"The {self._kind} data end in the middle.")
            data, self._input = self._input, b""
            out = inner.decompress(data, size)
            if inner.eof:
                self._next_part(inner.unused_data)
            if out:
                return out
        return b""

    def _next_part(self, unused: bytes) -> None:
        """After the end of one part: another of the same kind, padding of zeros, or something hidden."""
        rest = unused.lstrip(b"\0")
        while len(rest) < len(self._magic) and (more := self._source.read(CHUNK)):
            rest = (rest + more).lstrip(b"\0")
        if not rest:
            self._inner = None
        elif rest.startswith(self._magic):
            self._inner, self._input = self._make(), rest
        else:
            raise Unreadable("trailing", f"Something follows the end of the {self._kind} data.")
