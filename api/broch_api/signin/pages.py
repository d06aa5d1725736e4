"""Pages of signing in and out, and the choice of colours."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Query, Request, Response

from broch_api.signin.near import NearSignIn, SignIn
from broch_api.signin.probe import ANSWERS, probe_page
from broch_core.actions import Action
from broch_core.clock import utc_now
from broch_core.errors import Invalid
from broch_core.web.forms import PostedForm
from broch_core.web.guard import COOKIE, Visitor, Who
from broch_core.web.pages import THEME_COOKIE, THEMES, Pages
from broch_core.web.routing import Kind, Router, provided
from broch_core.web.texts import hidden_character

router = Router(kind=Kind.PAGE)
Shell = Annotated[Pages, provided(Pages)]
_YEAR_SECONDS = 365 * 24 * 3600
_LONGEST_NEXT = 2000


def local_path(href: str) -> str:
    """Return `href` if it is a path on this origin, else the first page: nobody is led elsewhere by a link to us."""
    plain = href.startswith("/") and not href.startswith("//") and "\\" not in href
    return href if plain and len(href) <= _LONGEST_NEXT and hidden_character(href) is None else "/"


@router.get("/sign-in", action=Action.SESSION_START)
def sign_in_page(
    request: Request, sign_in: NearSignIn, shell: Shell, next_: Annotated[str, Query(alias="next")] = "/"
) -> Response:
    """Ask who is there."""
    context = {"people": sign_in.people(), "action": "/sign-in", "next": local_path(next_), "notes": []}
    return shell.render(request, "signin/page.html", context)


@router.get("/sign-in/probe", action=Action.PUBLIC_READ)
def sign_in_probe() -> Response:
    """Answer a frame of the sign-in page, which finds out whether the browser enforces `Connection-Allowlist`."""
    return probe_page()


@router.post("/sign-in", action=Action.SESSION_START)
def start_session(form: PostedForm, sign_in: NearSignIn, visitor: Visitor, shell: Shell) -> Response:
    """Sign in; whoever was signed in in this browser is signed out."""
    started = sign_in.start(form["person"], kind="browser", confined=ANSWERS.get(form["confined"]))
    if visitor is not None:
        sign_in.end(visitor)
    response = shell.redirect(local_path(form["next"]))
    response.set_cookie(
        COOKIE,
        started.token,
        max_age=int((started.expires_at - utc_now()).total_seconds()),
        path="/",
        secure=True,
        httponly=True,
        samesite="lax",
    )
    return response


@router.post("/sign-out", action=Action.SESSION_END)
def end_session(actor: Who, sign_in: SignIn, shell: Shell) -> Response:
    """Sign out."""
    sign_in.end(actor)
    response = shell.redirect("/sign-in", "You are signed out.")
    response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="lax")
    return response


@router.post("/theme", action=Action.PUBLIC_READ)
def choose_theme(request: Request, form: PostedForm, shell: Shell) -> Response:
    """Remember the colours in the browser and go back to the page."""
    theme = form["theme"]
    if theme not in THEMES:
        raise Invalid("There is no such theme.", field="theme")
    came_from = urlsplit(request.headers.get("referer", ""))
    path = came_from.path + (f"?{came_from.query}" if came_from.query else "")
    response = shell.redirect(local_path(path))
    response.set_cookie(
        THEME_COOKIE, theme, max_age=_YEAR_SECONDS, path="/", secure=True, httponly=True, samesite="lax"
    )
    return response
