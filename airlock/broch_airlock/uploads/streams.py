"""Between an asynchronous request body and a blocking sink: pieces of constant size, one at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from broch_airlock.tables import AirlockFile
from broch_airlock.uploads.errors import WrongType
from broch_airlock.uploads.intake import Admission, FileIntake
from broch_core.actors import Actor
from broch_core.blobs import CHUNK, BlobClass
from broch_core.errors import Invalid

PLAIN = "application/octet-stream"


async def pieces(request: Request, size: int = CHUNK) -> AsyncIterator[bytes]:
    """Yield the body in pieces of about `size` bytes; memory stays constant however long it is."""
    held = bytearray()
    async for data in request.stream():
        held += data
        if len(held) >= size:
            yield bytes(held)
            held.clear()
    if held:
        yield bytes(held)


def declared_length(request: Request) -> int | None:
    """Return what `Content-Length` says, if anything.

    Raises:
        Invalid: it is no number.
    """
    text = request.headers.get("content-length")
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise Invalid("Content-Length is not a number.")
    return int(text)


def require_type(request: Request, wanted: str) -> None:
    """Raise unless the body is of the wanted media type.

    Raises:
        WrongType: it is not.
    """
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != wanted:
        raise WrongType(f"Send the bytes as {wanted}.")


async def receive_file(
    request: Request,
    intake: FileIntake,
    admission: Admission,
    actor: Callable[[], Actor],
) -> AirlockFile:
    """Stream a request's body into an admitted file.

    Args:
        request: whose body it is.
        intake: where the file goes.
        admission: what was judged before.
        actor: gives who sends, with the rights at the end of the stream.

    Raises:
        TooLarge: more came than the limit.
        NoSpace: the disk is full.
        Invalid: the body ended early.
    """
    require_type(request, PLAIN)
    declared = declared_length(request)
    with intake.writer(admission) as writer:
        try:
            async for piece in pieces(request):
                await run_in_threadpool(writer.write, piece)
        except ClientDisconnect:
            raise Invalid("The body ended early; nothing was taken.") from None
        if declared is not None and writer.size != declared:
            raise Invalid("The body ended early; nothing was taken.")

        def end() -> AirlockFile:
            writer.seal()  # before anybody has to wait for it
            return intake.take(actor(), admission, lambda: writer.commit(BlobClass.DRAFT), writer.size)

        return await run_in_threadpool(end)
