"""Tables in text: CSV and TSV. What does not fit in a table is shown as text: nothing is cut."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import IO

from broch_airlock.viewer.render.inside.pager import Page, Unshowable
from broch_airlock.viewer.render.inside.records import (
    CELL_CHARACTERS,
    CELL_LONGEST,
    CELLS_MOST,
    COLUMNS_MOST,
    TABLE_ROWS,
)
from broch_airlock.viewer.render.inside.texts import encoding_of

LARGEST = 64 << 20
"""Bytes. Larger tables are shown as text: a table is read twice, and must be counted within seconds."""
LINE_LONGEST = 1 << 20
"""Bytes of one physical line: the reader holds a whole row, some sixty bytes for each cell."""
_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_SAMPLE_ROWS = 50
_NUMBER = re.compile(r"\s*[-+]?[\d.,]+(?:[eE][-+]?\d+)?%?\s*")


@dataclass
class _Shape:
    rows: int = 0
    narrowest: int = 0
    widest: int = 0
    longest_row: int = 0
    """Characters."""


def _rows(file: IO[bytes], encoding: str, delimiter: str) -> Generator[list[str], None, None]:
    file.seek(0)
    text = io.TextIOWrapper(file, encoding, "backslashreplace", newline="")
    try:
        yield from csv.reader(text, delimiter=delimiter)
    except csv.Error as error:
        raise Unshowable(f"It does not read as a table ({error}), so it is shown as text.") from None
    finally:
        text.detach()


def _refuse_long_lines(file: IO[bytes]) -> None:
    file.seek(0)
    while line := file.readline(LINE_LONGEST + 1):
        if len(line) > LINE_LONGEST:
            raise Unshowable(f"A line has more than {LINE_LONGEST:,} bytes, so the table is shown as text.")


def _delimiter(sample: str, name: str) -> str:
    """Return the delimiter under which the sample has the most columns in every row."""

    def columns(delimiter: str) -> int:
        rows = [row for row in csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter) if row]
        widths = [len(row) for row in rows[:_SAMPLE_ROWS]]
        return min(widths, default=0)

    usual = "\t" if name.lower().endswith((".tsv", ".tab")) else ","
    return max([usual, *_DELIMITERS], key=columns)


def _shape(rows: Iterator[list[str]]) -> _Shape:
    shape = _Shape()
    for row in rows:
        shape.rows += 1
        width = len(row)
        shape.widest = max(shape.widest, width)
        shape.narrowest = min(shape.narrowest, width) if shape.rows > 1 else width
        if width > COLUMNS_MOST:
            raise Unshowable(f"It has more than {COLUMNS_MOST} columns, so it is shown as text.")
        shape.longest_row = max(shape.longest_row, sum(map(len, row)))
    return shape


def _is_header(first: list[str], second: list[str]) -> bool:
    named = all(cell.strip() and not _NUMBER.fullmatch(cell) for cell in first)
    return named and len(set(first)) == len(first) and len(first) >= len(second) > 0


def show_table(file: IO[bytes], head: bytes, size: int, name: str, page: Page) -> None:
    """Show a CSV or TSV as a table.

    Raises:
        Unshowable: it is too large or too wide for that, or is none.
    """
    if size > LARGEST:
        raise Unshowable(f"Tables above {LARGEST >> 20} MiB are shown as text.")
    _refuse_long_lines(file)
    csv.field_size_limit(CELL_LONGEST)
    encoding = encoding_of(head)
    sample = head.decode(encoding, "backslashreplace")
    sample = sample[: sample.rfind("\n") + 1] if len(head) < size else sample
    try:
        delimiter = _delimiter(sample, name)
    except csv.Error as error:
        raise Unshowable(f"It does not read as a table ({error}), so it is shown as text.") from None
    shape = _shape(_rows(file, encoding, delimiter))
    if shape.widest < 1:
        raise Unshowable("It has no columns, so it is shown as text.")

    rows = _rows(file, encoding, delimiter)
    first = next(rows)
    second = next(rows, [])
    rows.close()
    named = _is_header(first, second)
    header = first + [""] * (shape.widest - len(first)) if named else [""] * shape.widest
    header = [text or f"({number})" for number, text in enumerate(header, 1)]

    # The header stands on every page and counts each time.
    room = max(CELL_CHARACTERS - sum(map(len, header)), shape.longest_row)
    per_page = min(TABLE_ROWS, CELLS_MOST // shape.widest, room // max(shape.longest_row, 1))
    total = shape.rows - named
    page.pages = max(1, -(-total // per_page))
    begin = (page.wanted - 1) * per_page
    kept = []
    for number, row in enumerate(_rows(file, encoding, delimiter)):
        place = number - named
        if place >= begin + per_page:
            break
        if place >= begin:
            kept.append(row)
    if page.wanted <= page.pages:
        page.cells(header, begin + 1, kept)
    page.fact("Encoding", encoding.removesuffix("-sig"))
    page.fact("Rows", f"{total:,}" + (" and a header" if named else ""))
    page.fact("Columns", f"{shape.widest:,}, separated by {_DELIMITERS[delimiter]}")
    if not named:
        page.note("The first row does not look like a header; columns are numbered.")
    if shape.narrowest != shape.widest:
        page.note(f"Rows have between {shape.narrowest} and {shape.widest} cells.")
