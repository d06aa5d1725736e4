"""Service tokens: what the hub shows to the control plane."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field, replace
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

    controller: str = field(default="", repr=False)
    """Bearer token of the controller; empty on one machine, where there is none."""
    gateway: str = field(default="", repr=False)
    """Bearer token of the zone gateway at the airlock door; empty on one machine."""
    sandboxes: str = field(default="", repr=False)
    """The web service's own token of the sandbox broker; empty on one machine."""
    packages: str = field(default="", repr=False)
    """Bearer token of the package route; empty where there is none."""

    @classmethod
    def load(cls, folder: Path, *, cluster: bool = False) -> Self:
        """Read them.

        Args:
            folder: with one file for each.
            cluster: those of a cluster's services too.

        Raises:
            ValueError: one of the files is empty.
        """
        tokens = cls(secret(folder, "hub"), secret(folder, "hub-oauth"), secret(folder, "web"))
        if not cluster:
            return tokens
        more = ["controller", "gateway", "sandboxes"]
        if (folder / "packages").exists():  # an installation may be without a package route
            more.append("packages")
        return replace(tokens, **{name: secret(folder, name) for name in more})


def secret(folder: Path, name: str) -> str:
    """Return the token in one file.

    Raises:
        ValueError: the file is empty.
    """
    token = (folder / name).read_text(encoding="ascii").strip()
    if not token:
        raise ValueError(f"the secret '{name}' is empty")
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
    _require(request, tokens.hub, "hub")


def controller_only(request: Request, tokens: Annotated[ServiceTokens, provided(ServiceTokens)]) -> None:
    """Let the controller pass, and nobody else.

    Raises:
        Unauthenticated: the bearer token is not the controller's, or there is no controller here.
    """
    _require(request, tokens.controller, "controller")


def packages_only(request: Request, tokens: Annotated[ServiceTokens, provided(ServiceTokens)]) -> None:
    """Let the package route pass, and nobody else.

    Raises:
        Unauthenticated: the bearer token is not the package route's, or there is none here.
    """
    _require(request, tokens.packages, "package route")


def _require(request: Request, token: str, whose: str) -> None:
    # Bytes: compare_digest refuses texts beyond ASCII, and a header may hold them.
    if not token or not hmac.compare_digest(bearer_of(request).encode(), token.encode()):
        raise Unauthenticated(f"This is not the {whose}'s token.")


HubOnly = Depends(hub_only)
ControllerOnly = Depends(controller_only)
PackagesOnly = Depends(packages_only)
