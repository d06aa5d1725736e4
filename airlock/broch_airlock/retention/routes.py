"""API of deletion certificates."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Response

from broch_airlock.release.answers import saved
from broch_airlock.retention.service import CertificateDesk
from broch_core.actions import Action
from broch_core.ids import Id
from broch_core.web.guard import Who
from broch_core.web.routing import Kind, Router, provided

CERTIFICATE = "certificate.json"

router = Router("/api/v1/airlock", tag="airlock releases")
pages = Router("/airlock", kind=Kind.PAGE)
Desk = Annotated[CertificateDesk, provided(CertificateDesk)]

_JSON: dict[int | str, dict[str, Any]] = {
    200: {"description": "The document.", "content": {"application/json": {"schema": {"type": "object"}}}}
}


@router.get(
    "/requests/{request_id}/certificate",
    action=Action.AIRLOCK_RECEIPT,
    response_class=Response,
    responses=_JSON,
)
def read_certificate(request_id: Id, actor: Who, desk: Desk) -> Response:
    """Save the deletion certificate of a request; `broch verify` checks it without a server."""
    return saved(desk.certificate(actor, request_id), CERTIFICATE)


@pages.get("/requests/{request_id}/certificate", action=Action.AIRLOCK_RECEIPT)
def save_certificate(request_id: Id, actor: Who, desk: Desk) -> Response:
    """Save the deletion certificate of a request."""
    return saved(desk.certificate(actor, request_id), CERTIFICATE)
