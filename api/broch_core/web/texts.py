"""Texts from outside: bounded, in NFC, without control characters or characters that turn the reading direction."""

from __future__ import annotations

import unicodedata
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from broch_core.ids import is_slug

_LINE_BREAKS = frozenset("\n\t")
_HIDDEN = frozenset({"Cc", "Cs", "Cn", "Co", "Zl", "Zp"})
BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that turn the reading direction (Unicode UAX 9): a name with them can look like another one."""


def hidden_character(text: str, *, allowed: frozenset[str] = frozenset()) -> str | None:
    """Return the first character that a reader would not see as what it is, or nothing."""
    for character in text:
        if character in allowed:
            continue
        if unicodedata.category(character) in _HIDDEN or character in BIDI_CONTROLS:
            return character
    return None


def _clean(text: str, allowed: frozenset[str]) -> str:
    text = text.replace("\r\n", "\n") if allowed else text
    if (found := hidden_character(text, allowed=allowed)) is not None:
        raise ValueError(f"The character U+{ord(found):04X} cannot be shown and is not allowed here.")
    return unicodedata.normalize("NFC", text)


def one_line(text: str) -> str:
    """Check a text of one line.

    Raises:
        ValueError: it has a control, bidi or unassigned character.
    """
    return _clean(text, frozenset())


def paragraphs(text: str) -> str:
    """Check a text that may have line breaks and tabs.

    Raises:
        ValueError: it has another control, a bidi or an unassigned character.
    """
    return _clean(text, _LINE_BREAKS)


def slug(text: str) -> str:
    """Check a slug.

    Raises:
        ValueError: it is none.
    """
    if not is_slug(text):
        raise ValueError(
            "Use lower-case letters, digits and single hyphens, a letter first, at most 40 characters."
        )
    return text


Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1), AfterValidator(one_line)]
"""One line of text, not empty; give its longest length by `Field(max_length=...)`."""

Paragraphs = Annotated[str, StringConstraints(strip_whitespace=True), AfterValidator(paragraphs)]
"""Text of several lines, may be empty; give its longest length by `Field(max_length=...)`."""

Slug = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=40),
    AfterValidator(slug),
    Field(examples=["tumour-texture"], json_schema_extra={"pattern": "^[a-z][a-z0-9]*(?:-[a-z0-9]+)*$"}),
]
"""Lower-case words joined by single hyphens."""
