"""Answers that browsers save and never show."""

from __future__ import annotations

from urllib.parse import quote

from fastapi import Response
from fastapi.responses import StreamingResponse

from broch_airlock.release.downloads import Download


def disposition(name: str) -> str:
    """Return the Content-Disposition of a file to be saved under `name` (RFC 6266, RFC 8187)."""
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%;/' else "_" for c in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _headers(name: str) -> dict[str, str]:
    return {
        "Content-Disposition": disposition(name),
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
        "Content-Security-Policy": "default-src 'none'; sandbox; frame-ancestors 'none'",
    }


def stream(download: Download) -> StreamingResponse:
    """Answer with released bytes."""
    headers = {**_headers(download.name), "Content-Length": str(download.size)}
    return StreamingResponse(download.pieces(), media_type="application/octet-stream", headers=headers)


def saved(text: str | bytes, name: str) -> Response:
    """Answer with a JSON document to be saved."""
    return Response(text, media_type="application/json", headers=_headers(name))
