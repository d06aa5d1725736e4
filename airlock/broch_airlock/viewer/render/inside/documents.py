"""JSON and Jupyter notebooks as text."""

from __future__ import annotations

import base64
import binascii
import io
import json
import re
from collections.abc import Iterator
from typing import IO, Any

from broch_airlock.viewer.render.inside.images import read_picture
from broch_airlock.viewer.render.inside.pager import Page, Pager, Picture, Unshowable
from broch_airlock.viewer.render.inside.records import IMAGES_MOST, PNG_LARGEST, ROW_LONGEST
from broch_airlock.viewer.render.inside.texts import encoding_of, show_text

NOTEBOOK_LARGEST = 32 << 20
"""Bytes. Parsing takes some ten times as much memory."""
REFLOW_LARGEST = 4 << 20
"""Bytes of JSON that gets line breaks when it has none: some microseconds for each token."""
_INDENT_MOST = 40
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s"{}\[\],:]+', re.DOTALL)
_IMAGES = {"image/png", "image/jpeg", "image/gif", "image/webp", "image/tiff"}


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise Unshowable("A name occurs twice in one object, so the JSON text is shown as it is.")
    return value


def show_json(file: IO[bytes], head: bytes, size: int, page: Page) -> None:
    """Show JSON as text; one without line breaks gets some, and nothing else is changed.

    Raises:
        Unshowable: it should be shown as plain text.
    """
    if size > REFLOW_LARGEST:
        raise Unshowable(f"JSON above {REFLOW_LARGEST >> 20} MiB is shown as plain text.")
    file.seek(0)
    content = file.read(REFLOW_LARGEST + 1)
    encoding = encoding_of(head)
    try:
        text = content.decode(encoding)
        json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unshowable(f"It is not valid JSON ({error}), so it is shown as plain text.") from None
    if max(map(len, text.split("\n"))) <= ROW_LONGEST:
        show_text(file, head, page)
        return
    page.fact("Encoding", encoding)
    page.note("Line breaks and indents were added: a line was very long.")
    pager = Pager(page)
    pager.text("", "\n".join(_reflowed(text)))
    pager.finish()


def _reflowed(text: str) -> Iterator[str]:
    """Yield lines of valid JSON with its tokens unchanged."""
    depth, line = 0, ""
    previous = ""
    for part in _TOKEN.findall(text):
        if part in "}]":
            depth -= 1
            if previous in "{[":
                line += part
            else:
                yield line
                line = "  " * min(depth, _INDENT_MOST) + part
        elif previous and previous in "{[,":
            yield line
            line = "  " * min(depth, _INDENT_MOST) + part
        else:
            line += " " + part if previous == ":" else part
        if part in "{[":
            depth += 1
        previous = part
    yield line


def show_notebook(file: IO[bytes], head: bytes, size: int, page: Page) -> None:
    """Show a notebook: its cells, their outputs, and all else that it holds.

    Raises:
        Unshowable: it is not such a notebook; it should be shown as JSON.
    """
    if size > NOTEBOOK_LARGEST:
        raise Unshowable(f"Notebooks above {NOTEBOOK_LARGEST >> 20} MiB are shown as plain text.")
    file.seek(0)
    try:
        notebook = json.loads(
            file.read(NOTEBOOK_LARGEST).decode(encoding_of(head)), object_pairs_hook=_refuse_repeated
        )
    except (ValueError, RecursionError) as error:
        raise Unshowable(f"It is not valid JSON ({error}), so it is shown as plain text.") from None
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        raise Unshowable("It is not a notebook of version 4, so the JSON text is shown.")
    cells = notebook.pop("cells")
    pager = Pager(page)
    for number, cell in enumerate(cells, 1):
        if not isinstance(cell, dict):
            raise Unshowable("A cell of the notebook is not an object, so the JSON text is shown.")
        _show_cell(pager, f"Cell {number}", cell)
    _show_rest(pager, "Notebook: all else", notebook)
    pager.finish()
    page.fact("Cells", f"{len(cells):,}")
    page.note("Outputs in HTML, SVG or scripts are shown as their source.")


def _joined(value: Any) -> str:
    """Return a multi-line string of nbformat: one string, or a list of them."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "".join(value)
    return json.dumps(value, ensure_ascii=False, indent=1)


def _show_rest(pager: Pager, label: str, value: dict[str, Any]) -> None:
    """Show what has no place of its own: things hide in metadata."""
    rest = {name: inner for name, inner in value.items() if inner not in ({}, [], None)}
    if rest:
        pager.text(label, json.dumps(rest, ensure_ascii=False, indent=1))


def _show_cell(pager: Pager, label: str, cell: dict[str, Any]) -> None:
    rest = dict(cell)
    kind = rest.pop("cell_type", "?")
    run = rest.pop("execution_count", None)
    about = f"{label}: {kind}" + (f", run {run}" if run is not None else "")
    pager.text(about, _joined(rest.pop("source", "")))
    outputs = rest.pop("outputs", [])
    attachments = rest.pop("attachments", {})
    if not isinstance(outputs, list) or not isinstance(attachments, dict):
        raise Unshowable("A cell of the notebook has another form, so the JSON text is shown.")
    for number, output in enumerate(outputs, 1):
        if not isinstance(output, dict):
            raise Unshowable("An output of the notebook is not an object, so the JSON text is shown.")
        _show_output(pager, f"{label}, output {number}", output)
    for name, data in attachments.items():
        _show_data(pager, f"{label}, attachment {name}", data)
    _show_rest(pager, f"{label}: all else", rest)


def _show_output(pager: Pager, label: str, output: dict[str, Any]) -> None:
    rest = dict(output)
    kind = rest.pop("output_type", "?")
    rest.pop("execution_count", None)
    if "text" in rest:
        pager.text(f"{label}: {rest.pop('name', kind)}", _joined(rest.pop("text")))
    if "traceback" in rest:
        trace = rest.pop("traceback")
        lines = isinstance(trace, list) and all(isinstance(line, str) for line in trace)
        pager.text(f"{label}: traceback", "\n".join(trace) if lines else _joined(trace))
    if "data" in rest:
        _show_data(pager, label, rest.pop("data"))
    _show_rest(pager, f"{label}: all else", rest)


def _show_data(pager: Pager, label: str, data: Any) -> None:
    if not isinstance(data, dict):
        raise Unshowable("An output of the notebook has another form, so the JSON text is shown.")
    for media, value in data.items():
        if media in _IMAGES and isinstance(value, str | list):
            pager.image(f"{label}: {media}", _Embedded(_joined(value)))
        else:
            pager.text(f"{label}: {media}", _joined(value))


class _Embedded:
    """An image in base64 that is read when it is asked for."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __call__(self) -> Picture:
        try:
            content = base64.b64decode("".join(self._text.split()), validate=True)
        except (binascii.Error, ValueError):
            raise Unshowable("The image is not valid base64.") from None
        return read_picture(io.BytesIO(content), PNG_LARGEST // IMAGES_MOST)
