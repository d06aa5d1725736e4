"""Build the worked notebook of a project from a Markdown file: prose becomes text cells, fences become code cells.

Plain data to nbformat 4.5 (https://nbformat.readthedocs.io/en/latest/format_description.html), so that the control
plane needs no Jupyter package to write it. Same source, same bytes: ids are counted, outputs are empty.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import Any

from broch.demo.people import DemoProject

_SOURCE = Path(__file__).parent / "notebooks" / "first_look.md"

FIRST_LOOK = "first_look.ipynb"
"""Name of the notebook in the researcher's home."""

_FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ONLY_WITH = re.compile(r"^<!-- with ([a-z0-9-]+) -->\n(.*?)^<!-- end -->\n", re.MULTILINE | re.DOTALL)
_BREAK = re.compile(r"^---$", re.MULTILINE)

_METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def first_look(project: DemoProject) -> dict[str, Any]:
    """Return the notebook for `project` as nbformat 4.5 data. Parts about datasets it has no grant on are left out."""
    granted = _ONLY_WITH.sub(
        lambda part: part[2] if part[1] in project.datasets else "", _SOURCE.read_text(encoding="utf-8")
    )
    text = Template(granted).substitute(project=project.name, purpose=project.purpose)
    cells = [_cell(number, kind, source) for number, (kind, source) in enumerate(_parts(text), start=1)]
    return {"cells": cells, "metadata": _METADATA, "nbformat": 4, "nbformat_minor": 5}


def first_look_bytes(project: DemoProject) -> bytes:
    """Return the notebook file for `project`, as Jupyter itself would lay it out."""
    return (json.dumps(first_look(project), indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _parts(text: str) -> Iterator[tuple[str, str]]:
    """Yield (cell type, source). `---` on a line of its own parts two text cells."""
    for index, chunk in enumerate(_FENCE.split(text)):
        if index % 2:
            yield "code", chunk.strip("\n")
        else:
            for prose in filter(None, (piece.strip() for piece in _BREAK.split(chunk))):
                yield "markdown", prose


def _cell(number: int, kind: str, source: str) -> dict[str, Any]:
    cell: dict[str, Any] = {
        "cell_type": kind,
        "id": f"first-look-{number:02}",
        "metadata": {},
        "source": source.splitlines(keepends=True),
    }
    if kind == "code":
        cell |= {"execution_count": None, "outputs": []}
    return cell
