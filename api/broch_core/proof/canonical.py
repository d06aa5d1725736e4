"""Canonical JSON (RFC 8785, JCS): one byte string for one value, so that a digest over it means something."""

from __future__ import annotations

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
        return rfc8785.dumps(_plain(value))
    except rfc8785.CanonicalizationError as error:
        raise NotCanonical(f"This value has no canonical JSON form: {error}.") from error
    except UnicodeError as error:  # the package lets a lone surrogate in a key through to its sorting
        raise NotCanonical("This value holds a text that is not Unicode.") from error
    except RecursionError as error:
        raise NotCanonical("This value is nested too deeply.") from error


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
