"""Strict readers of the encodings that proofs are made of: JSON, base64, hex, RFC 3339. One form each, or an error."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from broch_core.proof.errors import Malformed

LARGEST_INTEGER = 2**53 - 1
"""RFC 8785 3.2.2.3: integers beyond are not exact in every JSON reader."""

_HEX32 = re.compile(r"[0-9a-f]{64}")
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{3}|\.\d{6})?Z", re.ASCII)


def read_json(data: bytes, *, what: str, limit: int) -> Any:
    """Read JSON strictly: UTF-8, no duplicate keys, no floats, integers within 2^53 - 1, no lone surrogates.

    Args:
        data: the bytes.
        what: what they should be, for the error ("the receipt").
        limit: most bytes accepted.

    Raises:
        Malformed: any of these does not hold.
    """
    if len(data) > limit:
        raise Malformed(f"{what} is larger than {limit} bytes.")

    def no_float(text: str) -> Any:
        raise Malformed(f"{what} holds the number {text[:32]}; only integers have a place there.")

    def integer(text: str) -> int:
        # 16 digits hold 2^53 - 1; longer text is refused before Python spends time on it.
        if len(text) > 17 or abs(int(text)) > LARGEST_INTEGER or text == "-0":
            raise Malformed(f"{what} holds an integer that JSON readers do not agree on.")
        return int(text)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        if len(members) != len(pairs):
            raise Malformed(f"{what} names a key twice.")
        return members

    try:
        text = data.decode("utf-8")
        value = json.loads(
            text, parse_float=no_float, parse_int=integer, parse_constant=no_float, object_pairs_hook=unique
        )
        # An escape such as \ud800 passes the parser and is no text; this finds it wherever it is.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (UnicodeError, json.JSONDecodeError) as error:
        raise Malformed(f"{what} is not UTF-8 JSON.") from error
    except RecursionError as error:
        raise Malformed(f"{what} is nested too deeply.") from error
    return value


def members(value: Any, names: Iterable[str], *, what: str, optional: Iterable[str] = ()) -> dict[str, Any]:
    """Return `value` as an object with exactly these members (and maybe the optional ones).

    Raises:
        Malformed: it is no object, or a member is missing or unknown.
    """
    if not isinstance(value, dict):
        raise Malformed(f"{what} is not an object.")
    needed = set(names)
    if missing := sorted(needed - value.keys()):
        raise Malformed(f"{what} lacks {missing[0]!r}.")
    if unknown := sorted(value.keys() - needed - set(optional)):
        raise Malformed(f"{what} has a field unknown to this version: {unknown[0][:64]!r}.")
    return value


def text(value: Any, *, what: str, longest: int = 1024) -> str:
    """Return `value` as a non-empty text without control characters.

    Raises:
        Malformed: it is something else.
    """
    if not isinstance(value, str) or not value or len(value) > longest or not value.isprintable():
        raise Malformed(f"{what} is not a plain text of 1 to {longest} characters.")
    return value


def items(value: Any, *, what: str, most: int, least: int = 0) -> list[Any]:
    """Return `value` as a list of `least` to `most` items.

    Raises:
        Malformed: it is something else.
    """
    if not isinstance(value, list) or not least <= len(value) <= most:
        raise Malformed(f"{what} is not a list of {least} to {most} items.")
    return value


def integer(value: Any, *, what: str) -> int:
    """Return `value` as an integer from 0 up.

    Raises:
        Malformed: it is something else (a boolean, too).
    """
    if type(value) is not int or not 0 <= value <= LARGEST_INTEGER:
        raise Malformed(f"{what} is not a whole number from 0 up.")
    return value


def hex32(value: Any, *, what: str) -> str:
    """Return `value` as 64 lower-case hex digits, a SHA-256.

    Raises:
        Malformed: it is something else.
    """
    if not isinstance(value, str) or not _HEX32.fullmatch(value):
        raise Malformed(f"{what} is not a SHA-256 in 64 lower-case hex digits.")
    return value


def from_base64(value: Any, *, what: str) -> bytes:
    """Decode standard base64 (RFC 4648, section 4) in its one canonical spelling.

    Raises:
        Malformed: it is something else; loose padding bits or white space, too.
    """
    if not isinstance(value, str):
        raise Malformed(f"{what} is not base64.")
    try:
        decoded = base64.b64decode(value.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeError) as error:
        raise Malformed(f"{what} is not base64.") from error
    if to_base64(decoded) != value:
        raise Malformed(f"{what} is not base64 in its canonical spelling.")
    return decoded


def to_base64(data: bytes) -> str:
    """Encode as standard base64 (RFC 4648, section 4)."""
    return base64.b64encode(data).decode("ascii")


def moment(value: Any, *, what: str) -> datetime:
    """Read RFC 3339 in UTC: `2026-01-31T12:00:00Z`, with milli- or microseconds if any.

    Raises:
        Malformed: it is something else.
    """
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise Malformed(f"{what} is not an RFC 3339 time in UTC.")
    try:
        return datetime.fromisoformat(value).astimezone(UTC)
    except ValueError as error:
        raise Malformed(f"{what} is not a time that exists.") from error
