"""Putting sign-in together: by an OpenID provider where one is set, else the demo, where it is installed at all."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import broch_api.signin.oidc.pages
import broch_api.signin.oidc.routes
import broch_api.signin.pages
import broch_api.signin.routes
from broch_api.signin.oidc.logout import BackChannel
from broch_api.signin.oidc.provider import OidcProvider
from broch_api.signin.oidc.service import OidcSignIn
from broch_api.signin.oidc.settings import OidcSettings
from broch_api.signin.service import SessionDesk
from broch_api.signin.ways import SignInWay
from broch_core.audit.denials import DenialLog
from broch_core.store.unit import Store
from broch_core.web.routing import Router
from broch_core.web.sessions import Sessions

_DEMO = "broch_api.signin.demo"
HAS_DEMO = find_spec(_DEMO) is not None
"""Images for clusters are made without the demo."""


def make_services(
    store: Store,
    sessions: Sessions,
    *,
    demo: bool,
    oidc: OidcSettings | None,
    denials: DenialLog | None = None,
) -> dict[type, Any]:
    """Make the services of signing in.

    Args:
        store: the database.
        sessions: of the shell.
        demo: let people on this machine sign in without passwords.
        oidc: the provider that people sign in with; the demo is then off.
        denials: where refusals of known people are recorded.
    """
    provider = OidcProvider(oidc) if oidc is not None else None
    by_provider = OidcSignIn(store, sessions, provider, denials or DenialLog(store))
    found: dict[type, Any] = {
        SessionDesk: SessionDesk(store, sessions),
        OidcSignIn: by_provider,
        BackChannel: BackChannel(store, by_provider),
        SignInWay: by_provider,
    }
    if HAS_DEMO:
        make: Callable[..., SignInWay] = import_module(f"{_DEMO}.service").DemoSignIn
        here = make(store, sessions, enabled=demo and oidc is None)
        found[type(here)] = here
        if oidc is None:
            found[SignInWay] = here
    return found


def routers() -> list[Router]:
    """Return the routes of signing in."""
    demo = [import_module(f"{_DEMO}.routes").router] if HAS_DEMO else []
    return [
        *demo,
        broch_api.signin.routes.router,
        broch_api.signin.oidc.routes.router,
        broch_api.signin.pages.router,
        broch_api.signin.oidc.pages.router,
    ]
