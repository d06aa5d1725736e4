"""Text: the guess of its encoding, and its lines as rows."""

from __future__ import annotations

import codecs
import re
from typing import IO

from broch_airlock.viewer.render.inside.pager import CONTINUED, Page, Pager, pieces, wrapped
from broch_airlock.viewer.render.inside.records import ROW_LONGEST

_CHUNK = 1 << 20
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BINARY = re.compile(r"[\0-\x06\x0e-\x1a\x1c-\x1f\ufffd]")


def unmarked_utf16(head: bytes) -> str | None:
    """Return `utf-16-le` or `-be` for text in it without a mark at its start, None for anything else."""
    head = head[: len(head) & ~1]
    if len(head) < 4 or head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return None
    for encoding, zeros in (("utf-16-le", head[1::2]), ("utf-16-be", head[::2])):
        # Words of the Latin alphabet: every second byte is zero.
        if zeros.count(0) > 0.7 * len(zeros) and not _BINARY.search(head.decode(encoding, "replace")[:-1]):
            return encoding
    return None


def mostly_text(head: bytes) -> bool:
    """Say whether content of no known kind reads as text with a few control characters in it."""
    control = sum(byte < 0x20 and byte not in b"\t\n\f\r\x1b" for byte in head)
    if control * 50 > len(head):
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def encoding_of(head: bytes) -> str:
    """Return the encoding that text which begins with `head` is probably in; Latin-1 fits everything."""
    for mark, encoding in _BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return encoding
    if utf16 := unmarked_utf16(head):
        return utf16
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # the last character may be cut
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"


def show_text(file: IO[bytes], head: bytes, page: Page) -> None:
    """Show a text of any size, line by line."""
    encoding = encoding_of(head)
    page.fact("Encoding", encoding.removesuffix("-sig"))
    decoder = codecs.getincrementaldecoder(encoding)("backslashreplace")
    pager = Pager(page)
    number, rest, going_on = 1, "", False
    file.seek(0)
    ended = False
    while not ended and not pager.tired:
        piece = file.read(_CHUNK)
        ended = not piece
        lines = (rest + decoder.decode(piece, final=ended)).replace("\r\n", "\n").split("\n")
        rest = lines.pop()
        if not ended and rest.endswith("\r"):
            # The other half of a line's end may come with the next piece.
            rest, held = rest[:-1], "\r"
        else:
            held = ""
        if going_on and lines:
            rows = list(pieces(lines.pop(0)))
            pager.rows(rows, [CONTINUED] * len(rows))
            number, going_on = number + 1, False
        pager.rows(*wrapped(lines, number))
        number += len(lines)
        if ended and rest:
            rows = list(pieces(rest))
            pager.rows(rows, [CONTINUED if going_on or place else number for place in range(len(rows))])
            number += 1
        elif whole := len(rest) // ROW_LONGEST:
            # A line without an end must not be held wholly.
            rows = [rest[place * ROW_LONGEST :][:ROW_LONGEST] for place in range(whole)]
            pager.rows(rows, [CONTINUED if going_on or place else number for place in range(whole)])
            rest, going_on = rest[whole * ROW_LONGEST :], True
        rest += held
    pager.finish()
    if page.pages is not None:
        page.fact("Lines", f"{number - 1:,}")
