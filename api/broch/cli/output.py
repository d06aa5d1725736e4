"""What commands print: plain aligned tables for people, JSON for programs. Texts of others never steer the terminal."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.cells import cell_len, set_cell_size

from broch_core.sizes import binary_size

_NARROWEST = 8
_GAP = "  "
size = binary_size
"""Return a number of bytes as people read it."""


def plain(value: object) -> str:
    """Return a text as it may go to a terminal: on one line, with what does not print escaped."""
    if value is None:
        return "-"
    text = " ".join(str(value).split()) if not isinstance(value, bool) else ("yes" if value else "no")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def when(stamp: str | None) -> str:
    """Return an RFC 3339 time in the local zone, with its offset from UTC."""
    if stamp is None:
        return "-"
    try:
        moment = datetime.fromisoformat(stamp)
    except ValueError:
        return plain(stamp)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    text = moment.astimezone().isoformat(sep=" ", timespec="minutes")
    return f"{text[:16]} {text[16:]}"


def say(text: str = "") -> None:
    """Print a line of the result."""
    sys.stdout.write(text + "\n")


def note(text: str) -> None:
    """Print a line for the person, apart from the result."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def as_json(value: Any) -> None:
    """Print JSON with sorted keys, so that the same answer is the same text."""
    say(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=True))


def table(headers: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str) -> None:
    """Print a table; in a terminal its longest columns give way until it fits.

    Args:
        headers: of the columns.
        rows: their cells.
        empty: what to say, apart from the result, if there are no rows.
    """
    if not rows:
        note(empty)
        return
    cells = [[plain(cell) for cell in row] for row in (headers, *rows)]
    widths = [max(cell_len(row[column]) for row in cells) for column in range(len(headers))]
    if sys.stdout.isatty():
        _fit(widths, shutil.get_terminal_size().columns)
    for row in cells:
        line = _GAP.join(_cell(text, width) for text, width in zip(row, widths, strict=True))
        say(line.rstrip())


def heading(text: str) -> None:
    """Print a heading between parts of a result."""
    say(f"\n{text}")


def lines(text: str) -> None:
    """Print a text of several lines as it is, but for what does not print."""
    for line in text.rstrip("\n").split("\n"):
        say("".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in line))


def details(pairs: Mapping[str, object]) -> None:
    """Print named values, one a line, aligned."""
    width = max(map(len, pairs), default=0)
    for name, value in pairs.items():
        say(f"{name:<{width}}  {plain(value)}")


def _fit(widths: list[int], room: int) -> None:
    while sum(widths) + len(_GAP) * (len(widths) - 1) > room:
        widest = max(range(len(widths)), key=widths.__getitem__)
        if widths[widest] <= _NARROWEST:
            return
        widths[widest] -= 1


def _cell(text: str, width: int) -> str:
    length = cell_len(text)
    if length <= width:
        return text + " " * (width - length)
    return set_cell_size(text, width - 1) + "…"
