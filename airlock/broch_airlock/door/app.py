"""The app of the airlock door (docs/architecture.md, *Airlock door*; docs/cluster.md). It has these five routes and no other.

On one machine it listens on a Unix socket; on a cluster behind the zone gateway, which names the pod that calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from pydantic import ValidationError
from sqlmodel import col, select

from broch_airlock.door.deliveries import DeliveryDesk
from broch_airlock.door.entrances import Entrance, GatewayEntrance, Shown, TokenEntrance
from broch_airlock.door.keeper import Caller, DoorKeeper
from broch_airlock.door.schemas import DraftView, ImportList, ImportView, NewDraft
from broch_airlock.requests.schemas import RequestSummary
from broch_airlock.requests.service import RequestDesk, RequestFilter
from broch_airlock.tables import AirlockFile, ImportedName
from broch_airlock.uploads.intake import FileIntake, Source
from broch_airlock.uploads.schemas import TakenFile
from broch_airlock.uploads.streams import PLAIN, declared_length, pieces, receive_file
from broch_core.actions import Action
from broch_core.actors import Actor
from broch_core.errors import Denied, Invalid, TooLarge
from broch_core.ids import Id
from broch_core.settings import Settings
from broch_core.store.unit import Store
from broch_core.web import problems
from broch_core.web.app import include
from broch_core.web.bodies import parse_json
from broch_core.web.headers import App, Receive, Scope, Send
from broch_core.web.paging import PAGE, Before, Limit, Page
from broch_core.web.routing import Kind, Router, provided
from broch_workspaces.gateway.calls import Account

PREFIX = "/door/v1"
LONGEST_BODY = 32 << 10
"""Largest JSON body, bytes: a purpose and a description."""

router = Router(PREFIX, kind=Kind.SERVICE)
Desk = Annotated[RequestDesk, provided(RequestDesk)]
Intake = Annotated[FileIntake, provided(FileIntake)]
Keeper = Annotated[DoorKeeper, provided(DoorKeeper)]
Ours = Annotated[Settings, provided(Settings)]


async def _entrance(request: Request) -> Entrance:
    entrance: Entrance = request.app.state.entrance
    return entrance


AtEntrance = Annotated[Entrance, Depends(_entrance)]


def _workspace(shown: Shown, keeper: DoorKeeper) -> Caller:
    if shown.account is not Account.WORKSPACE:
        raise Denied("Only a workspace may ask the door for this.")
    return keeper.caller(shown.key)


def _caller(request: Request, entrance: AtEntrance, keeper: Keeper) -> Caller:
    return _workspace(entrance.shown(request.headers), keeper)


AtDoor = Annotated[Caller, Depends(_caller)]


@router.post("/drafts", action=Action.DOOR_DRAFT, status_code=201)
async def create_draft(request: Request, caller: AtDoor, desk: Desk, settings: Ours) -> DraftView:
    """Begin a draft of files that are to leave; its author is the person of the workspace."""
    body = bytearray()
    async for piece in pieces(request, 4096):
        body += piece
        if len(body) > LONGEST_BODY:
            raise TooLarge(f"The body is larger than {LONGEST_BODY:,} bytes.")
    try:
        draft = NewDraft.model_validate(parse_json(bytes(body) or b"{}"))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part)[:60] for part in first["loc"])[:200]
        raise Invalid(f"{where or 'body'}: {first['msg'][:300]}") from None
    except (ValueError, RecursionError):
        raise Invalid("body: this is no JSON that can be read.") from None
    view = await run_in_threadpool(
        lambda: desk.create_egress(
            caller.actor,
            caller.project_id,
            purpose=draft.purpose,
            description=draft.description,
            by="door",
        )
    )
    return _draft(view, settings.shell_origin)


@router.put("/drafts/{draft_id}/files/{name}", action=Action.DOOR_DRAFT, status_code=201)
async def put_draft_file(
    draft_id: Id,
    name: str,
    request: Request,
    caller: AtDoor,
    entrance: AtEntrance,
    intake: Intake,
    keeper: Keeper,
) -> TakenFile:
    """Put one file into a draft; the same name again replaces its bytes."""
    admission = await run_in_threadpool(
        lambda: intake.admit(
            caller.actor, draft_id, name, source=Source.INSIDE, size=declared_length(request)
        )
    )

    def still() -> Actor:
        return _caller(request, entrance, keeper).actor  # the right may have ended while the bytes came

    file = await receive_file(request, intake, admission, still)
    return TakenFile(id=file.id, name=file.name, size=file.size, sha256=file.sha256)


@router.get("/requests", action=Action.DOOR_READ)
def list_requests(
    caller: AtDoor, desk: Desk, settings: Ours, before: Before = None, limit: Limit = PAGE
) -> Page[DraftView]:
    """List this person's requests in this project."""
    found = desk.list(
        caller.actor,
        RequestFilter(caller.project_id, author_id=caller.actor.person_id, before=before, limit=limit),
    )
    return Page(items=[_draft(item, settings.shell_origin) for item in found.items], next=found.next)


@router.get("/imports", action=Action.DOOR_READ)
def list_imports(caller: AtDoor, store: Annotated[Store, provided(Store)]) -> ImportList:
    """List what lies in `/imports` of this project."""
    with store.read() as session:
        rows = session.exec(
            select(ImportedName, AirlockFile)
            .join(AirlockFile, col(AirlockFile.id) == ImportedName.file_id)
            .where(ImportedName.project_id == caller.project_id, col(ImportedName.placed_at).is_not(None))
            .order_by(ImportedName.name)
        ).all()
    return ImportList(
        items=[
            ImportView(name=taken.name, size=file.size, sha256=file.sha256, placed_at=taken.placed_at)
            for taken, file in rows
            if taken.placed_at is not None
        ]
    )


@router.get("/deliveries/{delivery_id}", action=Action.DOOR_DELIVERY)
def fetch_delivery(
    delivery_id: Id,
    request: Request,
    entrance: AtEntrance,
    desk: Annotated[DeliveryDesk, provided(DeliveryDesk)],
) -> StreamingResponse:
    """Give the importer of a zone the bytes that it is to place."""
    shown = entrance.shown(request.headers)
    if shown.account is not Account.IMPORTER or shown.namespace is None:
        raise Denied("Only the importer of a zone may fetch deliveries.")
    found = desk.open(shown.namespace, delivery_id)
    return StreamingResponse(
        found.pieces(),
        media_type=PLAIN,
        headers={"Content-Length": str(found.size), "Broch-Sha256": found.sha256},
    )


def _draft(summary: RequestSummary, shell_origin: str) -> DraftView:
    return DraftView(
        id=summary.id,
        status=summary.status,
        direction=summary.direction.value,
        purpose=summary.purpose,
        files=summary.files,
        created_at=summary.created_at,
        confirm_url=f"{shell_origin}/airlock/requests/{summary.id}",
    )


class _ProblemsOnly:
    """Nobody at the door is a browser: every error is problem details, whatever `Accept` says."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["headers"] = [(name, value) for name, value in scope["headers"] if name != b"accept"]
        await self._app(scope, receive, send)


def make_door_app(services: Mapping[type, Any], gateway_token: str | None = None) -> FastAPI:
    """Make the app of the door.

    Args:
        services: `RequestDesk`, `FileIntake`, `DoorKeeper`, `DeliveryDesk`, `Store` and `Settings` by their types.
        gateway_token: on a cluster what the zone gateway shows. None: the Unix socket `run/door/door.sock`.
    """
    app = FastAPI(
        title="Airlock door", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    needed = (RequestDesk, FileIntake, DoorKeeper, DeliveryDesk, Store, Settings)
    app.state.services = {kind: services[kind] for kind in needed}
    app.state.entrance = TokenEntrance() if gateway_token is None else GatewayEntrance(gateway_token)
    include(app, router)
    problems.install(app)
    app.add_middleware(_ProblemsOnly)
    return app
