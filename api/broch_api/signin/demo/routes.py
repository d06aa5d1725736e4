"""API of the demo's sign-in, for the command line."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from broch_api.signin.demo.near import NearSignIn
from broch_api.signin.schemas import SessionStarted
from broch_core.actions import Action
from broch_core.web.routing import Router
from broch_core.web.texts import Slug

router = Router("/api/v1/sessions", tag="sessions")


class SessionStart(BaseModel):
    """Who signs in."""

    model_config = ConfigDict(extra="forbid")

    handle: Annotated[Slug, Field(examples=["ada"])]


@router.post("", action=Action.SESSION_START, status_code=201)
def start_session(body: SessionStart, sign_in: NearSignIn) -> SessionStarted:
    """Sign in to the demo from this machine and get a bearer token."""
    started = sign_in.start(body.handle, kind="cli")
    return SessionStarted(token=started.token, expires_at=started.expires_at)
