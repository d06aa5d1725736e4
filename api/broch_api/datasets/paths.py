"""Paths of files inside a dataset version: plain, relative, and nothing that looks like another name."""

from __future__ import annotations

import unicodedata

from broch_core.errors import Invalid
from broch_core.web.texts import hidden_character

LONGEST_PATH = 500
"""Bytes of UTF-8; the column and the folder below the version hold it."""
LONGEST_NAME = 255
"""Bytes of one part (NAME_MAX of the usual Linux file systems)."""
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def _odd(character: str) -> bool:
    """Tell whether a character shows nothing, or a space that is not the plain one."""
    return unicodedata.category(character) in {"Cf", "Zs"} and character != " "


def checked_path(path: str) -> str:
    """Return `path` if it is hygienic.

    Raises:
        Invalid: it is absolute, has an empty part, a part that begins with a dot or hyphen, a backslash, a hidden
            character, is not in NFC, or is too long.
    """
    if not path or len(path.encode("utf-8", "surrogatepass")) > LONGEST_PATH:
        raise Invalid(f"The path of a file has between 1 and {LONGEST_PATH} bytes.", field="path")
    if hidden_character(path) is not None or any(_odd(c) for c in path):
        raise Invalid("The path of a file has a control or invisible character.", field="path")
    if "\\" in path or _REPLACEMENT in path:
        raise Invalid("The path of a file has a backslash, or is not UTF-8.", field="path")
    if unicodedata.normalize("NFC", path) != path:
        raise Invalid("The path of a file is not in Unicode normal form C.", field="path")
    for part in path.split("/"):
        if not part:
            raise Invalid("The path of a file is relative, and no part of it is empty.", field="path")
        if part[0] in ".-" or part != part.strip():
            raise Invalid(
                f"No part of a path begins with a dot, a hyphen or a space, or ends with a space: '{part}'.",
                field="path",
            )
        if len(part.encode()) > LONGEST_NAME:
            raise Invalid(f"No part of a path is longer than {LONGEST_NAME} bytes.", field="path")
    return path
