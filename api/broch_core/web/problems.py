"""The one place where domain errors become RFC 9457 problem details (design, rule 10), or a page with the same words."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import structlog
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from broch_core.actors import Actor
from broch_core.audit.denials import DenialLog
from broch_core.errors import Denied, DomainError, NotFound, Unauthenticated
from broch_core.rules import PLATFORM, Resource
from broch_core.web.pages import Pages

log = structlog.get_logger()

TYPE_BASE = "https://broch.dev/problems/"
MEDIA_TYPE = "application/problem+json"
_FACT_TYPES = (str, int, float, bool)
_MOST_FIELD_ERRORS = 20
_LONGEST_WAY_BACK = 2000


class Problem(BaseModel):
    """RFC 9457 problem details, as every error of the API answers."""

    type: str = Field(examples=[TYPE_BASE + "conflict"])
    title: str = Field(examples=["This no longer fits the present state"])
    status: int = Field(examples=[409])
    detail: str = Field(examples=["The project is ended: 'freeze' is not possible now."])
    remedy: str | None = Field(default=None, description="What to do about it.")
    errors: list[dict[str, str]] | None = Field(
        default=None, description="Each field that is not valid, and why."
    )


ANSWERS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": Problem, "description": "A problem (RFC 9457)", "content": {MEDIA_TYPE: {}}},
    "5XX": {
        "model": Problem,
        "description": "A problem of the server (RFC 9457)",
        "content": {MEDIA_TYPE: {}},
    },
}


def _wants_page(request: Request) -> bool:
    path = request.url.path
    return "text/html" in request.headers.get("accept", "") and not path.startswith(
        ("/api/", "/internal/", "/door/")
    )


async def _answer(request: Request, problem: Problem, extra: dict[str, object] | None = None) -> Response:
    if _wants_page(request):
        pages: Pages = request.app.state.services[Pages]
        shown = problem.model_dump() | {
            "next": [problem.remedy] if problem.remedy else [],
            "request_id": getattr(request.state, "request_id", None) or "none",
        }
        return await run_in_threadpool(
            pages.render, request, "error.html", {"problem": shown}, status=problem.status
        )
    headers = dict(getattr(request.state, "answer_headers", {}))  # what a protocol (tus) wants on errors too
    if problem.status == Unauthenticated.status:
        headers["WWW-Authenticate"] = "Bearer"
    body = problem.model_dump(exclude_none=True) | (extra or {})
    return JSONResponse(body, problem.status, headers, MEDIA_TYPE)


async def _domain_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, DomainError)  # noqa: S101 - registered for this type only
    if isinstance(error, Denied | NotFound) and "action" in error.facts:
        actor: Actor | None = getattr(request.state, "actor", None)
        resource = error.facts.get("resource", PLATFORM)
        if actor is not None and isinstance(resource, Resource):
            denials: DenialLog = request.app.state.services[DenialLog]
            await run_in_threadpool(denials.note, actor.person_id, str(error.facts["action"]), resource)
    if isinstance(error, Unauthenticated) and _wants_page(request):
        back = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        safe = request.method == "GET" and len(back) <= _LONGEST_WAY_BACK
        return RedirectResponse(f"/sign-in?next={quote(back, safe='')}" if safe else "/sign-in", 303)
    problem = Problem(
        type=TYPE_BASE + error.kind,
        title=error.title,
        status=error.status,
        detail=error.detail,
        remedy=error.remedy,
    )
    return await _answer(
        request,
        problem,
        {k: v for k, v in error.facts.items() if isinstance(v, _FACT_TYPES) and k != "action"},
    )


async def _invalid_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this type only
    errors = [
        {"field": ".".join(str(part)[:60] for part in item["loc"])[:200], "reason": str(item["msg"])[:300]}
        for item in error.errors()[:_MOST_FIELD_ERRORS]
    ]
    where = "; ".join(f"{e['field']}: {e['reason']}" for e in errors[:3])
    problem = Problem(
        type=TYPE_BASE + "invalid",
        title="Something in the request is not valid",
        status=422,
        detail=where or "The request is not valid.",
        errors=errors,
    )
    return await _answer(request, problem)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type only
    titles = {
        404: "Not found",
        405: "This address does not take that method",
        400: "The request cannot be read",
    }
    title = titles.get(error.status_code, "This request cannot be carried out")
    detail = str(error.detail)[:300]
    if error.status_code == NotFound.status and detail == HTTPStatus.NOT_FOUND.phrase:
        detail = "There is no page at this address."
    problem = Problem(
        type=TYPE_BASE + ("not-found" if error.status_code == NotFound.status else "http"),
        title=title,
        status=error.status_code,
        detail=detail,
    )
    answer = await _answer(request, problem)
    for name, value in (error.headers or {}).items():
        answer.headers[name] = value
    return answer


async def _defect(request: Request, error: Exception) -> Response:
    request_id = getattr(request.state, "request_id", None)
    log.error("request.defect", path=request.url.path, request_id=request_id, exc_info=error)
    problem = Problem(
        type=TYPE_BASE + "defect",
        title="Something went wrong inside Broch",
        status=500,
        detail="This is a defect. Nothing was changed by this request.",
        remedy=f"Tell your administrator the request id {request_id}.",
    )
    return await _answer(request, problem)


def install(app: FastAPI) -> None:
    """Register the handlers."""
    app.add_exception_handler(DomainError, _domain_error)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _defect)
