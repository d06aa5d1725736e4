"""API of the audit log."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Response
from fastapi.responses import StreamingResponse

from broch_api.audit.schemas import AuditRecordView, CheckpointView, ProofView, RecordFilter, VerifyView
from broch_api.audit.service import AuditDesk
from broch_core.actions import Action
from broch_core.ids import Id
from broch_core.web.guard import Who
from broch_core.web.paging import PAGE, Before, Limit, Page
from broch_core.web.routing import Router, provided

router = Router("/api/v1/audit", tag="audit")
Desk = Annotated[AuditDesk, provided(AuditDesk)]
Wanted = Annotated[RecordFilter, Depends()]


@router.get("/records", action=Action.AUDIT_READ)
def list_records(
    wanted: Wanted, actor: Who, desk: Desk, before: Before = None, limit: Limit = PAGE
) -> Page[AuditRecordView]:
    """List records, newest first, by who acted, what, where, when and with which outcome."""
    return desk.records(actor, wanted, before=before, limit=limit)


@router.get("/records/{record_id}/proof", action=Action.AUDIT_READ)
def prove_record(record_id: Id, actor: Who, desk: Desk) -> ProofView:
    """Prove that a record is in the log of the newest checkpoint (RFC 6962 inclusion proof)."""
    return desk.proof(actor, record_id)


@router.get("/checkpoint", action=Action.AUDIT_READ)
def read_checkpoint(actor: Who, desk: Desk) -> CheckpointView:
    """Return the newest signed tree head, to be kept where nobody here can change it."""
    return desk.checkpoint(actor)


@router.post("/verify", action=Action.AUDIT_VERIFY)
def verify_log(actor: Who, desk: Desk) -> VerifyView:
    """Recompute every leaf and the tree, and hold them against the newest checkpoint."""
    return desk.verify(actor)


@router.get(
    "/export",
    action=Action.AUDIT_READ,
    response_class=StreamingResponse,
    responses={200: {"content": {"application/jsonl": {}}, "description": "One record a line."}},
)
def export_records(wanted: Wanted, actor: Who, desk: Desk) -> Response:
    """Stream records as JSON lines, newest first. The export is a record itself."""
    headers = {
        "Content-Disposition": 'attachment; filename="broch-audit.jsonl"',
        "Cache-Control": "no-store",
    }
    return StreamingResponse(desk.export(actor, wanted), 200, headers, "application/jsonl")
