"""The page of the audit log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Request, Response
from pydantic import TypeAdapter, ValidationError

from broch_api.audit.schemas import RecordFilter, VerifyView
from broch_api.audit.service import AuditDesk
from broch_core.actions import Action
from broch_core.actors import Actor
from broch_core.web.guard import Who
from broch_core.web.pages import Pages
from broch_core.web.paging import PAGE, Before
from broch_core.web.routing import Kind, Router, provided

router = Router("/audit", kind=Kind.PAGE)
Desk = Annotated[AuditDesk, provided(AuditDesk)]
Shell = Annotated[Pages, provided(Pages)]

_FIELDS = ("actor", "action", "project", "outcome", "since", "until")
_FILTER: TypeAdapter[RecordFilter] = TypeAdapter(RecordFilter)
_SENTENCES: Mapping[str, str] = {
    "since": "Give a day, such as 2026-11-30.",
    "until": "Give a day, such as 2026-11-30.",
    "outcome": "Choose allowed or denied.",
}
_LONGEST_VALUE = 100


@router.get("", action=Action.AUDIT_READ)
def audit_page(request: Request, actor: Who, desk: Desk, shell: Shell, before: Before = None) -> Response:
    """Show the log, filtered."""
    context, status = _context(request, actor, desk, before)
    return shell.render(request, "audit/page.html", context, status=status)


@router.post("/verify", action=Action.AUDIT_VERIFY)
def verify_now(request: Request, actor: Who, desk: Desk, shell: Shell) -> Response:
    """Verify the whole log and show what came of it."""
    result = desk.verify(actor)
    context, _ = _context(request, actor, desk, None, result)
    return shell.render(request, "audit/page.html", context)


def _context(
    request: Request, actor: Actor, desk: AuditDesk, before: str | None, verified: VerifyView | None = None
) -> tuple[dict[str, Any], int]:
    values = {name: request.query_params.get(name, "").strip()[:_LONGEST_VALUE] for name in _FIELDS}
    given = {name: value for name, value in values.items() if value}
    errors: dict[str, str] = {}
    try:
        wanted = _FILTER.validate_python(given)
    except ValidationError as error:
        names = {str(item["loc"][0]) for item in error.errors() if item["loc"]}
        errors = {name: _SENTENCES.get(name, "This has characters that cannot be here.") for name in names}
        wanted = RecordFilter()
    page = desk.records(actor, wanted, before=before, limit=PAGE)
    query = urlencode(given)
    context = {
        "page": page,
        "before": before,
        "values": values,
        "errors": errors,
        "query": query,
        "older": f"/audit?{urlencode({**given, 'before': page.next})}" if page.next else None,
        "actions": [(action.value, action.value) for action in Action],
        "hours": desk.per_hour(actor),
        "checkpoint": desk.checkpoint(actor),
        "verified": verified,
    }
    return context, 422 if errors else 200
