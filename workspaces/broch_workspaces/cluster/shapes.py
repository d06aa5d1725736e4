"""A small language for saying exactly what a JSON document may be. What is not said is refused.

A shape takes a value and where it stands, and yields what is wrong with it, in words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Shape = Callable[[Any, str], Iterator[str]]


def exactly(*allowed: object) -> Shape:
    """One of these values, of the same type: `1` is not `True`."""

    def check(value: Any, where: str) -> Iterator[str]:
        if not any(type(value) is type(one) and value == one for one in allowed):
            yield f"{where} is {value!r}, not {' or '.join(repr(one) for one in allowed)}"

    return check


def matching(pattern: str) -> Shape:
    """A string that matches as a whole."""
    compiled = re.compile(pattern)

    def check(value: Any, where: str) -> Iterator[str]:
        if not isinstance(value, str) or not compiled.fullmatch(value):
            yield f"{where} is {value!r}"

    return check


def whole(least: int, most: int) -> Shape:
    """A whole number between two bounds, both included."""

    def check(value: Any, where: str) -> Iterator[str]:
        if type(value) is not int or not least <= value <= most:
            yield f"{where} is {value!r}, not between {least} and {most}"

    return check


def listing(shape: Shape, least: int = 0, most: int = 100) -> Shape:
    """A list of values of one shape."""

    def check(value: Any, where: str) -> Iterator[str]:
        if not isinstance(value, list) or not least <= len(value) <= most:
            yield f"{where} is no list of {least} to {most}"
            return
        for index, one in enumerate(value):
            yield from shape(one, f"{where}[{index}]")

    return check


def record(must: Mapping[str, Shape], may: Mapping[str, Shape] | None = None) -> Shape:
    """An object with all of these fields, perhaps some others, and nothing else."""
    known = {**must, **(may or {})}

    def check(value: Any, where: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{where} is no object"
            return
        yield from (f"{where}.{name} is missing" for name in must if name not in value)
        for name, one in value.items():
            if name in known:
                yield from known[name](one, f"{where}.{name}")
            else:
                yield f"{where}.{name} is not allowed"

    return check


def either(**shapes: Shape) -> Shape:
    """An object with a `name` and exactly one other field, which decides about its shape."""

    def check(value: Any, where: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{where} is no object"
            return
        kinds = [name for name in value if name != "name"]
        if len(kinds) != 1 or kinds[0] not in shapes:
            yield f"{where} is of the kind {kinds}, not one of {sorted(shapes)}"
            return
        yield from record({"name": NAME, kinds[0]: shapes[kinds[0]]})(value, where)

    return check


NAME = matching(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
TEXT = matching(r"[^\0]{0,32768}")
BYTES = matching(r"[1-9][0-9]{0,15}")
"""A quantity in plain bytes."""
CORES = matching(r"[1-9][0-9]{0,6}m")
