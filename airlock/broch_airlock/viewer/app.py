"""The app of the viewer's origin: one route, no cookies, no scripts; every answer, errors too, is inert HTML."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.exceptions import HTTPException

from broch_airlock.viewer.service import PAGES_MOST, ViewDesk
from broch_core.errors import DomainError, Invalid, TooLarge
from broch_core.settings import Settings

log = structlog.get_logger()

LONGEST_FORM = 4096
"""Bytes of the form that opens a view."""
_MISDIRECTED = 421
_UNAVAILABLE = "The file could not be shown. Your administrator can find out why."


def policy(shell_origin: str) -> str:
    """Return the Content-Security-Policy: images and styles that lie in the document, framed by the shell alone."""
    return (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox; base-uri 'none'; "
        f"form-action 'none'; frame-ancestors {shell_origin}"
    )


def make_viewer_app(services: Mapping[type, Any]) -> FastAPI:
    """Make the app of the viewer's origin.

    Args:
        services: has `Settings` and `ViewDesk`.
    """
    settings: Settings = services[Settings]
    desk: ViewDesk = services[ViewDesk]
    host = urlsplit(settings.viewer_origin).netloc
    headers = {
        "Content-Security-Policy": policy(settings.shell_origin),
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "same-site",
        "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=(), display-capture=()",
    }
    templates = Environment(
        loader=PackageLoader("broch_airlock"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    app = FastAPI(title="Broch viewer", openapi_url=None, docs_url=None, redoc_url=None)

    def problem(status: int, title: str, detail: str) -> HTMLResponse:
        text = templates.get_template("viewer/problem.html").render(title=title, detail=detail)
        return HTMLResponse(text, status)

    @app.middleware("http")
    async def _inert(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        if request.headers.get("host", "").lower() != host:
            response: Response = problem(_MISDIRECTED, "Not here", "This address is not served here.")
        else:
            try:
                response = await answer(request)
            except Exception:
                log.exception("viewer.failed")
                response = problem(500, "Something went wrong", _UNAVAILABLE)
        for name, value in headers.items():
            response.headers[name] = value
        return response

    @app.exception_handler(DomainError)
    async def _domain_error(_request: Request, error: DomainError) -> Response:
        return problem(error.status, error.title, f"{error.detail} {error.remedy or ''}".strip())

    @app.exception_handler(HTTPException)
    async def _http_error(_request: Request, error: HTTPException) -> Response:
        return problem(error.status_code, "Nothing here", "Open files from the review page.")

    @app.post("/view")
    async def view(request: Request) -> HTMLResponse:
        """Use a view ticket."""
        ticket, page = _fields(await _body(request))
        return HTMLResponse(await run_in_threadpool(desk.show, ticket, page))

    return app


async def _body(request: Request) -> bytes:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > LONGEST_FORM:
            raise TooLarge("The form is too large.")
    return body


def _fields(body: bytes) -> tuple[str, int]:
    """Return ticket and page of the form.

    Raises:
        Invalid: it has another form.
    """
    try:
        fields = parse_qs(body.decode("ascii"), strict_parsing=True, max_num_fields=10)
    except (UnicodeDecodeError, ValueError):
        raise Invalid("Open files from the review page.") from None
    page = fields.get("page", ["1"])[-1]
    if not (page.isascii() and page.isdigit() and len(page) <= len(str(PAGES_MOST))) or int(page) < 1:
        raise Invalid("The part must be a number from 1 up.")
    return fields.get("ticket", [""])[-1], int(page)
