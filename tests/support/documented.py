"""The command lines that the documents show."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]


def command_lines(document: Path) -> list[str]:
    """Return the lines of the `sh` blocks of a document below the root, in order, without their comments."""
    text = (ROOT / document).read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = [shlex.join(shlex.split(line, comments=True)) for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


def shown_inline(document: Path) -> list[str]:
    """Return the `broch` commands that stand within the text of a document, or indented below it."""
    text = (ROOT / document).read_text(encoding="utf-8")
    found = re.findall(r"`(\./broch [^`]+)`", text) + re.findall(r"^    (broch .+)$", text, re.MULTILINE)
    return list(dict.fromkeys(found))
