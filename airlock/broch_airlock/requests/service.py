"""The verbs of airlock requests up to their submission."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, func
from sqlmodel import Session, col, select

from broch_airlock.facts import KIND, audit_move, files_of, reach_request, subject_of
from broch_airlock.requests.schemas import (
    ConfirmedFile,
    NewComment,
    NewRequest,
    RequestSummary,
    RequestView,
    Submission,
)
from broch_airlock.requests.views import removable, request_view, summaries
from broch_airlock.shelves import Shelves, tidy_later
from broch_airlock.tables import (
    AirlockBytes,
    AirlockFile,
    AirlockRequest,
    Direction,
    ImportedName,
    RequestComment,
    Upload,
)
from broch_airlock.uploads.intake import next_turn
from broch_core.actions import Action
from broch_core.actors import Actor
from broch_core.clock import utc_now
from broch_core.errors import Conflict, NotFound, TooMany
from broch_core.ids import existing_id
from broch_core.lifecycles import AIRLOCK, AirlockEvent, AirlockStatus
from broch_core.rules import Resource, require
from broch_core.scope import EVERYTHING, ProjectScope, find_project, require_running
from broch_core.settings import Settings
from broch_core.store.unit import Change, Store
from broch_core.web.paging import PAGE, Page

COMMENTS_MOST = 500
"""Comments on one request; a loop stops here."""
_GIVES_NAME_BACK = frozenset({AirlockStatus.WITHDRAWN, AirlockStatus.REJECTED, AirlockStatus.QUARANTINED})
"""Final states of requests whose files were never placed: their names in `/imports` may be taken again."""


@dataclass(frozen=True)
class RequestFilter:
    """Which requests a list shows."""

    project_id: str | None = None
    direction: Direction | None = None
    status: AirlockStatus | None = None
    before: str | None = None
    limit: int = PAGE
    author_id: str | None = None


class RequestDesk:
    """Lists, shows, drafts, submits and withdraws requests."""

    def __init__(self, store: Store, shelves: Shelves, settings: Settings) -> None:
        self._store = store
        self._shelves = shelves
        self._settings = settings

    def list(self, actor: Actor, wanted: RequestFilter) -> Page[RequestSummary]:
        """Return the requests of the actor's projects, newest first."""
        require(actor, Action.AIRLOCK_LIST)
        scope = ProjectScope(frozenset(actor.memberships))
        query = select(AirlockRequest).where(col(AirlockRequest.project_id).in_(scope.project_ids or ()))
        if wanted.project_id is not None:
            query = query.where(AirlockRequest.project_id == wanted.project_id)
        if wanted.direction is not None:
            query = query.where(AirlockRequest.direction == wanted.direction)
        if wanted.status is not None:
            query = query.where(AirlockRequest.status == wanted.status)
        if wanted.author_id is not None:
            query = query.where(AirlockRequest.author_id == wanted.author_id)
        if wanted.before is not None:
            query = query.where(AirlockRequest.id < wanted.before)
        query = query.order_by(col(AirlockRequest.id).desc()).limit(wanted.limit + 1)
        with self._store.read() as session:
            rows = session.exec(query).all()
            shown = rows[: wanted.limit]
            more = shown[-1].id if len(rows) > wanted.limit else None
            return Page(items=summaries(session, actor, shown), next=more)

    def read(self, actor: Actor, request_id: str) -> RequestView:
        """Return one request.

        Raises:
            NotFound: it does not exist, or the actor may not know that it does.
        """
        with self._store.read() as session:
            request = reach_request(session, actor, Action.AIRLOCK_READ, request_id)
            return request_view(session, actor, request, self._settings)

    def require(self, actor: Actor, action: Action, request_id: str) -> None:
        """Raise unless the actor may do `action` to the request, whatever its state.

        Raises:
            NotFound: it does not exist, or the actor may not know that it does.
            Denied: the rule says no.
        """
        with self._store.read() as session:
            reach_request(session, actor, action, request_id)

    def create(self, actor: Actor, body: NewRequest) -> RequestView:
        """Begin a draft for files from outside."""
        return self._create(actor, body.project_id, Direction.INGRESS, body.purpose, body.description)

    def create_egress(
        self, actor: Actor, project_id: str, *, purpose: str = "", description: str = "", by: str
    ) -> RequestView:
        """Begin a draft for files from inside; only the door and the picker, which read the zone, call this.

        Args:
            actor: the person of the workspace.
            project_id: the project of the zone.
            purpose: one line, may still be empty.
            description: several lines.
            by: `door` or `picker`.
        """
        return self._create(actor, project_id, Direction.EGRESS, purpose, description, by=by)

    def _create(
        self,
        actor: Actor,
        project_id: str,
        direction: Direction,
        purpose: str,
        description: str,
        *,
        by: str = "person",
    ) -> RequestView:
        with self._store.write() as change:
            session = change.session
            require(actor, Action.AIRLOCK_CREATE, Resource(kind=KIND, project_id=project_id))
            project = find_project(session, EVERYTHING, existing_id(project_id), lock=True)
            require_running(project, utc_now())
            self._require_few_drafts(session, actor, project_id)
            request = AirlockRequest(
                project_id=project_id,
                direction=direction,
                author_id=actor.person_id,
                purpose=purpose,
                description=description,
            )
            session.add(request)
            session.flush()
            audit_move(
                change,
                actor.person_id,
                Action.AIRLOCK_CREATE,
                request,
                facts={"direction": direction.value, "by": by},
            )
            return request_view(session, actor, request, self._settings)

    def comment(self, actor: Actor, request_id: str, body: NewComment) -> RequestView:
        """Say something about a request.

        Raises:
            TooMany: it has as many comments as one may have.
        """
        with self._store.write() as change:
            session = change.session
            request = reach_request(session, actor, Action.AIRLOCK_COMMENT, request_id)
            there = session.exec(
                select(func.count())
                .select_from(RequestComment)
                .where(RequestComment.request_id == request.id)
            ).one()
            if there >= COMMENTS_MOST:
                raise TooMany(f"A request has at most {COMMENTS_MOST} comments.")
            comment = RequestComment(
                request_id=request.id, person_id=actor.person_id, text=body.text, turn=request.turn
            )
            session.add(comment)
            session.flush()
            change.audit(
                actor.person_id,
                Action.AIRLOCK_COMMENT,
                subject_of(request),
                facts={"comment": comment.id},
            )
            return request_view(session, actor, request, self._settings)

    def submit(self, actor: Actor, request_id: str, body: Submission) -> RequestView:
        """Submit what the person has seen and confirmed; checks begin at once.

        Raises:
            Conflict: no files, other files than those confirmed, a name that is taken, or the state has moved on.
        """
        with self._store.write() as change:
            session = change.session
            request = reach_request(session, actor, Action.AIRLOCK_SUBMIT, request_id, lock=True)
            require_running(find_project(session, EVERYTHING, request.project_id), utc_now())
            AIRLOCK.after(request.status, AirlockEvent.SUBMIT)
            files = files_of(session, request.id)
            _require_confirmed(files, body.files)
            if request.direction is Direction.INGRESS:
                _reserve(session, request, files)
            now = utc_now()
            change.advance(
                AIRLOCK,
                request,
                AirlockEvent.SUBMIT,
                purpose=body.purpose,
                description=body.description,
                submitted_at=now,
                turn=next_turn(request),
                check_deadline=now + self._settings.check_deadline,
                message=None,
            )
            audit_move(
                change,
                actor.person_id,
                Action.AIRLOCK_SUBMIT,
                request,
                facts={"files": [{"file": file.id, "sha256": file.sha256} for file in files]},
                personal={"purpose": request.purpose, "description": request.description},
            )
            change.later(
                "airlock.check",
                f"airlock.check:{request.id}:{request.turn}",
                {"request_id": request.id, "turn": request.turn},
            )
            return request_view(session, actor, request, self._settings)

    def withdraw(self, actor: Actor, request_id: str) -> RequestView:
        """Take a request back; its bytes go.

        Raises:
            Conflict: it is too late.
        """
        with self._store.write() as change:
            session = change.session
            request = reach_request(session, actor, Action.AIRLOCK_WITHDRAW, request_id, lock=True)
            change.advance(AIRLOCK, request, AirlockEvent.WITHDRAW, check_deadline=None, message=None)
            audit_move(change, actor.person_id, Action.AIRLOCK_WITHDRAW, request)
            change.later("airlock.discard", f"airlock.discard:{request.id}", {"request_id": request.id})
            return request_view(session, actor, request, self._settings)

    def remove_file(self, actor: Actor, request_id: str, file_id: str) -> RequestView:
        """Take a file that was never submitted out of a request.

        Raises:
            NotFound: the request has no such file.
            Conflict: its bytes have been submitted before, or the state has moved on.
        """
        with self._store.write() as change:
            session = change.session
            request = reach_request(session, actor, Action.AIRLOCK_UPLOAD, request_id, lock=True)
            file = session.get(AirlockFile, existing_id(file_id))
            if file is None or file.request_id != request.id:
                raise NotFound
            if not removable(session, request, file):
                raise Conflict(
                    "A file that has been submitted stays part of its request.",
                    remedy="Replace its bytes, or withdraw the request and make another one.",
                )
            _delete_file(change, file)
            tidy_later(change, request.project_id, file.sha256)
            change.audit(
                actor.person_id,
                Action.AIRLOCK_UPLOAD,
                subject_of(request),
                facts={"removed": file.id, "sha256": file.sha256},
                personal={"name": file.name},
            )
            session.flush()
            view = request_view(session, actor, request, self._settings)
        self._shelves.tidy_now(view.project_id, file.sha256)
        return view

    def _require_few_drafts(self, session: Session, actor: Actor, project_id: str) -> None:
        drafts = session.exec(
            select(func.count())
            .select_from(AirlockRequest)
            .where(
                AirlockRequest.project_id == project_id,
                AirlockRequest.author_id == actor.person_id,
                AirlockRequest.status == AirlockStatus.DRAFT,
            )
        ).one()
        if drafts >= self._settings.airlock_drafts:
            raise TooMany(
                f"You have {drafts} drafts in this project; {self._settings.airlock_drafts} is the most.",
                remedy="Submit or withdraw one of them first.",
            )


def _require_confirmed(files: Sequence[AirlockFile], confirmed: Sequence[ConfirmedFile]) -> None:
    """Raise unless the person saw exactly what is there now."""
    if not files:
        raise Conflict("The request has no files yet.", remedy="Add a file first.")
    seen = [(file.file_id, file.sha256) for file in confirmed]
    if len(set(seen)) != len(seen) or set(seen) != {(file.id, file.sha256) for file in files}:
        raise Conflict(
            "The files are not those that you confirmed: something changed meanwhile.",
            remedy="Load the request again, look at each file, and confirm.",
        )


def _reserve(session: Session, request: AirlockRequest, files: Sequence[AirlockFile]) -> None:
    """Take the files' names in `/imports`, from submission on."""
    taken = {
        row.name: row
        for row in session.exec(
            select(ImportedName).where(
                ImportedName.project_id == request.project_id,
                col(ImportedName.name).in_([file.name for file in files]),
            )
        )
    }
    for file in files:
        if file.name not in taken:
            session.add(ImportedName(project_id=request.project_id, name=file.name, file_id=file.id))
        elif taken[file.name].file_id != file.id:
            _take_over(session, taken[file.name], file)


def _take_over(session: Session, taken: ImportedName, file: AirlockFile) -> None:
    """Give a name to another file, if the one that has it gave it back."""
    holder = session.exec(
        select(AirlockRequest.status)
        .join(AirlockFile, col(AirlockFile.request_id) == AirlockRequest.id)
        .where(AirlockFile.id == taken.file_id)
    ).one()
    if taken.placed_at is not None or holder not in _GIVES_NAME_BACK:
        raise Conflict(
            f"The name '{file.name}' is taken in /imports of this project, by a file that is there or on its way.",
            remedy="Send the file under another name.",
            file_id=file.id,
        )
    taken.file_id = file.id
    session.add(taken)


def _delete_file(change: Change, file: AirlockFile) -> None:
    change.session.exec(delete(Upload).where(col(Upload.file_id) == file.id))
    change.session.exec(delete(AirlockBytes).where(col(AirlockBytes.file_id) == file.id))
    change.session.exec(delete(AirlockFile).where(col(AirlockFile.id) == file.id))
