"""Who asks, and from where: session by `__Host-` cookie or bearer token, same-origin and CSRF checks for cookies."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool

from broch_core.actors import Actor
from broch_core.errors import Denied, Unauthenticated
from broch_core.web.sessions import Sessions

COOKIE = "__Host-broch"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_LONGEST_TOKEN = 200


class CrossSite(Denied):
    """A state-changing request that did not come from our own pages."""

    kind = "cross-site"
    title = "This request did not come from Broch's own pages"


def _bearer(request: Request) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token if scheme.lower() == "bearer" and token else None


async def _resolve(request: Request, token: str) -> Actor | None:
    sessions: Sessions = request.app.state.services[Sessions]
    if len(token) > _LONGEST_TOKEN:
        return None
    return sessions.remembered(token) or await run_in_threadpool(sessions.actor, token)


async def _identify(request: Request) -> tuple[Actor | None, bool]:
    """Return who asks, and whether a cookie said so."""
    if (token := _bearer(request)) is not None:
        return await _resolve(request, token), False
    if cookie := request.cookies.get(COOKIE):
        return await _resolve(request, cookie), True
    return None, False


def same_origin(request: Request) -> bool:
    """Tell whether our own page sent this (Fetch Metadata; `Origin` for browsers without it)."""
    if (site := request.headers.get("sec-fetch-site")) is not None:
        return site == "same-origin"
    return bool(request.headers.get("origin") == request.app.state.shell_origin)


async def guard_request(request: Request) -> None:
    """Identify the actor of an API call; a cookie may change state only from our own pages, with the CSRF header."""
    actor, by_cookie = await _identify(request)
    request.state.actor = actor
    if not by_cookie or request.method in SAFE_METHODS or actor is None:
        return
    if not same_origin(request):
        raise CrossSite("Another site may not act in your name.")
    sessions: Sessions = request.app.state.services[Sessions]
    if not sessions.csrf_fits(actor, request.headers.get("x-csrf-token")):
        raise CrossSite("The page is out of date.", remedy="Load the page again and repeat.")


async def guard_page(request: Request) -> None:
    """Identify the actor of a page; forms come from our own pages and carry the CSRF token."""
    actor, _ = await _identify(request)
    request.state.actor = actor
    if request.method in SAFE_METHODS:
        return
    if not same_origin(request):
        raise CrossSite("Another site may not act in your name.")
    if actor is None:
        return
    token = request.headers.get("x-csrf-token")
    if token is None:
        field = (await request.form()).get("csrf_token")
        token = field if isinstance(field, str) else None
    sessions: Sessions = request.app.state.services[Sessions]
    if not sessions.csrf_fits(actor, token):
        raise CrossSite("The page is out of date.", remedy="Load the page again and repeat.")


# Asynchronous although they wait for nothing: FastAPI would send plain functions through the thread pool.
async def _actor(request: Request) -> Actor:
    actor: Actor | None = request.state.actor
    if actor is None:
        raise Unauthenticated("Sign in to go on.")
    return actor


async def _visitor(request: Request) -> Actor | None:
    actor: Actor | None = request.state.actor
    return actor


Who = Annotated[Actor, Depends(_actor)]
"""The signed-in person; 401 otherwise."""

Visitor = Annotated[Actor | None, Depends(_visitor)]
"""The signed-in person, if any."""
