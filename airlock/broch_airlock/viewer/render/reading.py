"""Reads the sandbox's stream of records (`inside.records`) and believes none of it."""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass, field
from typing import IO, Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from broch_airlock.checks.records import Nonsense
from broch_airlock.viewer.render.inside import records as wire

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_HEADER = struct.Struct("!IIBBBBB")
_PNG_COLOURS = {0, 2, 6}
"""Grey, RGB, RGBA: what the sandbox writes."""
_MODEL = TypeVar("_MODEL", bound=BaseModel)

_Number = Annotated[int, Field(ge=0, le=1 << 40)]
_Label = Annotated[str, StringConstraints(max_length=wire.LABEL_LONGEST)]
_Text = Annotated[str, StringConstraints(max_length=wire.FACT_LONGEST)]
_RowText = Annotated[str, StringConstraints(max_length=wire.ROW_LONGEST * 6)]
"""A surrogate that stands alone is sent as its escape, six characters."""
_CellText = Annotated[str, StringConstraints(max_length=wire.CELL_LONGEST * 6)]
_Cells = Annotated[list[_CellText], Field(max_length=wire.COLUMNS_MOST)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Lines(_Strict):
    """Rows of text, each with its line number (0: goes on with the line before)."""

    label: _Label
    rows: Annotated[list[tuple[_Number, _RowText]], Field(max_length=wire.PAGE_ROWS + wire.METADATA_ROWS + 1)]


class Cells(_Strict):
    """Rows of a table."""

    header: _Cells
    first: _Number
    rows: Annotated[list[_Cells], Field(max_length=wire.TABLE_ROWS)]


class ImageFacts(_Strict):
    """What is said of the image that follows."""

    label: _Label
    width: Annotated[int, Field(gt=0, le=wire.IMAGE_SIDE)]
    height: Annotated[int, Field(gt=0, le=wire.IMAGE_SIDE)]
    true_width: Annotated[int, Field(gt=0, le=1 << 31)]
    true_height: Annotated[int, Field(gt=0, le=1 << 31)]


class Report(_Strict):
    """What the sandbox says of the file as a whole."""

    kind: Literal["text", "table", "json", "notebook", "image", "data", "empty"]
    pages: Annotated[int, Field(ge=1, le=1 << 40)] | None
    facts: Annotated[list[tuple[_Label, _Text]], Field(max_length=wire.FACTS_MOST)]
    notes: Annotated[list[_Text], Field(max_length=wire.FACTS_MOST)]


@dataclass(frozen=True)
class Image:
    """An image whose PNG was checked."""

    facts: ImageFacts
    png: bytes = field(repr=False)


@dataclass(frozen=True)
class Head:
    """First bytes of the file."""

    content: bytes


Block = Lines | Cells | Image | Head


@dataclass
class Answer:
    """One page as data: bounded, and still not to be believed."""

    report: Report
    blocks: list[Block]


def _take(stream: IO[bytes], size: int) -> bytes:
    content = stream.read(size) if size else b""
    if len(content) < size:
        raise Nonsense("The sandbox ended before it was done.")
    return content


def _parsed(model: type[_MODEL], payload: bytes) -> _MODEL:
    try:
        return model.model_validate(_from_json(payload))
    except (ValidationError, ValueError, RecursionError):
        raise Nonsense("The sandbox sent a record that cannot be read.") from None


def _from_json(payload: bytes) -> Any:
    text = payload.decode("utf-8")
    value = json.loads(text)
    # An escape can still make a lone surrogate, which no page can hold.
    json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


class _Reader:
    """Counts what was sent against what may be."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._json = 0
        self._png = 0
        self._images = 0
        self._rows = 0
        self._cells = 0

    def record(self) -> tuple[int, bytes]:
        """Return the next record."""
        kind, length = wire.HEADER.unpack(_take(self._stream, wire.HEADER.size))
        if kind == wire.PNG:
            self._png += length
            self._images += 1
            fits = self._png <= wire.PNG_LARGEST and self._images <= wire.IMAGES_MOST
        elif kind == wire.HEX:
            fits = length <= wire.HEX_BYTES
        elif kind == wire.REPORT:
            fits = length <= wire.REPORT_LARGEST
        elif kind in {wire.LINES, wire.CELLS, wire.IMAGE}:
            self._json += length
            fits = self._json <= wire.JSON_LARGEST
        else:
            fits = False
        if not fits:
            raise Nonsense("The sandbox sent a record that cannot be.")
        return kind, _take(self._stream, length)

    def block(self, kind: int, payload: bytes) -> Block:
        """Return one block of the page."""
        if kind == wire.LINES:
            lines = _parsed(Lines, payload)
            self._rows += len(lines.rows)
            if self._rows > wire.PAGE_ROWS + wire.METADATA_ROWS + 1:
                raise Nonsense("The sandbox sent more rows than a page has.")
            return lines
        if kind == wire.CELLS:
            cells = _parsed(Cells, payload)
            self._cells += len(cells.header) + sum(map(len, cells.rows))
            if self._cells > wire.CELLS_MOST + wire.COLUMNS_MOST or any(
                len(row) > len(cells.header) for row in cells.rows
            ):
                raise Nonsense("The sandbox sent a table that cannot be.")
            return cells
        if kind == wire.IMAGE:
            facts = _parsed(ImageFacts, payload)
            kind, png = self.record()
            if kind != wire.PNG:
                raise Nonsense("The sandbox announced an image and sent none.")
            check_png(png, facts.width, facts.height)
            return Image(facts, png)
        if kind == wire.HEX:
            return Head(payload)
        raise Nonsense("The sandbox sent an image without a word about it.")


def check_png(content: bytes, width: int, height: int) -> None:
    """Check that this is a PNG of nothing but pixels, in the size that was said (PNG specification, 5 and 11.2.1).

    Raises:
        Nonsense: it is not.
    """
    wrong = Nonsense("The sandbox sent an image that is none.")
    if not content.startswith(_PNG_SIGNATURE):
        raise wrong
    at = len(_PNG_SIGNATURE)
    kinds = []
    while at + 12 <= len(content):
        length = int.from_bytes(content[at : at + 4])
        end = at + 12 + length
        kind = content[at + 4 : at + 8]
        body = memoryview(content)[at + 4 : end - 4]
        if end > len(content) or zlib.crc32(body) != int.from_bytes(content[end - 4 : end]):
            raise wrong
        if kind == b"IHDR":
            expected = (width, height, 8)
            header = _PNG_HEADER.unpack(body[4:]) if length == _PNG_HEADER.size else ()
            if header[:3] != expected or header[3] not in _PNG_COLOURS or header[4:] != (0, 0, 0):
                raise wrong
        kinds.append(kind)
        at = end
    if at != len(content) or len(kinds) < 3 or kinds[0] != b"IHDR" or kinds[-1] != b"IEND":
        raise wrong
    if set(kinds[1:-1]) != {b"IDAT"}:
        raise wrong


def read_answer(stream: IO[bytes]) -> Answer:
    """Return what the sandbox sent.

    Args:
        stream: buffered; a short read means its end.

    Raises:
        Nonsense: it broke the protocol or a limit; nothing that it said is used.
    """
    reader = _Reader(stream)
    blocks: list[Block] = []
    while True:
        kind, payload = reader.record()
        if kind == wire.REPORT:
            return Answer(_parsed(Report, payload), blocks)
        if len(blocks) > wire.PAGE_ROWS:
            raise Nonsense("The sandbox sent more parts than a page has.")
        blocks.append(reader.block(kind, payload))
