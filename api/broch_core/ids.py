"""Ids: ULIDs as 26 upper-case letters and digits (Crockford base 32). Opaque everywhere; nothing is parsed from one."""

from __future__ import annotations

import re
import secrets
from typing import Annotated

from pydantic import AfterValidator, Field
from ulid import ULID

from broch_core.errors import NotFound

_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
_SLUG = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_LABEL_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"


def new_id() -> str:
    """Return a fresh ULID."""
    return str(ULID())


def new_principal() -> str:
    """Return a fresh principal: `w` and 25 random letters and digits, a DNS label (RFC 1123)."""
    return "w" + "".join(secrets.choice(_LABEL_ALPHABET) for _ in range(25))


def existing_id(value: str) -> str:
    """Return `value` if it can be an id at all; a malformed id is an id that does not exist.

    Raises:
        NotFound: it is no ULID.
    """
    if not _ULID.fullmatch(value):
        raise NotFound("There is nothing with this id, or you may not see it.")
    return value


def is_slug(value: str, *, longest: int = 40) -> bool:
    """Tell whether `value` is a slug: lower-case words joined by single hyphens."""
    return len(value) <= longest and _SLUG.fullmatch(value) is not None


Id = Annotated[
    str,
    AfterValidator(existing_id),
    Field(json_schema_extra={"pattern": f"^{_ULID.pattern}$"}, examples=["01JD3W7Z8Q5T9XK2M4N6P8R0SV"]),
]
