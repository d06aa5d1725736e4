"""Pages of airlock requests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Query, Request, Response
from pydantic import BaseModel, Field
from sqlmodel import Session, col, select

from broch_airlock.requests.schemas import NewComment, NewRequest, RequestView, Submission
from broch_airlock.requests.service import RequestDesk, RequestFilter
from broch_airlock.requests.steps import MOVING, STEPS, steps
from broch_airlock.tables import Direction
from broch_airlock.uploads.intake import FileIntake
from broch_core.actions import Action
from broch_core.actors import Actor
from broch_core.errors import DomainError
from broch_core.ids import Id
from broch_core.lifecycles import AirlockStatus
from broch_core.rules import Resource, require
from broch_core.store.unit import Store
from broch_core.tables.projects import Project
from broch_core.web.forms import Fields, PostedForm, check
from broch_core.web.guard import Who
from broch_core.web.pages import Pages
from broch_core.web.routing import Kind, Router, provided

router = Router("/airlock", kind=Kind.PAGE)
Desk = Annotated[RequestDesk, provided(RequestDesk)]
Intake = Annotated[FileIntake, provided(FileIntake)]
Rows = Annotated[Store, provided(Store)]
Shell = Annotated[Pages, provided(Pages)]
_FORM_ERRORS = frozenset({409, 413, 422, 429})


class ListQuery(BaseModel):
    """Filters of the list as the address has them; unknown values filter nothing."""

    project_id: str = Field("", max_length=40)
    direction: str = Field("", max_length=40)
    status: str = Field("", max_length=40)
    before: Id | None = None


def projects_of(session: Session, actor: Actor) -> list[tuple[str, str]]:
    """Return (id, name) of the actor's projects."""
    rows = session.exec(
        select(Project.id, Project.name)
        .where(col(Project.id).in_(set(actor.memberships)))
        .order_by(Project.name)
    )
    return [(project_id, name) for project_id, name in rows]


def _chosen(enum: Any, text: str) -> Any:
    return enum(text) if text in set(enum) else None


@router.get("", action=Action.AIRLOCK_LIST)
def list_page(
    request: Request,
    actor: Who,
    desk: Desk,
    rows: Rows,
    shell: Shell,
    query: Annotated[ListQuery, Query()],
) -> Response:
    """Show the requests of one's projects."""
    with rows.read() as session:
        projects = projects_of(session, actor)
    before = query.before
    wanted = RequestFilter(
        query.project_id if query.project_id in dict(projects) else None,
        _chosen(Direction, query.direction),
        _chosen(AirlockStatus, query.status),
        before,
    )
    page = desk.list(actor, wanted)
    kept = {
        name: value
        for name, value in (
            ("project_id", wanted.project_id),
            ("direction", wanted.direction),
            ("status", wanted.status),
        )
        if value
    }
    context = {
        "page": page,
        "projects": projects,
        "statuses": list(AirlockStatus),
        "chosen": {"project_id": "", "direction": "", "status": "", **kept},
        "filtered": bool(kept or before),
        "newest": f"/airlock?{urlencode(kept)}" if before else None,
        "older": f"/airlock?{urlencode({**kept, 'before': page.next})}" if page.next else None,
    }
    return shell.render(request, "requests/list.html", context)


def _new_page(
    request: Request, actor: Actor, rows: Store, shell: Pages, values: Mapping[str, str], **more: Any
) -> Response:
    with rows.read() as session:
        projects = projects_of(session, actor)
    context = {"projects": projects, "values": values, "errors": more.get("errors", {})}
    return shell.render(request, "requests/new.html", context, status=more.get("status", 200))


@router.get("/new", action=Action.AIRLOCK_LIST)
def new_page(
    request: Request,
    actor: Who,
    rows: Rows,
    shell: Shell,
    project_id: Annotated[str, Query(max_length=40)] = "",
) -> Response:
    """Ask for which project files come in, and why."""
    require(actor, Action.AIRLOCK_LIST)
    return _new_page(
        request, actor, rows, shell, {"project_id": project_id, "purpose": "", "description": ""}
    )


@router.post("/new", action=Action.AIRLOCK_CREATE)
def create_draft(
    request: Request, actor: Who, form: PostedForm, desk: Desk, rows: Rows, shell: Shell
) -> Response:
    """Make a draft and go on to its files."""
    values = {name: form[name] for name in ("project_id", "purpose", "description")}
    checked = check(NewRequest, values)
    errors = dict(checked.errors)
    if checked.body is not None:
        try:
            view = desk.create(actor, checked.body)
            return shell.redirect(f"/airlock/requests/{view.id}")
        except DomainError as error:
            if error.status not in _FORM_ERRORS:
                raise
            errors = checked.refused(error)
    require(actor, Action.AIRLOCK_CREATE, Resource(project_id=values["project_id"]))
    return _new_page(request, actor, rows, shell, values, errors=errors, status=422)


def _context(view: RequestView, intake: FileIntake, **more: Any) -> dict[str, Any]:
    return {
        "view": view,
        "moving": view.status in MOVING,
        "steps": steps(view.status),
        "step": STEPS[view.status],
        "endpoint": f"/api/v1/airlock/requests/{view.id}/uploads",
        "max_bytes": intake.limit,
        "values": {"purpose": view.purpose, "description": view.description},
        "errors": {},
        **more,
    }


@router.get("/requests/{request_id}", action=Action.AIRLOCK_READ)
def request_page(
    request_id: Id, request: Request, actor: Who, desk: Desk, intake: Intake, shell: Shell
) -> Response:
    """Show a request; its author's draft as a form."""
    view = desk.read(actor, request_id)
    return shell.render(request, "requests/page.html", _context(view, intake))


@router.get("/requests/{request_id}/state", action=Action.AIRLOCK_READ)
def request_state(
    request_id: Id, request: Request, actor: Who, desk: Desk, intake: Intake, shell: Shell
) -> Response:
    """Return the moving part of the page; it asks for itself as long as something moves."""
    view = desk.read(actor, request_id)
    response = shell.render(request, "requests/_state.html", _context(view, intake))
    if view.status not in MOVING:
        response.headers["HX-Refresh"] = "true"  # the rest of the page has something new to show
    return response


@router.get("/requests/{request_id}/files", action=Action.AIRLOCK_READ)
def request_files(
    request_id: Id, request: Request, actor: Who, desk: Desk, intake: Intake, shell: Shell
) -> Response:
    """Return the list of the files that are there now, as the form will confirm them."""
    view = desk.read(actor, request_id)
    return shell.render(request, "requests/_files.html", _context(view, intake))


def _submission(form: Fields) -> dict[str, Any]:
    seen = [pair.partition(":") for pair in form.all("seen")]
    return {
        "purpose": form["purpose"],
        "description": form["description"],
        "files": [{"file_id": file_id, "sha256": sha256} for file_id, _, sha256 in seen],
    }


@router.post("/requests/{request_id}/submit", action=Action.AIRLOCK_SUBMIT)
def submit_request(
    request_id: Id,
    request: Request,
    actor: Who,
    form: PostedForm,
    desk: Desk,
    intake: Intake,
    shell: Shell,
) -> Response:
    """Submit what was confirmed."""
    desk.require(actor, Action.AIRLOCK_SUBMIT, request_id)
    checked = check(Submission, _submission(form))
    errors = dict(checked.errors)
    if form["looked"] != "yes":
        errors["looked"] = "Look at each file first: you answer for what is in it."
    if checked.body is not None and not errors:
        try:
            desk.submit(actor, request_id, checked.body)
            return shell.redirect(f"/airlock/requests/{request_id}", "Submitted. The checks begin now.")
        except DomainError as error:
            if error.status not in _FORM_ERRORS:
                raise
            errors = {"": error.detail}
    view = desk.read(actor, request_id)
    values = {"purpose": form["purpose"], "description": form["description"]}
    context = _context(view, intake, errors=errors, values=values)
    return shell.render(request, "requests/page.html", context, status=422)


@router.post("/requests/{request_id}/withdraw", action=Action.AIRLOCK_WITHDRAW)
def withdraw_request(request_id: Id, actor: Who, desk: Desk, shell: Shell) -> Response:
    """Take the request back."""
    desk.withdraw(actor, request_id)
    return shell.redirect(f"/airlock/requests/{request_id}", "Withdrawn. Its files are deleted.", kind="info")


@router.post("/requests/{request_id}/comments", action=Action.AIRLOCK_COMMENT)
def add_comment(
    request_id: Id,
    request: Request,
    actor: Who,
    form: PostedForm,
    desk: Desk,
    intake: Intake,
    shell: Shell,
) -> Response:
    """Say something."""
    checked = check(NewComment, {"text": form["text"]})
    if checked.body is None:
        desk.require(actor, Action.AIRLOCK_COMMENT, request_id)
        view = desk.read(actor, request_id)
        context = _context(view, intake, errors=checked.errors)
        return shell.render(request, "requests/page.html", context, status=422)
    desk.comment(actor, request_id, checked.body)
    return shell.redirect(f"/airlock/requests/{request_id}#comments", "Comment added.")


@router.post("/requests/{request_id}/files/{file_id}/remove", action=Action.AIRLOCK_UPLOAD)
def remove_file(request_id: Id, file_id: Id, actor: Who, desk: Desk, shell: Shell) -> Response:
    """Take a file out of the draft."""
    desk.remove_file(actor, request_id, file_id)
    return shell.redirect(f"/airlock/requests/{request_id}", "File removed.", kind="info")
