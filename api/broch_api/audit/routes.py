"""API of the audit log."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query, Response
from fastapi.responses import StreamingResponse

from broch_api.audit.exporting import AuditExports
from broch_api.audit.schemas import (
    AuditRecordView,
    CheckpointPage,
    CheckpointView,
    ConsistencyView,
    ErasureRequest,
    ErasureView,
    ExportFormat,
    KeyView,
    ProofView,
    RecordFilter,
    RotationRequest,
    VerifyRequest,
    VerifyView,
)
from broch_api.audit.service import AuditDesk
from broch_api.audit.upkeep import AuditUpkeep
from broch_core.actions import Action
from broch_core.ids import Id
from broch_core.web.guard import Who
from broch_core.web.paging import PAGE, Before, Limit, Page
from broch_core.web.routing import Router, provided

router = Router("/api/v1/audit", tag="audit")
Desk = Annotated[AuditDesk, provided(AuditDesk)]
Exports = Annotated[AuditExports, provided(AuditExports)]
Upkeep = Annotated[AuditUpkeep, provided(AuditUpkeep)]
Wanted = Annotated[RecordFilter, Depends()]
_MOST = 2**53 - 1
Below = Annotated[int | None, Query(ge=0, le=_MOST, description="Only those of fewer records (from `next`).")]
Size = Annotated[int, Query(ge=0, le=_MOST, description="How many records the log had.")]
Form = Annotated[ExportFormat, Query(alias="format", description="How each record is written.")]
First = Annotated[
    int | None, Query(ge=0, le=_MOST, description="Number of the first record; not for `records`.")
]
End = Annotated[int | None, Query(ge=0, le=_MOST, description="Number before which to stop; for `leaves`.")]


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


@router.get("/checkpoints", action=Action.AUDIT_READ)
def list_checkpoints(actor: Who, desk: Desk, below: Below = None, limit: Limit = PAGE) -> CheckpointPage:
    """List signed tree heads, newest first."""
    return desk.checkpoints(actor, below=below, limit=limit)


@router.get("/consistency", action=Action.AUDIT_READ)
def prove_consistency(actor: Who, desk: Desk, old: Size, new: Size) -> ConsistencyView:
    """Prove that the log of `new` records continues the one of `old` (RFC 9162 consistency proof)."""
    return desk.consistency(actor, old, new)


@router.post("/verify", action=Action.AUDIT_VERIFY)
def verify_log(actor: Who, desk: Desk, body: VerifyRequest | None = None) -> VerifyView:
    """Recompute every leaf and the tree, and hold them against all checkpoints and one that was kept elsewhere."""
    return desk.verify(actor, body.checkpoint if body else None)


@router.post("/erasures", action=Action.AUDIT_ERASE)
def erase_texts(body: ErasureRequest, actor: Who, upkeep: Upkeep) -> ErasureView:
    """Erase personal texts. Their digests stay in the log, which still verifies and says that they were erased."""
    return upkeep.erase(actor, body)


@router.post("/keys", action=Action.AUDIT_ROTATE, status_code=201)
def rotate_key(body: RotationRequest, actor: Who, upkeep: Upkeep) -> KeyView:
    """Renew a signing key. Hand out the new trust file: /api/v1/airlock/trust.json."""
    return upkeep.rotate(actor, body)


@router.get(
    "/export",
    action=Action.AUDIT_READ,
    response_class=StreamingResponse,
    responses={200: {"content": {"application/jsonl": {}}, "description": "One record a line."}},
)
def export_records(
    wanted: Wanted,
    actor: Who,
    exports: Exports,
    form: Form = ExportFormat.RECORDS,
    first: First = None,
    end: End = None,
) -> Response:
    """Stream records, one a line. The export is a record itself."""
    headers = {
        "Content-Disposition": f'attachment; filename="broch-audit-{form}.jsonl"',
        "Cache-Control": "no-store",
    }
    lines = exports.stream(actor, wanted, form, first, end)
    return StreamingResponse(lines, 200, headers, "application/jsonl")
