"""Service tokens: what the hub shows to the control plane."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Self

from fastapi import Depends, Request

from broch_core.errors import Unauthenticated
from broch_core.web.routing import provided


@dataclass(frozen=True)
class ServiceTokens:
    """Tokens of this run, made by the supervisor."""

    hub: str = field(repr=False)
    """Bearer token of the hub for the internal API."""
    hub_oauth: str = field(repr=False)
    """Secret of the OAuth client `hub`."""
    web: str = field(repr=False)
    """The control plane's own token of the hub's REST API."""

    @classmethod
    def load(cls, run: Path) -> Self:
        """Read them from `run/secrets`.

        Raises:
            ValueError: one of the files is empty.
        """
        return cls(_secret(run, "hub"), _secret(run, "hub-oauth"), _secret(run, "web"))


def _secret(run: Path, name: str) -> str:
    token = (run / "secrets" / name).read_text(encoding="ascii").strip()
    if not token:
        raise ValueError(f"run/secrets/{name} is empty")
    return token


def bearer_of(request: Request) -> str:
    """Return the bearer token of a request, empty if there is none (RFC 6750, 2.1)."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def hub_only(request: Request, tokens: Annotated[ServiceTokens, provided(ServiceTokens)]) -> None:
    """Let the hub pass, and nobody else.

    Raises:
        Unauthenticated: the bearer token is not the hub's.
    """
    # Bytes: compare_digest refuses texts beyond ASCII, and a header may hold them.
    if not hmac.compare_digest(bearer_of(request).encode(), tokens.hub.encode()):
        raise Unauthenticated("This is not the hub's token.")


HubOnly = Depends(hub_only)
