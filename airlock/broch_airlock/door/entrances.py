"""How callers show who they are: on one machine by the token of their start, on a cluster by the zone gateway's word."""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from typing import Protocol

from starlette.datastructures import Headers

from broch_core.errors import Unauthenticated
from broch_workspaces.gateway.calls import Account

_POD = re.compile(r"(zone-[0-9a-z]{26})/[a-z0-9]([a-z0-9-]{0,98}[a-z0-9])?")


@dataclass(frozen=True)
class Shown:
    """What a caller shows."""

    account: Account
    key: str | None
    """What `workspace.door_token_hash` is the hash of: the token, or `<namespace>/<pod name>`."""
    namespace: str | None = None
    """Of the zone; None on one machine."""


class Entrance(Protocol):
    """Reads what a caller shows."""

    def shown(self, headers: Headers) -> Shown:
        """Return it.

        Raises:
            Unauthenticated: it is nobody who may stand here.
        """


class TokenEntrance:
    """One machine: each start of a workspace has a token of its own, and there are no other callers."""

    def shown(self, headers: Headers) -> Shown:
        """Return the bearer token; who it stands for is the keeper's to say."""
        return Shown(Account.WORKSPACE, bearer(headers))


class GatewayEntrance:
    """A cluster: the zone gateway alone may call, and names the pod that it asked the API server about.

    Args:
        token: the gateway's.
    """

    def __init__(self, token: str) -> None:
        if not token:
            raise ValueError("an empty gateway token would open the door to everybody")
        self._token = token.encode()

    def shown(self, headers: Headers) -> Shown:
        """Return the pod that the gateway names.

        Raises:
            Unauthenticated: it is not the gateway, or it names no pod of a zone.
        """
        if not hmac.compare_digest((bearer(headers) or "").encode(), self._token):
            raise Unauthenticated("The door opens to the zone gateway.")
        pods, accounts = headers.getlist("broch-pod"), headers.getlist("broch-account")
        pod = _POD.fullmatch(pods[0]) if len(pods) == 1 else None
        if pod is None or len(accounts) != 1 or accounts[0] not in set(Account):
            raise Unauthenticated("The zone gateway names no pod.")
        return Shown(Account(accounts[0]), pods[0], pod[1])


def bearer(headers: Headers) -> str | None:
    """Return the bearer token, if there is one."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token if scheme.lower() == "bearer" else None
