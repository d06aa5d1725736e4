"""Cuts what a file says into pages, and keeps the one that is wanted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from broch_airlock.viewer.render.inside.records import (
    CELLS,
    FACT_LONGEST,
    FACTS_MOST,
    HEX,
    IMAGE,
    IMAGE_ROWS,
    LABEL_LONGEST,
    LINES,
    PAGE_ROWS,
    PNG,
    ROW_LONGEST,
    clean,
)

COUNTING_SECONDS = 8.0
"""How long pages are counted that nobody asked for."""
CONTINUED = 0
"""Number of a row that goes on with the line before."""


class Unshowable(Exception):
    """The file cannot be shown in this way; the sentence says why, and the next way is tried."""


@dataclass
class Picture:
    """An image as it will be shown."""

    png: bytes = field(repr=False)
    width: int
    """Pixels of the PNG."""
    height: int
    true_width: int
    """Pixels of the original."""
    true_height: int


@dataclass
class Page:
    """The page that is wanted, as it grows."""

    wanted: int
    kind: str
    pages: int | None = None
    records: list[tuple[int, Any]] = field(default_factory=list)
    facts: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def fact(self, term: str, value: object) -> None:
        """Say something of the file."""
        self.facts.append((term, clean(str(value))[:FACT_LONGEST]))

    def note(self, text: str) -> None:
        """Say what the reader must know of this way of showing it; each sentence once."""
        if text not in self.notes:
            self.notes.append(clean(text)[:FACT_LONGEST])

    def report(self) -> dict[str, Any]:
        """Return the last record."""
        return {
            "kind": self.kind,
            "pages": self.pages,
            "facts": self.facts[:FACTS_MOST],
            "notes": self.notes[:FACTS_MOST],
        }

    def picture(self, label: str, picture: Picture) -> None:
        """Show an image."""
        about = {
            "label": clean(label)[:LABEL_LONGEST],
            "width": picture.width,
            "height": picture.height,
            "true_width": picture.true_width,
            "true_height": picture.true_height,
        }
        self.records += [(IMAGE, about), (PNG, picture.png)]

    def cells(self, header: Sequence[str], first: int, rows: Sequence[Sequence[str]]) -> None:
        """Show rows of a table; `first` is the number of the first one."""
        value = {
            "header": [clean(text) for text in header],
            "first": first,
            "rows": [[clean(text) for text in row] for row in rows],
        }
        self.records.append((CELLS, value))

    def lines(self, label: str, texts: Sequence[str]) -> None:
        """Show rows that do not count for the pages."""
        rows = [(number, clean(text)) for number, text in enumerate(texts, 1)]
        self.records.append((LINES, {"label": label, "rows": rows}))

    def bytes(self, head: bytes) -> None:
        """Show the first bytes."""
        self.records.append((HEX, head))


class Pager:
    """Takes rows and images in their order; only those on the wanted page are kept.

    Args:
        page: where they go.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        self._at = 0
        self._label = ""
        self._first = (page.wanted - 1) * PAGE_ROWS
        self._stop_counting = time.monotonic() + COUNTING_SECONDS
        self._all = True

    def label(self, text: str) -> None:
        """Begin a block under a heading."""
        self._label = text

    def rows(self, texts: Sequence[str], numbers: Sequence[int]) -> None:
        """Add rows, each with the number of its line (`CONTINUED` for a further part of the same line)."""
        start, end = max(self._first - self._at, 0), max(self._first + PAGE_ROWS - self._at, 0)
        kept = list(zip(numbers[start:end], map(clean, texts[start:end]), strict=True))
        self._at += len(texts)
        if not kept:
            return
        records = self._page.records
        if records and records[-1][0] == LINES and records[-1][1]["label"] == self._label[:LABEL_LONGEST]:
            records[-1][1]["rows"] += kept
        else:
            records.append((LINES, {"label": clean(self._label)[:LABEL_LONGEST], "rows": kept}))

    def text(self, label: str, text: str) -> None:
        """Add a block of text."""
        self.label(label)
        self.rows(*wrapped(text.split("\n"), 1))

    def image(self, label: str, picture: Callable[[], Picture]) -> None:
        """Add an image; it is read only when it is on the wanted page."""
        if self._at % PAGE_ROWS + IMAGE_ROWS > PAGE_ROWS:
            self._at += PAGE_ROWS - self._at % PAGE_ROWS
        wanted = self._first <= self._at < self._first + PAGE_ROWS
        self._at += IMAGE_ROWS
        if not wanted:
            return
        try:
            self._page.picture(label, picture())
        except Unshowable as reason:
            row = (1, clean(str(reason))[:ROW_LONGEST])
            self._page.records.append((LINES, {"label": clean(label)[:LABEL_LONGEST], "rows": [row]}))

    @property
    def tired(self) -> bool:
        """Whether the wanted page is complete and counting the others took long enough."""
        done = self._at > self._first + PAGE_ROWS
        if done and time.monotonic() > self._stop_counting:
            self._all = False
        return not self._all

    def finish(self) -> None:
        """Tell the page how many there are."""
        if self._all:
            self._page.pages = max(1, -(-self._at // PAGE_ROWS))
        else:
            self._page.note("The file is so large that its pages were not counted; more pages follow.")


def pieces(line: str) -> Iterator[str]:
    """Yield the rows of one line."""
    for start in range(0, max(len(line), 1), ROW_LONGEST):
        yield line[start : start + ROW_LONGEST]


def wrapped(lines: Sequence[str], first: int) -> tuple[Sequence[str], Sequence[int]]:
    """Return rows and their numbers for whole lines, of which the first has the number `first`."""
    if max(map(len, lines), default=0) <= ROW_LONGEST:
        return lines, range(first, first + len(lines))
    texts: list[str] = []
    numbers: list[int] = []
    for number, line in enumerate(lines, first):
        rows = list(pieces(line))
        texts += rows
        numbers += [number, *[CONTINUED] * (len(rows) - 1)]
    return texts, numbers
