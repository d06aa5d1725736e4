"""Canonical JSON (RFC 8785, JCS): one byte string for one value, so that a digest over it means something."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import rfc8785

from broch_core.proof.errors import NotCanonical


def canonical(value: object) -> bytes:
    """Return the RFC 8785 form of a JSON value.

    Args:
        value: mappings with string keys, lists, tuples, strings, numbers, booleans, None.

    Raises:
        NotCanonical: a number that is not finite or an integer beyond 2^53 - 1, a key that is not a string, a
            lone surrogate, an object that is no JSON value, or nesting too deep to walk.
    """
    try:
        if _simple(value):
            return _encode(value).encode("ascii")
        return rfc8785.dumps(_plain(value))
    except rfc8785.CanonicalizationError as error:
        raise NotCanonical(f"This value has no canonical JSON form: {error}.") from error
    except UnicodeError as error:  # the package lets a lone surrogate in a key through to its sorting
        raise NotCanonical("This value holds a text that is not Unicode.") from error
    except RecursionError as error:
        raise NotCanonical("This value is nested too deeply.") from error


_LARGEST = 2**53 - 1
_encode = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, check_circular=False
).encode


def _simple(value: object) -> bool:
    """Tell whether the standard encoder writes this as RFC 8785 asks: ASCII alone, no floats, exact built-in types.

    ASCII sorts alike by code points and by UTF-16; both escape the same control characters in the same way.
    """
    kind = type(value)
    if kind is str:
        return bool(value.isascii())  # type: ignore[attr-defined]
    if kind is int:
        return -_LARGEST <= value <= _LARGEST  # type: ignore[operator]
    if kind is dict:
        return all(type(k) is str and k.isascii() and _simple(v) for k, v in value.items())  # type: ignore[attr-defined]
    if kind is list:
        return all(map(_simple, value))  # type: ignore[call-overload]
    return value is None or kind is bool


def _plain(value: object) -> Any:
    """Reduce to the exact built-in types, so that no subclass can write itself in another way."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        plain: dict[str, Any] = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise NotCanonical(f"A JSON key is a string, not {type(key).__name__}.")
            plain[str.__str__(key)] = _plain(item)
        return plain
    raise NotCanonical(f"{type(value).__name__} is no JSON value.")
