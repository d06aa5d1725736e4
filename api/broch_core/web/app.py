"""Making an app on the shell. Control plane and airlock are two apps that look and behave as one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.types import Scope

from broch_core.web import problems
from broch_core.web.routing import Router


def make_app(
    title: str,
    summary: str,
    routers: Iterable[Router],
    *,
    services: Mapping[type, Any],
    shell_origin: str,
    docs_prefix: str,
) -> FastAPI:
    """Make an app.

    Args:
        title: name in its OpenAPI document.
        summary: one sentence for it.
        routers: its routes.
        services: what `provided()` finds, by type.
        shell_origin: the only origin whose pages may change state.
        docs_prefix: where `openapi.json` lies.
    """
    app = FastAPI(
        title=title,
        summary=summary,
        version=version("broch"),
        openapi_url=f"{docs_prefix}/openapi.json",
        docs_url=None,  # its page loads scripts from elsewhere, which our policy refuses
        redoc_url=None,
    )
    app.state.services = dict(services)
    app.state.shell_origin = shell_origin
    for router in routers:
        include(app, router)
    problems.install(app)
    return app


def include(app: FastAPI, router: Router) -> None:
    """Let the app answer these routes.

    They are complete as they are, and made once for all apps: `include_router` would make each of them anew, for
    each app, when its first request comes.
    """
    app.router.routes.extend(router.api.routes)


class _Files(StaticFiles):
    """Static files that answer themselves what they have not: nothing around them would catch the error."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        try:
            return await super().get_response(path, scope)
        except HTTPException as error:
            return PlainTextResponse(error.detail, error.status_code, error.headers)


def static_files() -> StaticFiles:
    """Return the app of static files."""
    return _Files(packages=[("broch_core.web", "static")])
