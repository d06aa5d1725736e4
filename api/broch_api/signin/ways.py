"""What a way of signing in has to offer, so that pages and sessions need not know which one it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import Request

from broch_core.web.forms import Fields
from broch_core.web.sessions import Started


@dataclass(frozen=True)
class Wish:
    """What a browser said when it began to sign in."""

    next: str
    """Local path to go to afterwards."""
    confined: bool | None
    """Whether the browser was seen to enforce `Connection-Allowlist`; nothing when it was not seen."""


@dataclass(frozen=True)
class Departure:
    """The browser has to go elsewhere to show who is there."""

    address: str
    browser: str
    """Secret that this browser alone keeps until it comes back."""


class SignInWay(ABC):
    """One way of signing in."""

    @abstractmethod
    def page(self, request: Request) -> tuple[str, Mapping[str, Any]]:
        """Return the template of the sign-in page and what it shows.

        Raises:
            Denied: the caller may not sign in this way.
        """

    @abstractmethod
    def begin(self, request: Request, form: Fields, wish: Wish) -> Started | Departure:
        """Sign somebody in, or say where that goes on.

        Raises:
            Denied: the caller may not sign in this way.
        """

    @abstractmethod
    def farewell(self) -> str | None:
        """Return where a browser that signed out goes to end what it has elsewhere; nowhere if nothing is elsewhere."""
