"""The first page."""

from __future__ import annotations

from typing import Annotated

from fastapi import Request, Response

from broch_api.home.service import HomeDesk
from broch_core.actions import Action
from broch_core.web.guard import Who
from broch_core.web.pages import Pages
from broch_core.web.routing import Kind, Router, provided

router = Router(kind=Kind.PAGE)
Home = Annotated[HomeDesk, provided(HomeDesk)]
Shell = Annotated[Pages, provided(Pages)]


@router.get("/", action=Action.PROJECT_LIST)
def home_page(request: Request, actor: Who, home: Home, shell: Shell) -> Response:
    """Show what one can do next."""
    return shell.render(request, "home/page.html", {"home": home.view(actor)})
