"""API of sessions, for the command line."""

from __future__ import annotations

from typing import Annotated

from broch_api.signin.schemas import SessionView
from broch_api.signin.service import SessionDesk
from broch_core.actions import Action
from broch_core.web.guard import Who
from broch_core.web.routing import Router, provided

router = Router("/api/v1/sessions", tag="sessions")
Desk = Annotated[SessionDesk, provided(SessionDesk)]


@router.get("/current", action=Action.SESSION_READ)
def read_session(actor: Who, desk: Desk) -> SessionView:
    """Say who you are, with roles and memberships of now."""
    return desk.current(actor)


@router.delete("/current", action=Action.SESSION_END, status_code=204)
def end_session(actor: Who, desk: Desk) -> None:
    """Sign out: the token is worth nothing any more."""
    desk.end(actor)
