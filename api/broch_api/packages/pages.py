"""Pages of the lists: what is allowed and asked for, and asking for more."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Depends, Query, Request, Response

from broch_api.packages.entries import adds, wanted_of
from broch_api.packages.filters import EVERYBODY, PageFilter
from broch_api.packages.locks import LockDesk
from broch_api.packages.registry import NO_ROUTE
from broch_api.packages.routes import Desk, Locks, Resources
from broch_api.packages.schemas import (
    LONGEST_LOCK,
    MOST_AT_ONCE,
    LockAsk,
    LockImport,
    PackageAsk,
)
from broch_api.packages.service import PackageDesk
from broch_api.projects.service import ProjectRegister
from broch_core.actions import Action
from broch_core.actors import Actor
from broch_core.errors import Conflict, DomainError, Invalid, TooMany, Unavailable
from broch_core.ids import Id
from broch_core.lifecycles import AllowanceEvent, AllowanceStatus
from broch_core.rules import Resource, decide, require
from broch_core.tables.packages import Lookup
from broch_core.web.forms import Fields, PostedFile, PostedForm, SentFile, check
from broch_core.web.guard import Who
from broch_core.web.pages import Pages
from broch_core.web.paging import PAGE, Before
from broch_core.web.routing import Kind, Router, provided
from broch_workspaces.packages.locks import KNOWN
from broch_workspaces.packages.spec import Ecosystem

router = Router("/packages", kind=Kind.PAGE)
Projects = Annotated[ProjectRegister, provided(ProjectRegister)]
Shell = Annotated[Pages, provided(Pages)]

TITLES: Mapping[Ecosystem, str] = {
    Ecosystem.PYPI: "PyPI (Python)",
    Ecosystem.CRAN: "CRAN (R)",
    Ecosystem.CONDA: "conda",
    Ecosystem.NPM: "npm (JavaScript)",
}
_ONE = ("project_id", "ecosystem", "name", "version", "channel", "why", "licence_reason")
_PREVIEW = 300
"""Entries of a lock file that the page shows; all of them count."""


@router.get("", action=Action.PACKAGE_LIST)
def packages_page(
    request: Request,
    actor: Who,
    desk: Desk,
    resources: Resources,
    projects: Projects,
    shell: Shell,
    chosen: Annotated[PageFilter, Depends()],
    before: Before = None,
) -> Response:
    """Show what is on the lists, and what waits for a decision."""
    wanted = chosen.wanted()
    page = desk.list(actor, wanted, before=before, limit=MOST_AT_ONCE if chosen.lock else PAGE)
    failed = (one.project.id for one in page.items if one.project and one.lookup is Lookup.FAILED)
    retried = wanted.project_id or next(failed, None)
    context = {
        **choices(actor, projects),
        "page": page,
        "before": before,
        "chosen": chosen,
        "filtered": chosen.any,
        "status_options": [(one.value, one.value.capitalize()) for one in AllowanceStatus],
        "progress": desk.progress(actor, wanted),
        "has_route": desk.has_route,
        "titles": TITLES,
        "may_add": decide(actor, Action.PACKAGE_ASK).allowed,
        "retried": retried or "",
        "may_retry": decide(actor, Action.PACKAGE_ASK, Resource("project", retried, retried)).allowed,
        "deciding": decidable(actor, page.items),
        "addresses": resources.waiting(actor) if not chosen.any else (),
    }
    return shell.render(request, "packages/list.html", context)


@router.get("/new", action=Action.PACKAGE_ASK)
def new_package_page(
    request: Request,
    actor: Who,
    desk: Desk,
    projects: Projects,
    shell: Shell,
    project_id: Annotated[Id | None, Query()] = None,
) -> Response:
    """Show the forms by which packages are asked for."""
    require(actor, Action.PACKAGE_ASK, Resource("project", project_id, project_id))
    values = {"project_id": project_id or ""}
    return shell.render(request, "packages/new.html", _new(actor, desk, projects, values))


@router.post("/lookup", action=Action.PACKAGE_ASK)
def look_up(
    request: Request, form: PostedForm, actor: Who, desk: Desk, projects: Projects, shell: Shell
) -> Response:
    """Show what the registry says of one version, to be confirmed."""
    given, project_id = {name: form[name] for name in _ONE}, _project(actor, form)
    checked = check(PackageAsk, given)
    errors = checked.errors
    if checked.body is not None:
        body = checked.body
        try:
            found = desk.look_up(
                actor, project_id, wanted_of(body.ecosystem, body.name, body.version, body.channel)
            )
        except (Conflict, Invalid, TooMany, Unavailable) as error:
            errors = checked.refused(error)
        else:
            context = _confirm(actor, project_id) | {"found": found, "values": given, "errors": {}}
            return shell.render(request, "packages/confirm.html", context)
    context = _new(actor, desk, projects, given) | {"errors": errors}
    return shell.render(request, "packages/new.html", context, status=422)


@router.post("", action=Action.PACKAGE_ASK)
def ask_for_package(
    request: Request, form: PostedForm, actor: Who, desk: Desk, projects: Projects, shell: Shell
) -> Response:
    """Ask for one version from the form."""
    given, _ = {name: form[name] for name in _ONE}, _project(actor, form)
    checked = check(PackageAsk, given)
    errors = checked.errors
    if checked.body is not None:
        try:
            made = desk.ask(actor, checked.body)
        except (Conflict, Invalid, TooMany, Unavailable) as error:
            errors = checked.refused(error)
        else:
            text = (
                f"{made.name} {made.version} may be installed from now on."
                if made.status is AllowanceStatus.ALLOWED
                else f"{made.name} {made.version} is asked for. A platform admin decides."
            )
            return shell.redirect(f"/packages/{made.id}", text)
    context = _new(actor, desk, projects, given) | {"errors": errors}
    return shell.render(request, "packages/new.html", context, status=422)


@router.post("/lock-file", action=Action.PACKAGE_ASK)
def look_at_lock_file(
    request: Request,
    form: PostedForm,
    sent: PostedFile,
    actor: Who,
    desk: Desk,
    locks: Locks,
    projects: Projects,
    shell: Shell,
) -> Response:
    """Show what a lock file would bring, to be confirmed."""
    project_id = _project(actor, form)
    values = {"project_id": project_id or "", "lock_filename": form["filename"]}
    try:
        body = _lock(form, sent, project_id)
    except Invalid as error:
        context = _new(actor, desk, projects, values) | {"lock_errors": _beside(error)}
        return shell.render(request, "packages/new.html", context, status=422)
    return shell.render(request, "packages/lock.html", _lock_context(actor, locks, body, desk))


@router.post("/lock-file/take", action=Action.PACKAGE_ASK)
def take_lock_file(
    request: Request,
    form: PostedForm,
    actor: Who,
    desk: Desk,
    locks: Locks,
    projects: Projects,
    shell: Shell,
) -> Response:
    """Ask for everything in the lock file that was looked at."""
    project_id = _project(actor, form)
    try:
        content = unpack(form["packed"])
    except Invalid as error:
        context = _new(actor, desk, projects, {"project_id": project_id or ""})
        context |= {"lock_errors": _beside(error)}
        return shell.render(request, "packages/new.html", context, status=422)
    given = {
        "project_id": project_id or "",
        "filename": form["filename"],
        "content": content,
        "why": form["why"],
        "licence_reason": form["licence_reason"],
    }
    checked = check(LockImport, given)
    errors = checked.errors
    if checked.body is not None:
        try:
            taken = locks.take(actor, checked.body)
        except (Conflict, Invalid) as error:
            errors = checked.refused(error)
        else:
            text = f"{taken.added} are asked for; {taken.known} were known before."
            return shell.redirect(f"/packages?lock={taken.sha256}", text)
    asked = check(LockAsk, {name: given[name] for name in ("project_id", "filename", "content")}).body
    if asked is None:
        context = _new(actor, desk, projects, given) | {"lock_errors": errors}
        return shell.render(request, "packages/new.html", context, status=422)
    context = _lock_context(actor, locks, asked, desk) | {"values": given, "errors": errors}
    return shell.render(request, "packages/lock.html", context, status=422)


@router.get("/{package_id}", action=Action.PACKAGE_READ)
def package_page(request: Request, package_id: Id, actor: Who, desk: Desk, shell: Shell) -> Response:
    """Show an entry with its files."""
    return shell.render(request, "packages/detail.html", detail_context(actor, desk, package_id))


def detail_context(actor: Actor, desk: PackageDesk, package_id: str) -> dict[str, Any]:
    """Return what the page of an entry shows to this actor."""
    entry = desk.detail(actor, package_id)
    project_id = entry.project.id if entry.project else None
    about = Resource("package", entry.id, project_id, author_id=entry.asked_by.id)
    may = {
        AllowanceEvent.APPROVE: decide(actor, Action.PACKAGE_APPROVE, about).allowed,
        AllowanceEvent.DECLINE: decide(actor, Action.PACKAGE_DECLINE, about).allowed,
        AllowanceEvent.REMOVE: decide(actor, Action.PACKAGE_REMOVE, about).allowed,
    }
    return {
        "entry": entry,
        "title": TITLES[entry.ecosystem],
        "events": [event.value for event in entry.possible if may[event]],
        "own_request": entry.asked_by.id == actor.person_id,
        "may_ask": decide(actor, Action.PACKAGE_ASK, about).allowed and not entry.possible,
        "has_route": desk.has_route,
        "values": {},
        "errors": {},
    }


def choices(actor: Actor, projects: ProjectRegister) -> dict[str, Any]:
    """Return what forms offer to choose from."""
    listed = projects.list(actor, before=None, limit=200).items
    return {
        "ecosystem_options": [(one.value, TITLES[one]) for one in Ecosystem],
        "project_options": [(EVERYBODY, "All projects"), *((one.id, one.name) for one in listed)],
    }


def decidable(actor: Actor, items: list[Any]) -> frozenset[str]:
    """Return the ids of entries on a page that the actor may allow now."""
    return frozenset(
        one.id
        for one in items
        if one.status is AllowanceStatus.PROPOSED
        and decide(
            actor,
            Action.PACKAGE_APPROVE,
            Resource("package", one.id, one.project.id if one.project else None, author_id=one.asked_by.id),
        ).allowed
    )


def _new(
    actor: Actor, desk: PackageDesk, projects: ProjectRegister, values: Mapping[str, str]
) -> dict[str, Any]:
    found = choices(actor, projects)
    mine = [
        (id_, name)
        for id_, name in found["project_options"]
        if id_ != EVERYBODY and decide(actor, Action.PACKAGE_ASK, Resource("project", id_, id_)).allowed
    ]
    everybody = [("", "All projects")] if decide(actor, Action.PACKAGE_ASK).allowed else []
    return {
        **found,
        "target_options": [*everybody, *mine],
        "has_route": desk.has_route,
        "no_route": NO_ROUTE,
        "known": KNOWN,
        "values": values,
        "errors": {},
        "lock_errors": {},
    }


def _confirm(actor: Actor, project_id: str | None) -> dict[str, Any]:
    return {"at_once": adds(actor, project_id), "titles": TITLES, "project_id": project_id or ""}


def _lock_context(actor: Actor, locks: LockDesk, body: LockAsk, desk: PackageDesk) -> dict[str, Any]:
    return {
        **_confirm(actor, body.project_id),
        "lock": locks.look(actor, body),
        "most": _PREVIEW,
        "filename": body.filename,
        "packed": pack(body.content),
        "has_route": desk.has_route,
        "values": {},
        "errors": {},
    }


def _project(actor: Actor, form: Fields) -> str | None:
    """Return the project that a form is about, if the actor may ask for packages there.

    Raises:
        NotFound: the actor may not know of it.
        Denied: the actor may not ask.
    """
    project_id = form["project_id"] or None
    require(actor, Action.PACKAGE_ASK, Resource("project", project_id, project_id))
    return project_id


def _lock(form: Fields, sent: SentFile | None, project_id: str | None) -> LockAsk:
    """Return the lock file of a form: sent, or pasted.

    Raises:
        Invalid: there is none, or it cannot be read.
    """
    if sent is None and not form["content"]:
        raise Invalid("Choose a lock file, or paste what is in it.", field="file")
    try:
        content = form["content"] if sent is None else sent.data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Invalid("The file is not text in UTF-8.", field="file") from error
    filename = (form["filename"] or "requirements.txt") if sent is None else sent.name
    if len(content) > LONGEST_LOCK:
        raise Invalid(f"The file has more than {LONGEST_LOCK:,} characters: split it.", field="file")
    checked = check(LockAsk, {"project_id": project_id or "", "filename": filename, "content": content})
    if checked.body is None:
        raise Invalid(next(iter(checked.errors.values())), field="file")
    return checked.body


def _beside(error: DomainError) -> dict[str, str]:
    return {str(error.facts.get("field", "")): error.detail}


def pack(content: str) -> str:
    """Return a text as a form carries it unchanged: browsers write line ends in their own way."""
    return base64.b64encode(zlib.compress(content.encode())).decode()


def unpack(packed: str) -> str:
    """Return the text that `pack` packed.

    Raises:
        Invalid: it is none, or larger than any lock file that is taken.
    """
    stale = Invalid("The page is out of date. Choose the lock file again.", field="file")
    reader = zlib.decompressobj()
    try:
        text = reader.decompress(base64.b64decode(packed, validate=True), 4 * LONGEST_LOCK).decode()
    except (ValueError, binascii.Error, zlib.error) as error:
        raise stale from error
    if not reader.eof:
        raise stale
    return text
