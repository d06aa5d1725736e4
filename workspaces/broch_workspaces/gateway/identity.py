"""Which pod a projected token stands for. Pure: reads a TokenReview's answer and believes nothing that it does not say."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from broch_workspaces.gateway.calls import Account

AUDIENCE = "broch-gateway"
"""Of the tokens that pods of zones have; one for the API server does not open the gateway."""
_ACCOUNT = re.compile(r"system:serviceaccount:(zone-[0-9a-z]{26}):(workspace|importer)")
_POD_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,98}[a-z0-9])?")
_UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_EXTRA = "authentication.kubernetes.io/"
_JWT = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+){2}")
LONGEST_TOKEN = 4096
"""Bytes; a projected token has about 1,200."""


@dataclass(frozen=True)
class Pod:
    """A pod of a zone, as the API server vouches for it."""

    namespace: str
    name: str
    uid: str
    account: Account


class NotOurs(Exception):
    """The token is of nobody that the gateway serves; the text is for a log, and says nothing of the token."""


def looks_like_a_token(token: str) -> bool:
    """Tell whether it is worth asking the API server."""
    return len(token) <= LONGEST_TOKEN and _JWT.fullmatch(token) is not None


def pod_of(status: Mapping[str, Any]) -> Pod:
    """Return the pod of a TokenReview's `status`.

    Raises:
        NotOurs: it is not authenticated for our audience, no account of a zone, or not bound to a pod.
    """
    if status.get("authenticated") is not True or status.get("error"):
        raise NotOurs("not authenticated")
    # An API server that knows nothing of audiences leaves this out: then the token was judged for itself.
    if list(status.get("audiences") or ()) != [AUDIENCE]:
        raise NotOurs("another audience")
    user = status.get("user") or {}
    account = _ACCOUNT.fullmatch(user.get("username") or "")
    if account is None:
        raise NotOurs("no account of a zone")
    if f"system:serviceaccounts:{account[1]}" not in (user.get("groups") or ()):
        raise NotOurs("no service account")
    extra = user.get("extra") or {}
    name, uid = _one(extra.get(f"{_EXTRA}pod-name")), _one(extra.get(f"{_EXTRA}pod-uid"))
    if _POD_NAME.fullmatch(name) is None or _UID.fullmatch(uid) is None:
        raise NotOurs("not bound to a pod")
    return Pod(account[1], name, uid, Account(account[2]))


def _one(values: Sequence[str] | None) -> str:
    return values[0] if values is not None and len(values) == 1 else ""
