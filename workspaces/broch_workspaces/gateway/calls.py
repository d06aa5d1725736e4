"""What a zone may ask of Broch: the whole list, compared with the request's own bytes. Pure.

A target is taken as it came: nothing is decoded, joined or normalised, so there is nothing to trick. Whatever is not in
its one canonical form (encoded slashes and dots, double slashes, other case, unknown queries) is not on the list.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote, unquote

from broch_workspaces import hub_calls
from broch_workspaces.packages.paths import find_ask

_ID = r"[0-7][0-9A-HJKMNP-TV-Z]{25}"
_PAGE = rf"(?:\?(?:before={_ID}|limit=[0-9]{{1,3}}|before={_ID}&limit=[0-9]{{1,3}}))?"
_NAME = r"(?:[A-Za-z0-9._~-]|%[0-9A-F]{2})"
_LONGEST_NAME = 255
LONGEST_TARGET = 1024
"""Bytes of a request line's target: the longest there is names a file of 255 bytes, each as `%XX`."""
JSON_BYTES = 32 << 10
"""Body of a new draft, bytes, as the door has it."""


class Account(StrEnum):
    """Service accounts of a zone that may call the door."""

    WORKSPACE = "workspace"
    IMPORTER = "importer"


class Upstream(StrEnum):
    """Who answers."""

    DOOR = "door"
    HUB = "hub"
    PACKAGES = "packages"


@dataclass(frozen=True)
class Call:
    """One entry of the list."""

    upstream: Upstream
    account: Account | None = None
    """Whose token opens the door or the package route; None where the hub judges its own."""
    body_bytes: int | None = 0
    """Largest body; 0: none; None: the setting for files."""


_DRAFT = Call(Upstream.DOOR, Account.WORKSPACE, JSON_BYTES)
_FILE = Call(Upstream.DOOR, Account.WORKSPACE, None)
_READ = Call(Upstream.DOOR, Account.WORKSPACE)
_DELIVERY = Call(Upstream.DOOR, Account.IMPORTER)
_PACKAGES = Call(Upstream.PACKAGES, Account.WORKSPACE)
_HUB_GET = Call(Upstream.HUB)
_HUB_POST = Call(Upstream.HUB, body_bytes=hub_calls.LONGEST_BODY)

_DOOR_CALLS: tuple[tuple[str, re.Pattern[str], Call], ...] = (
    ("POST", re.compile(r"/door/v1/drafts"), _DRAFT),
    ("PUT", re.compile(rf"/door/v1/drafts/{_ID}/files/(?P<name>{_NAME}{{1,{3 * _LONGEST_NAME}}})"), _FILE),
    ("GET", re.compile(rf"/door/v1/requests{_PAGE}"), _READ),
    ("GET", re.compile(r"/door/v1/imports"), _READ),
    ("GET", re.compile(rf"/door/v1/deliveries/{_ID}"), _DELIVERY),
)


def find_call(method: str, target: str) -> Call | None:
    """Return what a request line asks for, if it is on the list.

    Args:
        method: as it came.
        target: path and query as they came.
    """
    if len(target) > LONGEST_TARGET:
        return None
    for wanted, pattern, call in _DOOR_CALLS:
        if method == wanted and (found := pattern.fullmatch(target)) is not None:
            name = found.groupdict().get("name")
            return call if name is None or plain_name(name) else None
    if hub_calls.allowed(method, target, None):
        return _HUB_POST if method == "POST" else _HUB_GET
    if find_ask(method, target) is not None:
        return _PACKAGES
    return None


def plain_name(segment: str) -> bool:
    """Tell whether a path segment is the one way to write one file's name. What names may be is the door's to say."""
    try:
        name = unquote(segment, errors="strict")
    except UnicodeDecodeError:
        return False
    return (
        quote(name, safe="") == segment
        and name not in (".", "..")
        and len(name.encode()) <= _LONGEST_NAME
        and not any(char in "/\\" or not char.isprintable() for char in name)
    )
