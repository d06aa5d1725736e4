"""Pages of signing in and out, and the choice of colours."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Query, Request, Response

from broch_api.signin.answers import ATTEMPT_COOKIE, forget, keep, leave, local_path, welcome
from broch_api.signin.probe import ANSWERS, probe_page
from broch_api.signin.service import SessionDesk
from broch_api.signin.ways import Departure, SignInWay, Wish
from broch_core.actions import Action
from broch_core.errors import Invalid
from broch_core.web.forms import PostedForm
from broch_core.web.guard import COOKIE, Visitor, Who
from broch_core.web.pages import THEME_COOKIE, THEMES, Pages
from broch_core.web.routing import Kind, Router, provided

__all__ = ["local_path", "router"]

router = Router(kind=Kind.PAGE)
Shell = Annotated[Pages, provided(Pages)]
Way = Annotated[SignInWay, provided(SignInWay)]
Desk = Annotated[SessionDesk, provided(SessionDesk)]
_YEAR_SECONDS = 365 * 24 * 3600
_ATTEMPT_SECONDS = 600


@router.get("/sign-in", action=Action.SESSION_START)
def sign_in_page(
    request: Request, way: Way, shell: Shell, next_: Annotated[str, Query(alias="next")] = "/"
) -> Response:
    """Ask who is there."""
    template, shown = way.page(request)
    return shell.render(
        request, template, {"action": "/sign-in", "next": local_path(next_), "notes": [], **shown}
    )


@router.get("/sign-in/probe", action=Action.PUBLIC_READ)
def sign_in_probe() -> Response:
    """Answer a frame of the sign-in page, which finds out whether the browser enforces `Connection-Allowlist`."""
    return probe_page()


@router.post("/sign-in", action=Action.SESSION_START)
def start_session(
    request: Request, form: PostedForm, way: Way, desk: Desk, visitor: Visitor, shell: Shell
) -> Response:
    """Sign in; whoever was signed in in this browser is signed out."""
    wish = Wish(local_path(form["next"]), ANSWERS.get(form["confined"]))
    begun = way.begin(request, form, wish)
    if isinstance(begun, Departure):
        response = leave(shell, request, begun.address, signing_out=False)
        keep(response, ATTEMPT_COOKIE, begun.browser, _ATTEMPT_SECONDS)
        return response
    if visitor is not None:
        desk.end(visitor)
    return welcome(shell, begun, wish.next)


@router.post("/sign-out", action=Action.SESSION_END)
def end_session(request: Request, actor: Who, way: Way, desk: Desk, shell: Shell) -> Response:
    """Sign out, here and where the sign-in came from."""
    desk.end(actor)
    if (address := way.farewell()) is not None:
        request.state.actor = None  # the page is for somebody who is not signed in any more
        response = leave(shell, request, address, signing_out=True)
    else:
        response = shell.redirect("/sign-in", "You are signed out.")
    forget(response, COOKIE)
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
    keep(response, THEME_COOKIE, theme, _YEAR_SECONDS)
    return response
