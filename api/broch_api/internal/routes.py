"""Internal API for the hub: spawn plans, reports, and the token side of its sign-in."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Request
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from broch_api.hub_login.errors import Fault, TokenRefused
from broch_api.hub_login.requests import Parameters, read_token_request
from broch_api.hub_login.service import HubLogin
from broch_api.internal.credentials import HubOnly, ServiceTokens, bearer_of
from broch_api.workspaces.planning import SpawnPlanner
from broch_api.workspaces.reports import Reported, WorkspaceReports
from broch_core.actions import Action
from broch_core.web.forms import PostedForm
from broch_core.web.routing import Kind, Router, provided
from broch_workspaces.plan import Principal, SpawnPlan

router = Router("/internal/v1", kind=Kind.SERVICE)
oauth = Router("/oauth", kind=Kind.SERVICE)
Planner = Annotated[SpawnPlanner, provided(SpawnPlanner)]
Reports = Annotated[WorkspaceReports, provided(WorkspaceReports)]
Login = Annotated[HubLogin, provided(HubLogin)]
Tokens = Annotated[ServiceTokens, provided(ServiceTokens)]

_NOT_KEPT = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_LONGEST_TOKEN = 200


class WorkspaceEventBody(BaseModel):
    """What the spawner reports."""

    model_config = ConfigDict(extra="forbid")

    event: Reported
    detail: Annotated[str, Field(max_length=2000)] = ""
    start: Annotated[
        str,
        Field(
            pattern=r"^[0-9a-f]{0,16}$", description="Which start, as its plan says; empty before the plan."
        ),
    ] = ""


class ShownBody(BaseModel):
    """What the proxy counted."""

    model_config = ConfigDict(extra="forbid")

    bytes: Annotated[int, Field(ge=0, le=1 << 50, description="Bytes sent since the last report.")]


class IdleBody(BaseModel):
    """What the spawner tells of an idle workspace."""

    model_config = ConfigDict(extra="forbid")

    stop_at: Annotated[
        AwareDatetime | None, Field(description="When it will be stopped; null: it is not idle any more.")
    ]
    start: Annotated[str, Field(pattern=r"^[0-9a-f]{1,16}$", description="Which start, as its plan says.")]


MOST_STAYS = 500


class StaysBody(BaseModel):
    """Whom the hub lets into shared workspaces."""

    model_config = ConfigDict(extra="forbid")

    principals: Annotated[list[Principal], Field(max_length=MOST_STAYS)]


class Stays(BaseModel):
    """Those of them that go on."""

    principals: list[str]


class Taken(BaseModel):
    """Whether a report changed anything."""

    changed: bool


@router.get("/spawn-plans/{principal}", action=Action.HUB_PLAN, dependencies=[HubOnly])
def spawn_plan(principal: Principal, planner: Planner) -> SpawnPlan:
    """Say what a workspace may start with, now."""
    return planner.plan(principal)


@router.post("/workspaces/{principal}/events", action=Action.HUB_EVENT, dependencies=[HubOnly])
def workspace_event(principal: Principal, body: WorkspaceEventBody, reports: Reports) -> Taken:
    """Take a report of the spawner."""
    return Taken(changed=reports.event(principal, body.event, body.detail, body.start))


@router.post("/workspaces/{principal}/idle", action=Action.HUB_EVENT, dependencies=[HubOnly])
def workspace_idle(principal: Principal, body: IdleBody, reports: Reports) -> Taken:
    """Take the spawner's word that a workspace is idle, or no longer."""
    return Taken(changed=reports.idle(principal, body.stop_at, body.start))


@router.post("/workspaces/{principal}/shown", action=Action.HUB_EVENT, dependencies=[HubOnly])
def workspace_shown(principal: Principal, body: ShownBody, reports: Reports) -> Taken:
    """Take the proxy's count of bytes that a workspace sent to the browser."""
    reports.shown(principal, body.bytes)
    return Taken(changed=body.bytes > 0)


@router.post("/stays/standing", action=Action.HUB_EVENT, dependencies=[HubOnly])
def standing_stays(body: StaysBody, reports: Reports) -> Stays:
    """Say which stays in shared workspaces go on: the hub lets nobody in for long who is not one."""
    return Stays(principals=reports.standing(body.principals))


@router.post("/stays/{principal}/left", action=Action.HUB_EVENT, dependencies=[HubOnly])
def stay_left(principal: Principal, reports: Reports) -> Taken:
    """Take the proxy's word that somebody has had no page of a shared workspace open for a while."""
    return Taken(changed=reports.left(principal))


@oauth.post("/token", action=Action.HUB_TOKEN)
def token(request: Request, form: PostedForm, login: Login, tokens: Tokens) -> JSONResponse:
    """Redeem a code (RFC 6749, 4.1.3)."""
    given = Parameters.of((name, value) for name in form.lists for value in form.all(name))
    authorization = request.headers.get("authorization", "")
    try:
        access = login.redeem(read_token_request(given, authorization, tokens.hub_oauth))
    except TokenRefused as refused:
        return _refused(refused, basic=bool(authorization))
    return JSONResponse(
        {"access_token": access.token, "token_type": "Bearer", "expires_in": access.seconds}, 200, _NOT_KEPT
    )


@oauth.get("/userinfo", action=Action.HUB_TOKEN)
def userinfo(request: Request, login: Login) -> JSONResponse:
    """Name the principal that an access token stands for, once."""
    access_token = bearer_of(request)
    if not access_token:  # RFC 6750, 3.1: no error code where no token was shown
        return JSONResponse({}, 401, {**_NOT_KEPT, "WWW-Authenticate": "Bearer"})
    named = login.named_by(access_token) if len(access_token) <= _LONGEST_TOKEN else None
    if named is None:
        fault: dict[str, Any] = {"error": Fault.INVALID_TOKEN.value}
        header = f'Bearer error="{Fault.INVALID_TOKEN.value}"'
        return JSONResponse(fault, 401, {**_NOT_KEPT, "WWW-Authenticate": header})
    said = {"sub": named.principal, "name": named.shown_name, "enters": named.enters}
    return JSONResponse({name: value for name, value in said.items() if value is not None}, 200, _NOT_KEPT)


def _refused(refused: TokenRefused, *, basic: bool) -> JSONResponse:
    unknown = refused.fault is Fault.INVALID_CLIENT
    headers = {**_NOT_KEPT, "WWW-Authenticate": 'Basic realm="broch"'} if unknown and basic else _NOT_KEPT
    body = {"error": refused.fault.value, "error_description": refused.description}
    return JSONResponse(body, 401 if unknown else 400, headers)
