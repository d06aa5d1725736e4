"""Reads JSON, TOML and YAML of strangers: bounded in depth, no references, no types but the plain ones."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any

import yaml

from broch_workspaces.packages.locks.lock import DEEPEST, LockUnreadable

_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"')
_COLON = re.compile(r"[ \t\r\n]*:")
_PART = r"""(?:[A-Za-z0-9_-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')"""
_DOTTED = re.compile(rf"(?<![A-Za-z0-9_\\-])(?:{_PART}[ \t]*+\.[ \t]*+){{{DEEPEST}}}")
"""A key of TOML that names a table in a table in a table ... `tomllib` takes a minute for thousands of them."""
_TOO_DEEP = f"Lists and objects are nested more than {DEEPEST} deep. No package manager writes that."
# The C parser where the wheel has it: fifty times faster. Only its events are used, which need no recursion.
_LOADER: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


def read_json(text: str) -> Mapping[str, Any]:
    """Return the object that a JSON text is.

    Raises:
        LockUnreadable: it is none, or nested too deep.
    """
    _check_json_depth(text)
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise LockUnreadable(f"This is not JSON: {error.msg}.", error.lineno) from None
    except (ValueError, RecursionError):
        raise LockUnreadable("This is not JSON that can be read.") from None
    if not isinstance(found, dict):
        raise LockUnreadable("This is not a JSON object.")
    return found


def lines_of_keys(text: str) -> Mapping[str, int]:
    """Return the line in a JSON text where each text is first a key; its parser does not tell.

    All at once: a file has ten thousands of keys, and to look for each of them takes half a minute.
    """
    found: dict[str, int] = {}
    line, at = 1, 0
    for one in _STRING.finditer(text):
        line, at = line + text.count("\n", at, one.start()), one.start()
        if _COLON.match(text, one.end()) is not None:
            found.setdefault(json.loads(one[0]), line)
    return found


def _check_json_depth(text: str) -> None:
    depth, inside, escaped = 0, False, False
    for char in text:
        if inside:
            if escaped:
                escaped = False
            elif char == "\\":
                escaped = True
            elif char == '"':
                inside = False
        elif char == '"':
            inside = True
        elif char in "[{":
            depth += 1
            if depth > DEEPEST:
                raise LockUnreadable(_TOO_DEEP)
        elif char in "]}":
            depth -= 1


def read_toml(text: str) -> Mapping[str, Any]:
    """Return the table that a TOML text is.

    Raises:
        LockUnreadable: it is none, or nested too deep by a dotted key.
    """
    if _DOTTED.search(text) is not None:
        raise LockUnreadable(_TOO_DEEP)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise LockUnreadable(f"This is not TOML: {error}.") from None
    except (ValueError, RecursionError):
        raise LockUnreadable("This is not TOML that can be read.") from None


def read_yaml(text: str) -> Mapping[str, Any]:
    """Return the mapping that a YAML text is; every scalar is text. Tags, anchors and references are refused.

    Raises:
        LockUnreadable: it is none, or has what is refused.
    """
    try:
        found = _built(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = None if mark is None else mark.line + 1
        raise LockUnreadable("This is not YAML.", line) from None
    except (ValueError, RecursionError):
        raise LockUnreadable("This is not YAML that can be read.") from None
    if not isinstance(found, dict):
        raise LockUnreadable("This is not a mapping in YAML.")
    return found


class _Tree:
    """Builds what the events say, with a stack of its own: PyYAML's constructor would follow references and recurse."""

    def __init__(self) -> None:
        self.done: list[object] = []
        self._open: list[tuple[list[Any] | dict[str, Any], list[str]]] = []

    def add(self, event: Any) -> None:
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise LockUnreadable("Anchors and references are not allowed in a lock file.", line)
        if getattr(event, "tag", None) is not None:
            raise LockUnreadable("Tags are not allowed in a lock file.", line)
        if isinstance(event, yaml.ScalarEvent):
            self._put(event.value, line)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._enter([], line)
        elif isinstance(event, yaml.MappingStartEvent):
            self._enter({}, line)
        elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
            self._open.pop()

    def _enter(self, holder: list[Any] | dict[str, Any], line: int) -> None:
        self._put(holder, line)
        self._open.append((holder, []))
        if len(self._open) > DEEPEST:
            raise LockUnreadable(_TOO_DEEP, line)

    def _put(self, value: object, line: int) -> None:
        if not self._open:
            self.done.append(value)
            return
        holder, key = self._open[-1]
        if isinstance(holder, list):
            holder.append(value)
        elif key:
            holder[key.pop()] = value
        elif not isinstance(value, str):
            raise LockUnreadable("A key is no text.", line)
        elif value in holder:
            raise LockUnreadable("A key is there twice.", line)
        else:
            key.append(value)


def _built(text: str) -> object:
    tree = _Tree()
    for event in yaml.parse(text, Loader=_LOADER):
        tree.add(event)
    if len(tree.done) != 1:
        raise LockUnreadable("This is more than one document in YAML, or none.")
    return tree.done[0]


def texts(value: object) -> Mapping[str, Any]:
    """Return a table, or an empty one in place of anything else."""
    return value if isinstance(value, dict) else {}


def rows(value: object) -> list[Mapping[str, Any]]:
    """Return the tables of a list; anything else is left out."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def text_of(table: Mapping[str, Any], key: str) -> str:
    """Return a text of a table, or an empty one."""
    value = table.get(key)
    return value if isinstance(value, str) else ""
