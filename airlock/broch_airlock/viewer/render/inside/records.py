"""The one stream from the sandbox to the supervisor, written here and read by `render.reading`.

header: kind (1 byte), length of the payload (4), big-endian
L lines (JSON)   C cells of a table (JSON)   I an image's label and sizes (JSON), then   P its bytes (PNG)
X first bytes of the file   R report (JSON): the end
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

HEADER = struct.Struct("!BI")
LINES, CELLS, IMAGE, PNG, HEX, REPORT = b"LCIPXR"

PAGE_ROWS = 2000
"""Rows of text on one page."""
ROW_LONGEST = 1000
"""Characters of one row; longer lines go on in the next row, so that nothing is left out."""
LABEL_LONGEST = 200
"""Characters of the heading of a block."""
COLUMNS_MOST = 100
"""Columns of a table; wider ones are shown as text."""
CELLS_MOST = 20_000
"""Cells of one page of a table."""
TABLE_ROWS = 500
"""Rows of one page of a table."""
CELL_LONGEST = 2000
"""Characters of one cell; a table with longer ones is shown as text."""
CELL_CHARACTERS = 1_000_000
"""Characters of all cells of one page of a table."""
IMAGE_ROWS = 250
"""Rows of a page that an image counts for."""
IMAGES_MOST = PAGE_ROWS // IMAGE_ROWS
"""Images on one page."""
IMAGE_SIDE = 4096
"""Pixels of the longer side of an image as shown."""
METADATA_ROWS = 200
"""Rows of what an image says beside its pixels."""
PNG_LARGEST = 8 << 20
"""Bytes of all images of one page, as PNG."""
HEX_BYTES = 4096
"""First bytes shown of a file that nobody here can read."""
JSON_LARGEST = 16 << 20
"""Bytes of all JSON records of one page: every row full of characters that JSON writes as six."""
REPORT_LARGEST = 64 << 10
"""Bytes of the report."""
FACTS_MOST = 40
"""Facts, and notes, in a report."""
FACT_LONGEST = 1000
"""Characters of a fact or note."""


def clean(text: str) -> str:
    """Return text that UTF-8 can hold: a lone surrogate becomes its escape."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class RecordWriter:
    """Writes records.

    Args:
        write: takes all bytes that it is given (blocking).
    """

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write

    def raw(self, kind: int, payload: bytes) -> None:
        """Write one record."""
        self._write(HEADER.pack(kind, len(payload)) + payload)

    def json(self, kind: int, value: Any) -> None:
        """Write one record of JSON."""
        self.raw(kind, json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
