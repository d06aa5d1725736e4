"""The app of the door's Unix socket (docs/architecture.md, *Airlock door*). It has these four routes and no other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import ValidationError
from sqlmodel import col, select

from broch_airlock.door.keeper import Caller, DoorKeeper
from broch_airlock.door.schemas import DraftView, ImportList, ImportView, NewDraft
from broch_airlock.requests.schemas import RequestSummary
from broch_airlock.requests.service import RequestDesk, RequestFilter
from broch_airlock.tables import AirlockFile, ImportedName
from broch_airlock.uploads.intake import FileIntake, Source
from broch_airlock.uploads.schemas import TakenFile
from broch_airlock.uploads.streams import declared_length, pieces, receive_file
from broch_core.actions import Action
from broch_core.actors import Actor
from broch_core.errors import Invalid, TooLarge
from broch_core.ids import Id
from broch_core.settings import Settings
from broch_core.store.unit import Store
from broch_core.web import problems
from broch_core.web.bodies import parse_json
from broch_core.web.headers import App, Receive, Scope, Send
from broch_core.web.paging import PAGE, Before, Limit, Page
from broch_core.web.routing import Kind, Router, provided

PREFIX = "/door/v1"
LONGEST_BODY = 32 << 10
"""Largest JSON body, bytes: a purpose and a description."""

router = Router(PREFIX, kind=Kind.SERVICE)
Desk = Annotated[RequestDesk, provided(RequestDesk)]
Intake = Annotated[FileIntake, provided(FileIntake)]
Keeper = Annotated[DoorKeeper, provided(DoorKeeper)]
Ours = Annotated[Settings, provided(Settings)]


def _token(request: Request) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token if scheme.lower() == "bearer" else None


def _caller(request: Request, keeper: Keeper) -> Caller:
    return keeper.caller(_token(request))


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
    draft_id: Id, name: str, request: Request, caller: AtDoor, intake: Intake, keeper: Keeper
) -> TakenFile:
    """Put one file into a draft; the same name again replaces its bytes."""
    admission = await run_in_threadpool(
        lambda: intake.admit(
            caller.actor, draft_id, name, source=Source.INSIDE, size=declared_length(request)
        )
    )

    def still() -> Actor:
        return keeper.caller(_token(request)).actor  # the right may have ended while the bytes came

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


def make_door_app(services: Mapping[type, Any]) -> FastAPI:
    """Make the app for `run/door/door.sock`.

    Args:
        services: `RequestDesk`, `FileIntake`, `DoorKeeper`, `Store` and `Settings` by their types.
    """
    app = FastAPI(
        title="Airlock door", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    needed = (RequestDesk, FileIntake, DoorKeeper, Store, Settings)
    app.state.services = {kind: services[kind] for kind in needed}
    app.include_router(router.api)
    problems.install(app)
    app.add_middleware(_ProblemsOnly)
    return app
