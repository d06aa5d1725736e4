"""API of uploads: tus 1.0.0, and a plain PUT for everybody who has a good line."""

from __future__ import annotations

from email.utils import format_datetime
from typing import Annotated, Any

from fastapi import Header, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from broch_airlock.uploads.errors import WrongTusVersion
from broch_airlock.uploads.intake import FileIntake, Source
from broch_airlock.uploads.schemas import TakenFile
from broch_airlock.uploads.service import UploadDesk, UploadStatus
from broch_airlock.uploads.streams import declared_length, pieces, receive_file, require_type
from broch_core.actions import Action
from broch_core.errors import Invalid
from broch_core.ids import Id
from broch_core.web.guard import Who
from broch_core.web.routing import Router, provided

PREFIX = "/api/v1/airlock"
TUS_VERSION = "1.0.0"
EXTENSIONS = "creation,expiration,termination"
PART = "application/offset+octet-stream"

router = Router(PREFIX, tag="airlock uploads")
Desk = Annotated[UploadDesk, provided(UploadDesk)]
Intake = Annotated[FileIntake, provided(FileIntake)]

_BODY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}


def _speak_tus(request: Request, version: str | None) -> None:
    """Agree on the version; errors carry it too.

    Raises:
        WrongTusVersion: the client wants another one.
    """
    request.state.answer_headers = {"Tus-Resumable": TUS_VERSION, "Cache-Control": "no-store"}
    if version != TUS_VERSION:
        request.state.answer_headers["Tus-Version"] = TUS_VERSION
        raise WrongTusVersion(f"Send the header 'Tus-Resumable: {TUS_VERSION}'.")


def _answer(status: int, upload: UploadStatus | None = None, **more: str) -> Response:
    headers = {"Tus-Resumable": TUS_VERSION, "Cache-Control": "no-store", **more}
    if upload is not None:
        headers["Upload-Offset"] = str(upload.offset)
        headers["Upload-Expires"] = format_datetime(upload.expires_at, usegmt=True)
    return Response(status_code=status, headers=headers)


def _number(text: str | None, name: str) -> int:
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 18:
        raise Invalid(f"{name} must be a number of bytes.")
    return int(text)


Version = Annotated[str | None, Header(alias="Tus-Resumable", description="`1.0.0`.")]


@router.options("/uploads", action=Action.PUBLIC_READ, status_code=204)
@router.options("/requests/{request_id}/uploads", action=Action.PUBLIC_READ, status_code=204)
@router.options("/uploads/{upload_id}", action=Action.PUBLIC_READ, status_code=204)
def discover(desk: Desk) -> Response:
    """Say which tus version, extensions and size are served."""
    return Response(
        status_code=204,
        headers={
            "Tus-Resumable": TUS_VERSION,
            "Tus-Version": TUS_VERSION,
            "Tus-Extension": EXTENSIONS,
            "Tus-Max-Size": str(desk.intake.limit),
        },
    )


@router.post("/requests/{request_id}/uploads", action=Action.AIRLOCK_UPLOAD, status_code=201)
def create_upload(
    request_id: Id,
    request: Request,
    actor: Who,
    desk: Desk,
    tus: Version = None,
    length: Annotated[str | None, Header(alias="Upload-Length")] = None,
    metadata: Annotated[str, Header(alias="Upload-Metadata", description="`filename` in base 64.")] = "",
) -> Response:
    """Begin a resumable upload (tus 1.0 creation); `Location` says where its bytes go."""
    _speak_tus(request, tus)
    upload = desk.create(actor, request_id, _number(length, "Upload-Length"), metadata)
    return _answer(201, upload, Location=f"{PREFIX}/uploads/{upload.id}")


@router.head("/uploads/{upload_id}", action=Action.AIRLOCK_UPLOAD)
def upload_status(upload_id: Id, request: Request, actor: Who, desk: Desk, tus: Version = None) -> Response:
    """Say how many bytes of an upload are safe on disk."""
    _speak_tus(request, tus)
    upload = desk.status(actor, upload_id)
    return _answer(200, upload, **{"Upload-Length": str(upload.length)})


@router.patch(
    "/uploads/{upload_id}",
    action=Action.AIRLOCK_UPLOAD,
    status_code=204,
    openapi_extra={"requestBody": {"content": {PART: _BODY}}},
)
async def continue_upload(
    upload_id: Id,
    request: Request,
    actor: Who,
    desk: Desk,
    tus: Version = None,
    offset: Annotated[str | None, Header(alias="Upload-Offset")] = None,
) -> Response:
    """Append bytes at `Upload-Offset`; the last ones make the upload a file of its request."""
    _speak_tus(request, tus)
    require_type(request, PART)
    begun = await run_in_threadpool(
        desk.begin, actor, upload_id, _number(offset, "Upload-Offset"), declared_length(request)
    )
    try:
        async for piece in pieces(request):
            await run_in_threadpool(begun.write, piece)
        upload = await run_in_threadpool(begun.finish)
    except ClientDisconnect:
        raise Invalid("The connection broke; what came is kept.") from None
    finally:
        await run_in_threadpool(begun.close)
    return _answer(204, upload)


@router.delete("/uploads/{upload_id}", action=Action.AIRLOCK_UPLOAD, status_code=204)
def drop_upload(upload_id: Id, request: Request, actor: Who, desk: Desk, tus: Version = None) -> Response:
    """Drop an unfinished upload and its bytes (tus termination)."""
    _speak_tus(request, tus)
    desk.terminate(actor, upload_id)
    return _answer(204)


@router.put(
    "/requests/{request_id}/files/{name}",
    action=Action.AIRLOCK_UPLOAD,
    status_code=201,
    openapi_extra={"requestBody": {"content": {"application/octet-stream": _BODY}, "required": True}},
)
async def put_file(request_id: Id, name: str, request: Request, actor: Who, intake: Intake) -> TakenFile:
    """Send one file in one stream; the same name again replaces its bytes."""
    admission = await run_in_threadpool(
        lambda: intake.admit(actor, request_id, name, source=Source.OUTSIDE, size=declared_length(request))
    )
    file = await receive_file(request, intake, admission, lambda: actor)
    return TakenFile(id=file.id, name=file.name, size=file.size, sha256=file.sha256)
