"""Where the provider itself speaks to us."""

from __future__ import annotations

from typing import Annotated

from fastapi import Form, Response

from broch_api.signin.oidc.logout import BackChannel
from broch_api.signin.oidc.settings import BACK_CHANNEL
from broch_core.actions import Action
from broch_core.web.routing import Router, provided

router = Router(tag="sessions")


@router.post(BACK_CHANNEL, action=Action.SESSION_REVOKE)
def end_sessions(
    logout_token: Annotated[str, Form(max_length=32 << 10)],
    channel: Annotated[BackChannel, provided(BackChannel)],
) -> Response:
    """End what the provider's signed token names (OpenID Connect Back-Channel Logout 1.0)."""
    channel.receive(logout_token)
    return Response(status_code=200, headers={"Cache-Control": "no-store"})
