"""What a workspace's server may ask of the hub: the four calls that a single-user server makes, and no others. Pure."""

from __future__ import annotations

import re

_PRINCIPAL = re.compile(r"w[a-z0-9]{20,40}")
_ACTIVITY = re.compile(r"/hub/api/users/([^/]+)/activity")
LONGEST_BODY = 64 << 10
"""Bytes of a body in either direction; the largest there is, a user model, is below 2 kB."""
SENT = frozenset({"authorization", "content-type", "accept"})
"""Headers that go to the hub. Its own token is the credential: the hub judges it."""
SHOWN = frozenset({"content-type", "x-jupyterhub-version"})
"""Headers that come back; a single-user server compares the version with its own."""


def allowed(method: str, target: str, principal: str | None) -> bool:
    """Tell whether a workspace's server may make this call.

    Args:
        method: as it came.
        target: path and query as they came, undecoded.
        principal: whose server asks; None where that is not known, and the hub alone judges by its token.
    """
    if method == "GET":
        return target in ("/hub/api", "/hub/api/", "/hub/api/user")
    if method != "POST":
        return False
    if target == "/hub/api/oauth2/token":
        return True
    whose = _ACTIVITY.fullmatch(target)
    if whose is None:
        return False
    return _PRINCIPAL.fullmatch(whose[1]) is not None if principal is None else whose[1] == principal


def reporter(method: str, target: str) -> str | None:
    """Return the principal whose server reports activity by this call; None: it is another call."""
    whose = _ACTIVITY.fullmatch(target) if method == "POST" else None
    return whose[1] if whose is not None else None
