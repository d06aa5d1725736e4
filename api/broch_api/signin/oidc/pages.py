"""Where browsers come back to from the provider."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query, Request, Response

from broch_api.signin.answers import ATTEMPT_COOKIE, forget, welcome
from broch_api.signin.oidc.service import Answer, OidcSignIn
from broch_api.signin.oidc.settings import CALLBACK
from broch_api.signin.service import SessionDesk
from broch_core.actions import Action
from broch_core.web.guard import Visitor
from broch_core.web.pages import Pages
from broch_core.web.routing import Kind, Router, provided

router = Router(kind=Kind.PAGE)
_Text = Annotated[str | None, Query(max_length=4000)]


def _answer(state: _Text = None, code: _Text = None, error: _Text = None, iss: _Text = None) -> Answer:
    return Answer(state or "", code, error, iss)


@router.get(CALLBACK, action=Action.SESSION_START)
def come_back(
    request: Request,
    answer: Annotated[Answer, Depends(_answer)],
    sign_in: Annotated[OidcSignIn, provided(OidcSignIn)],
    desk: Annotated[SessionDesk, provided(SessionDesk)],
    shell: Annotated[Pages, provided(Pages)],
    visitor: Visitor,
) -> Response:
    """Sign in whoever comes back from the provider; whoever was signed in in this browser is signed out."""
    started, href = sign_in.arrive(answer, request.cookies.get(ATTEMPT_COOKIE))
    if visitor is not None:
        desk.end(visitor)
    response = welcome(shell, started, href)
    forget(response, ATTEMPT_COOKIE)
    return response
