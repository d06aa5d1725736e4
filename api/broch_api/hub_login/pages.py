"""The authorisation endpoint, on the shell: the browser comes from the hub and goes back to it."""

from __future__ import annotations

from typing import Annotated

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from broch_api.hub_login.requests import Parameters
from broch_api.hub_login.service import HubLogin
from broch_core.actions import Action
from broch_core.web.guard import Who
from broch_core.web.routing import Kind, Router, provided

router = Router("/oauth", kind=Kind.PAGE)
Login = Annotated[HubLogin, provided(HubLogin)]


@router.get("/authorize", action=Action.HUB_AUTHORIZE)
def authorize(request: Request, actor: Who, login: Login) -> Response:
    """Send the browser back to the hub with a code for its own workspace, or with an error."""
    address = login.authorize(actor, Parameters.of(request.query_params.multi_items()))
    return RedirectResponse(address, 302, {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})
