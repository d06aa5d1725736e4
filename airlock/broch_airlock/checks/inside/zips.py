"""zip, through `zipfile`, with what it overlooks: hidden bytes, overlapping members, encryption, repeated names."""

from __future__ import annotations

import stat
import struct
import zipfile
from typing import IO

from broch_airlock.checks.inside.streams import Unreadable

_LOCAL = struct.Struct("<4s5H3L2H")
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_SLACK = 64
"""Bytes between members that are no hiding place: data descriptors, alignment."""
END_SIGNATURE = b"PK\x05\x06"
END_SEARCHED = 22 + 65535
"""Bytes at the end of a file in which the end record of a zip may lie."""


def open_zip(file: IO[bytes]) -> zipfile.ZipFile:
    """Open a zip archive.

    Raises:
        Unreadable: it has no readable directory (truncated, damaged).
    """
    try:
        return zipfile.ZipFile(file)
    except (
        zipfile.BadZipFile,
        ValueError,
        OSError,
        struct.error,
        NotImplementedError,
        OverflowError,
    ) as error:
        raise Unreadable("damaged", f"The zip directory cannot be read: {error}.") from None


def encrypted(member: zipfile.ZipInfo) -> bool:
    """Say whether a member is encrypted, its name included (PKWARE APPNOTE 4.4.4, bits 0, 6, 13)."""
    return bool(member.flag_bits & _ENCRYPTED)


def is_link(member: zipfile.ZipInfo) -> bool:
    """Say whether a member is a symbolic link (Unix mode in the upper half of the external attributes)."""
    return stat.S_ISLNK(member.external_attr >> 16)


def hidden_bytes(file: IO[bytes], archive: zipfile.ZipFile, size: int) -> list[tuple[int, int]]:
    """Return (start, end) of bytes that belong to no member and not to the directory.

    Raises:
        Unreadable: members overlap (the way of bombs that unfold a thousandfold), or a member is not where it should be.
    """
    spans = []
    for member in archive.infolist():
        file.seek(member.header_offset)
        header = file.read(_LOCAL.size)
        if len(header) < _LOCAL.size or not header.startswith(b"PK\x03\x04"):
            raise Unreadable("damaged", f"A member is not where the directory says: {member.filename}")
        *_, name, extra = _LOCAL.unpack(header)
        end = member.header_offset + _LOCAL.size + name + extra + member.compress_size
        spans.append((member.header_offset, end))
    spans.sort()
    gaps = []
    at = 0
    for start, end in spans:
        if start < at:
            raise Unreadable("overlap", "Members of the zip overlap each other.")
        if start - at > (0 if at == 0 else _SLACK):
            gaps.append((at, start))
        at = end
    directory = archive.start_dir
    if directory < at:
        raise Unreadable("overlap", "The directory of the zip overlaps its members.")
    if directory - at > (0 if at == 0 else _SLACK):
        gaps.append((at, directory))
    # zipfile reads the last directory in the file; everything behind the end record is its comment.
    after = directory + sum(46 + _directory_entry(member) for member in archive.infolist())
    end_records = 22 + len(archive.comment) + 20 + 56 + _SLACK
    if size - after > end_records:
        gaps.append((after, size))
    if len(archive.comment) > _SLACK:
        gaps.append((size - len(archive.comment), size))
    return gaps


def _directory_entry(member: zipfile.ZipInfo) -> int:
    encoding = "utf-8" if member.flag_bits & 0x800 else "cp437"
    name = len(member.orig_filename.encode(encoding, "replace"))
    return name + len(member.extra) + len(member.comment)
