"""The one stream from the sandbox to the supervisor: size-framed records, written here, read by `checks.records`.

    header: kind (1 byte), file (4), member (4), length of the payload (4), big-endian
    B begin of a member (payload: its place, UTF-8)   D bytes of a member   E its end   X it was given up
    R report on a file (payload: JSON)                Q all files are done

Members of one file may be open at once: a container is sent while its own members are.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

HEADER = struct.Struct("!BIII")
BEGIN, DATA, END, GIVEN_UP, REPORT, DONE = b"BDEXRQ"
DATA_LARGEST = 256 << 10
"""Bytes of one `D` record."""
PLACE_LARGEST = 4096
"""Bytes of one `B` record."""
REPORT_LARGEST = 512 << 10
"""Bytes of one `R` record."""


class RecordWriter:
    """Writes records.

    Args:
        write: takes all bytes that it is given (blocking).
    """

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._members = 0

    def _record(self, kind: int, file: int, member: int, payload: bytes = b"") -> None:
        self._write(HEADER.pack(kind, file, member, len(payload)) + payload)

    def begin(self, file: int, place: str) -> int:
        """Begin a member; returns its number."""
        self._members += 1
        self._record(BEGIN, file, self._members, place.encode("utf-8", "backslashreplace")[:PLACE_LARGEST])
        return self._members

    def data(self, file: int, member: int, content: bytes) -> None:
        """Write more bytes of an open member."""
        for start in range(0, len(content), DATA_LARGEST):
            self._record(DATA, file, member, content[start : start + DATA_LARGEST])

    def end(self, file: int, member: int, *, whole: bool) -> None:
        """End a member; not `whole` when it could not be read to its end."""
        self._record(END if whole else GIVEN_UP, file, member)

    def report(self, file: int, content: bytes) -> None:
        """Write the report on one file."""
        self._record(REPORT, file, 0, content)

    def done(self) -> None:
        """Say that all files were looked at."""
        self._record(DONE, 0, 0)
