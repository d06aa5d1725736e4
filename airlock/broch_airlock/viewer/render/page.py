"""Builds the inert document: everything that came from a file is escaped here, whoever read it before."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from broch_airlock.checks.model import FileUnderCheck, display
from broch_airlock.viewer.render.inside.records import FACT_LONGEST
from broch_airlock.viewer.render.model import RenderedPage
from broch_airlock.viewer.render.reading import Answer, Block, Cells, Head, Lines

HTML_LARGEST = 40 << 20
"""Characters of a page: every character escaped as five, and all images in base64."""
MARKS_MOST = 20_000
"""Characters made visible by their code point on one page; later ones show as U+FFFD."""

_HEX_WIDTH = 16
# Letters and marks that draw nothing (Default_Ignorable_Code_Point, and the blank Braille pattern): text hides in them.
_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_TEMPLATES = Environment(
    loader=PackageLoader("broch_airlock.viewer.render"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


class Ink:
    """Makes text visible: what draws nothing, or changes how others are drawn, stands as its code point."""

    def __init__(self) -> None:
        self._left = MARKS_MOST

    @property
    def ran_out(self) -> bool:
        """Whether some characters could not be shown as code points any more."""
        return self._left < 0

    def visible(self, text: str) -> Markup:
        """Return the text, escaped."""
        if text.isprintable() and not _BLANK.search(text):
            return escape(text)
        parts = []
        for odd, group in groupby(text, _is_odd):
            run = "".join(group)
            parts.append(self._marks(run) if odd else escape(run))
        return Markup("").join(parts)

    def _marks(self, run: str) -> Markup:
        marks: list[Markup] = []
        for char, same in groupby(run):
            if self._left <= 0:
                self._left = -1
                return Markup("").join([*marks, escape("\ufffd" * (len(run) - len(marks)))])
            times = sum(1 for _ in same)
            self._left -= 1
            name = f"U+{ord(char):04X}" + (f" x{times}" if times > 1 else "")
            marks.append(Markup('<span class="odd">{}</span>').format(name))
        return Markup("").join(marks)


def _is_odd(char: str) -> bool:
    return char != "\t" and (not char.isprintable() or _BLANK.match(char) is not None)


def _shown(block: Block, ink: Ink) -> dict[str, Any]:
    """Return what the template needs to know of a block."""
    if isinstance(block, Lines):
        rows = [(str(number) if number else "↪", ink.visible(text)) for number, text in block.rows]
        return {"label": display(block.label), "rows": rows}
    if isinstance(block, Cells):
        cells = []
        for number, row in enumerate(block.rows, block.first):
            texts = [ink.visible(text) for text in row]
            cells.append((number, texts + [Markup("")] * (len(block.header) - len(row))))
        return {"label": "", "header": [ink.visible(text) for text in block.header], "cells": cells}
    if isinstance(block, Head):
        return {"label": "First bytes", "rows": list(_hex(block.content, ink))}
    facts = block.facts
    label = display(facts.label)
    size = f"{facts.true_width} x {facts.true_height} pixels"
    return {
        "label": label,
        "base64": base64.b64encode(block.png).decode("ascii"),
        "alt": f"{label or 'Image'}, {size}",
        "width": facts.width,
        "height": facts.height,
    }


def _hex(content: bytes, ink: Ink) -> Sequence[tuple[str, Markup]]:
    rows = []
    for start in range(0, len(content), _HEX_WIDTH):
        piece = content[start : start + _HEX_WIDTH]
        letters = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in piece)
        rows.append((f"{start:04x}", ink.visible(f"{piece.hex(' '):<{_HEX_WIDTH * 3}} {letters}")))
    return rows


def _document(
    file: FileUnderCheck,
    facts: Sequence[tuple[str, str]] = (),
    notes: Sequence[str] = (),
    blocks: Sequence[dict[str, Any]] = (),
    failure: str = "",
) -> str:
    known = [("Size", f"{file.size:,} bytes"), ("SHA-256", display(file.sha256, 80))]
    return _TEMPLATES.get_template("page.html").render(
        name=display(file.name), facts=[*known, *facts], notes=notes, failure=failure, blocks=blocks
    )


def failure_page(file: FileUnderCheck, reason: str) -> RenderedPage:
    """Return the page for a file that cannot be shown.

    Args:
        file: as intake recorded it.
        reason: one sentence for a person.
    """
    return RenderedPage(_document(file, failure=display(reason, FACT_LONGEST)), None, "failure")


def make_page(file: FileUnderCheck, page: int, answer: Answer) -> RenderedPage:
    """Return the document for what the sandbox said.

    Args:
        file: as intake recorded it.
        page: the page that was asked for.
        answer: of the sandbox, read by `reading`.
    """
    report = answer.report
    ink = Ink()
    blocks = [_shown(block, ink) for block in answer.blocks]
    notes = [display(note, FACT_LONGEST) for note in report.notes]
    if ink.ran_out:
        notes.append(f"More than {MARKS_MOST:,} unprintable characters: the later ones are shown as \ufffd.")
    facts = [(display(term), display(value, FACT_LONGEST)) for term, value in report.facts]
    if report.pages is None or report.pages > 1:
        facts.append(("Page", f"{page:,} of {report.pages:,}" if report.pages else f"{page:,}"))
    if report.pages is not None and page > report.pages:
        notes.append(f"There is no page {page:,}; the last one is {report.pages:,}.")
    html = _document(file, facts, notes, blocks)
    if len(html) > HTML_LARGEST:
        return failure_page(file, "What it holds is too large for one page.")
    return RenderedPage(html, report.pages, report.kind)
