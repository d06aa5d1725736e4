"""Health for machines, and the page of health for administrators."""

from __future__ import annotations

from typing import Annotated

from fastapi import Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from broch_api.freeze.service import FreezeDesk
from broch_api.revocations.service import RevocationDesk
from broch_api.status.service import Readiness, StatusDesk
from broch_core.actions import Action
from broch_core.web.guard import Who
from broch_core.web.pages import Pages
from broch_core.web.routing import Kind, Router, provided

router = Router("", tag="status")
pages = Router("/status", kind=Kind.PAGE)
Desk = Annotated[StatusDesk, provided(StatusDesk)]
Freeze = Annotated[FreezeDesk, provided(FreezeDesk)]
Revocations = Annotated[RevocationDesk, provided(RevocationDesk)]
Shell = Annotated[Pages, provided(Pages)]


@router.get("/healthz", action=Action.PUBLIC_READ, response_class=PlainTextResponse)
def healthz() -> str:
    """Say that the process lives."""
    return "ok\n"


@router.get(
    "/readyz",
    action=Action.PUBLIC_READ,
    response_model=Readiness,
    responses={503: {"model": Readiness, "description": "A part that work needs is down."}},
)
def readyz(desk: Desk) -> Response:
    """Say whether work is possible, part by part, with the reason and the remedy."""
    readiness = desk.readiness()
    return JSONResponse(
        readiness.model_dump(), 200 if readiness.ready else 503, {"Cache-Control": "no-store"}
    )


@router.get("/metrics", action=Action.PUBLIC_READ, response_class=PlainTextResponse)
def metrics(desk: Desk) -> Response:
    """Return gauges in the Prometheus text format."""
    return Response(desk.metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")


@pages.get("", action=Action.STATUS_READ)
def status_page(
    request: Request, actor: Who, desk: Desk, revocations: Revocations, freeze: Freeze, shell: Shell
) -> Response:
    """Show how every part is doing, what to do about those that are not well, and which rights ended lately."""
    context = {"readiness": desk.overview(actor), "ended": revocations.everywhere(actor)}
    context["freeze"] = freeze.state(actor)
    return shell.render(request, "status/page.html", context)
