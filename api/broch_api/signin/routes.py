"""API of sessions, for the command line."""

from __future__ import annotations

from broch_api.signin.near import NearSignIn, SignIn
from broch_api.signin.schemas import SessionStart, SessionStarted, SessionView
from broch_core.actions import Action
from broch_core.web.guard import Who
from broch_core.web.routing import Router

router = Router("/api/v1/sessions", tag="sessions")


@router.post("", action=Action.SESSION_START, status_code=201)
def start_session(body: SessionStart, sign_in: NearSignIn) -> SessionStarted:
    """Sign in to the demo from this machine and get a bearer token."""
    started = sign_in.start(body.handle, kind="cli")
    return SessionStarted(token=started.token, expires_at=started.expires_at)


@router.get("/current", action=Action.SESSION_READ)
def read_session(actor: Who, sign_in: SignIn) -> SessionView:
    """Say who you are, with roles and memberships of now."""
    return sign_in.current(actor)


@router.delete("/current", action=Action.SESSION_END, status_code=204)
def end_session(actor: Who, sign_in: SignIn) -> None:
    """Sign out: the token is worth nothing any more."""
    sign_in.end(actor)
