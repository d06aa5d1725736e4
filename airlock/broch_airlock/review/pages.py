"""Pages of the review: the queue, and one request with its files left and the viewer right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Query, Request, Response

from broch_airlock.release.schemas import TicketView
from broch_airlock.review.schemas import DecisionNew, ViewTicketNew
from broch_airlock.review.service import ReviewDesk
from broch_airlock.review.summary import RequestCounter
from broch_airlock.review.views import ReviewView
from broch_airlock.tables import Opinion
from broch_airlock.viewer.service import PAGES_MOST, ViewDesk
from broch_core.actions import Action
from broch_core.actors import Actor
from broch_core.errors import Conflict
from broch_core.ids import Id
from broch_core.web.forms import PostedForm, check
from broch_core.web.guard import Who
from broch_core.web.pages import Pages
from broch_core.web.paging import PAGE
from broch_core.web.routing import Kind, Router, provided

router = Router("/airlock", kind=Kind.PAGE)
Desk = Annotated[ReviewDesk, provided(ReviewDesk)]
Viewer = Annotated[ViewDesk, provided(ViewDesk)]
Counter = Annotated[RequestCounter, provided(RequestCounter)]
Shell = Annotated[Pages, provided(Pages)]

_PAGED = (".csv", ".tsv", ".txt", ".md", ".py", ".r", ".json", ".log", ".ipynb")
"""Kinds that the viewer shows in parts. Only offers a field; the viewer looks at the content."""


@router.get("/review", action=Action.AIRLOCK_QUEUE)
def queue_page(
    request: Request, actor: Who, desk: Desk, shell: Shell, after: Annotated[Id | None, Query()] = None
) -> Response:
    """Show what waits for review."""
    page = desk.queue(actor, after=after, limit=PAGE)
    more = f"/airlock/review?after={page.next}" if page.next else None
    return shell.render(
        request, "review/queue.html", {"entries": page.items, "more": more, "first": after is None}
    )


@router.get("/review/{request_id}", action=Action.AIRLOCK_FILE_VIEW)
def review_page(request: Request, request_id: Id, actor: Who, desk: Desk, shell: Shell) -> Response:
    """Show a request to its reviewer."""
    return shell.render(request, "review/request.html", _context(desk.read(actor, request_id)))


@router.post("/review/{request_id}/files/{file_id}/decide", action=Action.AIRLOCK_FILE_DECIDE)
def decide(
    request: Request,
    request_id: Id,
    file_id: Id,
    form: PostedForm,
    actor: Who,
    desk: Desk,
    shell: Shell,
) -> Response:
    """Record a decision."""
    data = {"opinion": form["decision"], **{name: form[name] for name in ("sha256", "turn", "comment")}}
    checked = check(DecisionNew, data)
    if checked.body is None:
        errors = {
            {"": "comment", "opinion": "decision"}.get(k, k): text for k, text in checked.errors.items()
        }
        kept = _Kept(file_id, form["decision"], form["comment"], errors)
        return _again(request, actor, request_id, desk, shell, kept=kept, status=422)
    try:
        after = desk.decide(actor, request_id, file_id, checked.body)
    except Conflict as error:
        kept = _Kept(file_id, form["decision"], form["comment"], {})
        problem = f"{error.detail} {error.remedy or ''}".strip()
        return _again(
            request, actor, request_id, desk, shell, kept=kept, problem=problem, status=error.status
        )
    name = next(file.name for file in after.files if file.id == file_id)
    return shell.redirect(f"/airlock/review/{request_id}", f"Your decision on {name} is recorded.")


@router.post("/review/{request_id}/files/{file_id}/view", action=Action.AIRLOCK_FILE_VIEW)
def view(
    request: Request,
    request_id: Id,
    file_id: Id,
    form: PostedForm,
    actor: Who,
    viewer: Viewer,
    desk: Desk,
    shell: Shell,
) -> Response:
    """Offer the viewer to browsers without scripts: the same page, with a ticket in the file's form."""
    checked = check(ViewTicketNew, {name: form[name] for name in ("sha256", "turn")})
    if checked.body is None:
        return _again(request, actor, request_id, desk, shell, problem="Press View again.", status=422)
    try:
        ticket = viewer.ticket(actor, request_id, file_id, checked.body)
    except Conflict as error:
        problem = f"{error.detail} {error.remedy or ''}".strip()
        return _again(request, actor, request_id, desk, shell, problem=problem, status=error.status)
    page = form["page"] if form["page"].isdigit() and len(form["page"]) <= len(str(PAGES_MOST)) else "1"
    context = _context(desk.read(actor, request_id), tickets={file_id: ticket}, part=page)
    return shell.render(request, "review/request.html", context)


@router.get("/fragment", action=Action.AIRLOCK_LIST)
def fragment(
    request: Request, actor: Who, counter: Counter, shell: Shell, project: Annotated[Id, Query()]
) -> Response:
    """Show where the requests of a project stand, in one line for the bar above a workspace."""
    return shell.render(
        request, "review/fragment.html", {"project_id": project, "counts": counter.of_project(actor, project)}
    )


class _Kept:
    """What somebody typed, so that a refused form does not lose it."""

    def __init__(self, file_id: str, decision: str, comment: str, errors: Mapping[str, str]) -> None:
        self.file_id = file_id
        self.decision = decision if decision in set(Opinion) else None
        self.comment = comment
        self.errors = errors


def _again(
    request: Request,
    actor: Actor,
    request_id: str,
    desk: ReviewDesk,
    shell: Pages,
    *,
    status: int,
    kept: _Kept | None = None,
    problem: str | None = None,
) -> Response:
    action = Action.AIRLOCK_FILE_DECIDE if kept else Action.AIRLOCK_FILE_VIEW
    context = _context(desk.read(actor, request_id, action), kept=kept, problem=problem)
    return shell.render(request, "review/request.html", context, status=status)


def _context(
    view: ReviewView,
    *,
    kept: _Kept | None = None,
    problem: str | None = None,
    tickets: Mapping[str, TicketView] | None = None,
    part: str = "1",
) -> dict[str, Any]:
    files = []
    for file in view.files:
        mine = kept if kept is not None and kept.file_id == file.id else None
        base = f"/airlock/review/{view.id}/files/{file.id}"
        files.append(
            {
                "id": file.id,
                "name": file.name,
                "size": file.size,
                "sha256": file.sha256,
                "turn": view.turn,
                "type": _kind(file.name),
                "verdict": file.verdict or "pending",
                "findings": [finding.model_dump() for check_ in file.checks for finding in check_.findings],
                "decision": (mine.decision if mine else None)
                or (file.decision.value if file.decision else None),
                "recorded": file.decision.value if file.decision else None,
                "comment": mine.comment if mine else file.comment,
                "decisions": file.decisions,
                "view_action": f"{base}/view",
                "view_api": f"/api/v1/airlock/requests/{view.id}/files/{file.id}/views",
                "paged": file.name.lower().endswith(_PAGED),
                "ticket": (tickets or {}).get(file.id),
                "part": part,
                "decide_action": f"{base}/decide",
                "may_decide": view.open,
                "may_view": view.status.value == "in_review",
                "why_not": view.why_not,
                "errors": mine.errors if mine else {},
            }
        )
    return {"view": view, "files": files, "problem": problem}


def _kind(name: str) -> str:
    """Return the ending of a name as a word; the check of content says what the file really is."""
    ending = name.rpartition(".")[2] if "." in name else ""
    return f"{ending.upper()[:8]} file" if ending.isalnum() else "File"
