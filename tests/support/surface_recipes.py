"""What it takes to call a route for real."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

OAUTH = {
    "client_id": "hub",
    "redirect_uri": "http://hub.broch.localhost:8001/hub/oauth_callback",
    "response_type": "code",
    "state": "s",
    "code_challenge": "A" * 43,
    "code_challenge_method": "S256",
}
"""Parameters with which the hub sends a browser to sign in."""

Thing = Mapping[str, Any]
Build = Callable[[Thing], Any]


@dataclass(frozen=True)
class Recipe:
    """A call that would succeed, were it allowed and the state right."""

    axis: str = "once"
    json: Build | None = None
    form: Build | None = None
    raw: bytes | None = None
    query: Build | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    path: Mapping[str, str] = field(default_factory=dict)
    """Values of path parameters that are no ids."""
    states: tuple[str, ...] = ()
    """Only these states of the axis; all if none is named."""


def nothing(_thing: Thing) -> dict[str, Any]:
    """Return an empty body."""
    return {}


def keys(*names: str, **more: Any) -> Build:
    """Return how a body is made of values of the thing, and others."""
    return lambda thing: {**{name: thing[name] for name in names}, **more}
