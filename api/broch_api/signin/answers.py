"""What browsers are answered around a sign-in: cookies that only this host sees, and the page before they leave."""

from __future__ import annotations

from fastapi import Request, Response

from broch_core.clock import utc_now
from broch_core.web.guard import COOKIE
from broch_core.web.pages import Pages
from broch_core.web.sessions import Started
from broch_core.web.texts import hidden_character

ATTEMPT_COOKIE = "__Host-broch-attempt"
"""Binds a sign-in that goes by another server to the browser that began it."""
_LONGEST_NEXT = 2000


def local_path(href: str) -> str:
    """Return `href` if it is a path on this origin, else the first page: nobody is led elsewhere by a link to us."""
    plain = href.startswith("/") and not href.startswith("//") and "\\" not in href
    return href if plain and len(href) <= _LONGEST_NEXT and hidden_character(href) is None else "/"


def welcome(shell: Pages, started: Started, href: str) -> Response:
    """Give the browser its session and send it on.

    Args:
        shell: of the pages.
        started: the session.
        href: path on this origin.
    """
    response = shell.redirect(local_path(href))
    seconds = int((started.expires_at - utc_now()).total_seconds())
    keep(response, COOKIE, started.token, seconds)
    return response


def leave(shell: Pages, request: Request, address: str, *, signing_out: bool) -> Response:
    """Show a page that goes on to another server by itself.

    Not a redirect: browsers hold those that follow a form against `form-action`, which names our own pages alone.
    """
    context = {"address": address, "signing_out": signing_out}
    return shell.render(request, "signin/leaving.html", context)


def keep(response: Response, name: str, value: str, seconds: int) -> None:
    """Set a cookie that neither scripts nor other hosts read."""
    response.set_cookie(name, value, max_age=seconds, path="/", secure=True, httponly=True, samesite="lax")


def forget(response: Response, name: str) -> None:
    """Delete such a cookie."""
    response.delete_cookie(name, path="/", secure=True, httponly=True, samesite="lax")
