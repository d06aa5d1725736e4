"""Routes that name their action. A guarded route that answers without its rule having been asked is a defect: 500."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from fastapi import APIRouter, Depends, Request, Response
from fastapi.routing import APIRoute

from broch_core.actions import Action
from broch_core.rules import SERVICE_ACTIONS, UNGUARDED, decided
from broch_core.web.bodies import StrictRequest
from broch_core.web.guard import guard_page, guard_request
from broch_core.web.problems import ANSWERS

T = TypeVar("T")


class Kind(StrEnum):
    """Who talks to a route."""

    API = "api"
    PAGE = "page"
    SERVICE = "service"


@dataclass(frozen=True)
class NamedRoute:
    """One route for the matrix of routes and actors."""

    method: str
    path: str
    action: Action
    kind: Kind


ROUTES: list[NamedRoute] = []
"""Every route of the process, in the order of registration."""


class UndecidedRoute(RuntimeError):
    """A route answered without asking the rule of its action."""


class ActionRoute(APIRoute):
    """A route that watches that its action was decided before a successful answer leaves."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the handler of FastAPI."""
        parsed = super().get_route_handler()

        async def handler(request: Request) -> Response:
            return await parsed(StrictRequest(request.scope, request.receive))

        action = Action((self.openapi_extra or {})["x-broch-action"])
        if action in UNGUARDED or action in SERVICE_ACTIONS:
            return handler

        async def watched(request: Request) -> Response:
            seen: set[Action] = set()
            token = decided.set(seen)
            try:
                response = await handler(request)
            finally:
                decided.reset(token)
            if action not in seen:
                raise UndecidedRoute(f"{request.method} {self.path} answered without deciding {action}")
            return response

        return watched


class Router:
    """Routes of one noun; each call says `action=`."""

    def __init__(self, prefix: str = "", *, kind: Kind = Kind.API, tag: str = "") -> None:
        guard: list[Any] = {
            Kind.API: [Depends(guard_request)],
            Kind.PAGE: [Depends(guard_page)],
            Kind.SERVICE: [],
        }[kind]
        self.kind = kind
        self.prefix = prefix
        self.api = APIRouter(
            prefix=prefix,
            tags=[tag] if tag else [],
            dependencies=guard,
            route_class=ActionRoute,
            responses=ANSWERS,
            include_in_schema=kind is Kind.API,
        )

    def _add(self, method: str, path: str, action: Action, options: dict[str, Any]) -> Callable[[T], T]:
        ROUTES.append(NamedRoute(method, self.prefix + path, action, self.kind))
        options.setdefault("openapi_extra", {})["x-broch-action"] = action.value
        if self.kind is Kind.PAGE:
            options.setdefault("response_model", None)

        def register(endpoint: T) -> T:
            self.api.add_api_route(path, endpoint, methods=[method], **options)  # type: ignore[arg-type]
            return endpoint

        return register

    def get(self, path: str, *, action: Action, **options: Any) -> Callable[[T], T]:
        """Register a GET route."""
        return self._add("GET", path, action, options)

    def head(self, path: str, *, action: Action, **options: Any) -> Callable[[T], T]:
        """Register a HEAD route."""
        return self._add("HEAD", path, action, options)

    def options(self, path: str, *, action: Action, **options: Any) -> Callable[[T], T]:
        """Register an OPTIONS route."""
        return self._add("OPTIONS", path, action, options)

    def post(self, path: str, *, action: Action, **options: Any) -> Callable[[T], T]:
        """Register a POST route."""
        return self._add("POST", path, action, options)

    def put(self, path: str, *, action: Action, **options: Any) -> Callable[[T], T]:
        """Register a PUT route."""
        return self._add("PUT", path, action, options)

    def patch(self, path: str, *, action: Action, **options: Any) -> Callable[[T], T]:
        """Register a PATCH route."""
        return self._add("PATCH", path, action, options)

    def delete(self, path: str, *, action: Action, **options: Any) -> Callable[[T], T]:
        """Register a DELETE route."""
        return self._add("DELETE", path, action, options)


def provided(kind: type[T]) -> Any:
    """Return a dependency on the service of this type that the composition root put into the app."""

    async def find(request: Request) -> T:  # asynchronous: a plain function would go through the thread pool
        service: T = request.app.state.services[kind]
        return service

    return Depends(find)
