"""tar, read strictly: `tarfile` silently stops at a damaged header, and what lies behind it would not be looked at.

Headers are decoded by `tarfile.TarInfo.frombuf`; nothing is ever extracted (CVE-2025-4517).
Formats: ustar, GNU long names, pax (POSIX.1-2001). Sparse members and unknown types are refused.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass

from broch_airlock.checks.inside.streams import CHUNK, Stream, Unreadable

_BLOCK = 512
_LONGEST_NAME = 64 << 10
_LONGEST_PAX = 1 << 20
_REGULAR = {tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE}
_EMPTY = {
    tarfile.DIRTYPE,
    tarfile.LNKTYPE,
    tarfile.SYMTYPE,
    tarfile.FIFOTYPE,
    tarfile.CHRTYPE,
    tarfile.BLKTYPE,
}


@dataclass
class TarMember:
    """One member; a regular one must be read to its end before the next is asked for."""

    path: str
    kind: bytes
    """Type flag of the header."""
    link: str
    size: int
    content: Stream

    @property
    def regular(self) -> bool:
        """Whether it has content."""
        return self.kind in _REGULAR

    @property
    def folder(self) -> bool:
        """Whether it is a directory."""
        return self.kind == tarfile.DIRTYPE


def _pax(content: bytes) -> dict[str, str]:
    """Return the records `length key=value` of a pax header."""
    records: dict[str, str] = {}
    while content.strip(b"\0"):
        digits, space, _ = content[:24].partition(b" ")
        if not space or not digits.isdigit() or not len(digits) + 2 < int(digits) <= len(content):
            raise Unreadable("damaged", "A pax header is damaged.")
        record, content = content[len(digits) + 1 : int(digits)], content[int(digits) :]
        key, equals, value = record.removesuffix(b"\n").partition(b"=")
        if not equals:
            raise Unreadable("damaged", "A pax header is damaged.")
        records[key.decode("utf-8", "backslashreplace")] = value.decode("utf-8", "surrogateescape")
    if any(key.startswith("GNU.sparse") for key in records):
        raise Unreadable("sparse", "It holds a sparse member, which is not unfolded.")
    return records


def _size(records: dict[str, str], header: int) -> int:
    value = records.get("size")
    if value is None:
        return header
    if not value.isascii() or not value.isdigit() or len(value) > 18:
        raise Unreadable("damaged", "A pax header is damaged.")
    return int(value)


def _padded(stream: Stream, size: int, longest: int) -> bytes:
    if size > longest:
        raise Unreadable("damaged", "A header is longer than any real one.")
    return stream.exactly(-(-size // _BLOCK) * _BLOCK)[:size]


def _nothing_follows(stream: Stream) -> None:
    while rest := stream.read(CHUNK):
        if rest.strip(b"\0"):
            raise Unreadable("trailing", "Something follows the end of the tar archive.")


def tar_members(stream: Stream) -> Iterator[TarMember]:
    """Yield the members, to the last byte of the stream.

    Raises:
        Unreadable: damaged, truncated, sparse, of an unknown type, or followed by something else.
    """
    everywhere: dict[str, str] = {}
    following: dict[str, str] = {}
    while (header := _next_header(stream)) is not None:
        if header.type in {tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}:
            text = (
                _padded(stream, header.size, _LONGEST_NAME).rstrip(b"\0").decode("utf-8", "surrogateescape")
            )
            following["path" if header.type == tarfile.GNUTYPE_LONGNAME else "linkpath"] = text
        elif header.type in {tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE}:
            following |= _pax(_padded(stream, header.size, _LONGEST_PAX))
        elif header.type == tarfile.XGLTYPE:
            everywhere |= _pax(_padded(stream, header.size, _LONGEST_PAX))
        else:
            records, following = everywhere | following, {}
            yield from _one(stream, header, records)
    _nothing_follows(stream)


def _next_header(stream: Stream) -> tarfile.TarInfo | None:
    """Return the next header; None at the block of zeros that ends the archive."""
    block = stream.exactly(_BLOCK)
    if not any(block):
        return None
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError) as error:
        raise Unreadable("damaged", f"A tar header is damaged: {error}.") from None
    if header.size < 0:
        raise Unreadable("damaged", "A tar member has a negative size.")
    return header


def _one(stream: Stream, header: tarfile.TarInfo, records: dict[str, str]) -> Iterator[TarMember]:
    if header.type not in _REGULAR | _EMPTY:
        raise Unreadable("unsupported", f"It holds a member of the unknown type {header.type!r}.")
    size = left = _size(records, header.size)
    if header.type in _EMPTY and size:
        # Readers differ on whether links and folders carry bytes: a place to hide something.
        raise Unreadable("damaged", "A tar member without content says that it has some.")

    def read(most: int) -> bytes:
        nonlocal left
        part = stream.read(min(most, left)) if left else b""
        if left and not part:
            raise Unreadable("truncated", "It ends in the middle of a member.")
        left -= len(part)
        return part

    content = Stream(read)
    yield TarMember(
        records.get("path", header.name), header.type, records.get("linkpath", header.linkname), size, content
    )
    content.drain()
    stream.exactly(-size % _BLOCK)
