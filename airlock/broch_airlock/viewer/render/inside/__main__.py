"""The program inside the sandbox: reads its job from a descriptor, looks at `/in/0`, writes records to its output."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from broch_airlock.checks.inside.kinds import HEAD, Kind, kind_of
from broch_airlock.viewer.render.inside.documents import show_json, show_notebook
from broch_airlock.viewer.render.inside.images import is_image, show_image
from broch_airlock.viewer.render.inside.pager import Page, Unshowable
from broch_airlock.viewer.render.inside.records import HEX, HEX_BYTES, PNG, REPORT, RecordWriter
from broch_airlock.viewer.render.inside.tables import show_table
from broch_airlock.viewer.render.inside.texts import mostly_text, show_text, unmarked_utf16

_OUTPUT = 1
_TABLES = (".csv", ".tsv", ".tab")

Way = tuple[str, Callable[[Page], None]]
"""A kind of page, and what fills it."""


def _write(content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(_OUTPUT, view) :]


def _ways(file: IO[bytes], head: bytes, kind: Kind, size: int, name: str) -> Iterator[Way]:
    """Yield the ways in which the file may be shown, the best first; the last always works."""
    if is_image(head):
        yield "image", lambda page: show_image(file, page)
    elif kind.family == "text" or unmarked_utf16(head) or (kind.family == "unknown" and mostly_text(head)):
        if name.lower().endswith(_TABLES):
            yield "table", lambda page: show_table(file, head, size, name, page)
        if kind.name == "notebook":
            yield "notebook", lambda page: show_notebook(file, head, size, page)
        if kind.name in {"notebook", "json"}:
            yield "json", lambda page: show_json(file, head, size, page)
        yield "text", lambda page: show_text(file, head, page)
    yield "data", lambda page: _show_bytes(page, head)


def _show_bytes(page: Page, head: bytes) -> None:
    page.pages = 1
    page.bytes(head[:HEX_BYTES])
    page.note(f"Files of this kind are not shown; these are their first bytes, {HEX_BYTES:,} at most.")


def render_inside(file: IO[bytes], name: str, wanted: int) -> Page:
    """Return the wanted page of a file, in the best way that works."""
    size = os.fstat(file.fileno()).st_size
    head = file.read(HEAD)
    kind = kind_of(head)
    if not head:
        return Page(wanted, "empty", pages=1, notes=["The file is empty."])
    reasons: list[str] = []
    for shown_as, fill in _ways(file, head, kind, size, name):
        page = Page(wanted, shown_as)
        for reason in reasons:
            page.note(reason)
        page.fact("Type", "text" if shown_as == "text" and kind.family != "text" else kind.name)
        try:
            fill(page)
        except Unshowable as reason:
            reasons.append(str(reason))
        except (Exception, MemoryError) as error:  # noqa: BLE001 (the next way takes over)
            reasons.append(f"It could not be shown as {shown_as} ({type(error).__name__}).")
        else:
            return page
    raise AssertionError("the last way always works")


def main() -> None:
    """Render one page of one file."""
    with os.fdopen(int(sys.argv[1]), "rb") as descriptor:
        job = json.load(descriptor)
    with Path("/in/0").open("rb") as file:
        page = render_inside(file, str(job["name"]), int(job["page"]))
    out = RecordWriter(_write)
    for kind, value in page.records:
        if kind in {PNG, HEX}:
            out.raw(kind, value)
        else:
            out.json(kind, value)
    out.json(REPORT, page.report())


if __name__ == "__main__":
    main()
