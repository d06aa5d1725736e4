"""Server-rendered pages: one Jinja2 environment, the context every page has, flashes, themes."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from broch_core.actors import Actor
from broch_core.clock import utc_now
from broch_core.sizes import binary_size
from broch_core.web.sessions import Sessions

FLASH_COOKIE = "__Host-broch-flash"
THEME_COOKIE = "__Host-broch-theme"
THEMES = ("auto", "light", "dark")
_LONGEST_FLASH = 1500


@dataclass(frozen=True)
class NavItem:
    """One entry of the navigation; shown to actors for whom `shown` says so."""

    label: str
    href: str
    key: str
    """Letter of the `g` keyboard shortcut."""
    shown: Callable[[Actor], bool] = field(default=lambda _actor: True)
    badge: Callable[[Actor], int] = field(default=lambda _actor: 0)


@cache
def templates_of(packages: tuple[str, ...]) -> Environment:
    """Return the templates of these packages: compiled once for all apps that show them."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(name) for name in (*packages, "broch_core.web")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["binary_size"] = binary_size
    return environment


class Pages:
    """Renders templates of the shell and of the packages on top of it."""

    def __init__(
        self,
        sessions: Sessions,
        packages: Sequence[str],
        *,
        nav: Sequence[NavItem],
        banner: str | None,
        facts: Mapping[str, Any],
        notice: Callable[[bool], str | None] = lambda _signed_in: None,
    ) -> None:
        self._sessions = sessions
        self._nav = nav
        self._banner = banner
        self._facts = dict(facts)
        self._notice = notice
        self._version = version("broch")
        self._environment = templates_of(tuple(packages))

    def render(
        self, request: Request, template: str, context: Mapping[str, Any] | None = None, *, status: int = 200
    ) -> HTMLResponse:
        """Render a page or a fragment with the context that every page has."""
        actor: Actor | None = getattr(request.state, "actor", None)
        theme = request.cookies.get(THEME_COOKIE, "auto")
        flash = self._flash(request)
        html = self._environment.get_template(template).render(
            {
                "person": actor,
                "nav": self._navigation(request, actor),
                "csrf_token": self._sessions.csrf_token(actor) if actor else "",
                "theme": theme if theme in THEMES else "auto",
                "banner": self._banner,
                "notice": self._notice(actor is not None),
                "flash": flash,
                "now": utc_now(),
                "version": self._version,
                "shell_mode": "embedded" if self._banner else "cluster",
                "path": request.url.path,
                "request_id": getattr(request.state, "request_id", None),
                **self._facts,
                **(context or {}),
            }
        )
        response = HTMLResponse(html, status, {"Cache-Control": "no-store"})
        if flash:
            response.delete_cookie(FLASH_COOKIE, path="/", secure=True, httponly=True, samesite="lax")
        return response

    def redirect(
        self,
        href: str,
        text: str | None = None,
        *,
        kind: str = "ok",
        undo: Mapping[str, Any] | None = None,
    ) -> Response:
        """Send the browser to one of our own pages, with a word about what happened and, where it can be had, an undo.

        Args:
            href: path on this origin.
            text: what happened.
            kind: a tone: `ok`, `info`, `warn` or `bad`.
            undo: `{"action": path, "label": str, "fields": {name: value}}`.
        """
        response = RedirectResponse(href, 303)
        if text is not None:
            body = base64.urlsafe_b64encode(
                json.dumps({"kind": kind, "text": text[:600], "undo": undo}).encode()
            ).decode()
            if len(body) <= _LONGEST_FLASH:
                value = f"{body}.{self._sessions.seal(body)}"
                response.set_cookie(
                    FLASH_COOKIE, value, max_age=60, path="/", secure=True, httponly=True, samesite="lax"
                )
        return response

    def _flash(self, request: Request) -> list[dict[str, Any]]:
        body, _, seal = request.cookies.get(FLASH_COOKIE, "").partition(".")
        if (
            not body
            or len(body) > _LONGEST_FLASH
            or not hmac.compare_digest(self._sessions.seal(body).encode(), seal.encode())
        ):
            return []
        return [json.loads(base64.urlsafe_b64decode(body))]

    def _navigation(self, request: Request, actor: Actor | None) -> list[dict[str, Any]]:
        if actor is None:
            return []
        path = request.url.path
        return [
            {
                "label": item.label,
                "href": item.href,
                "key": item.key,
                "current": path == item.href or (item.href != "/" and path.startswith(item.href + "/")),
                "badge": item.badge(actor),
            }
            for item in self._nav
            if item.shown(actor)
        ]
