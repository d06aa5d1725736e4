"""Pages of people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Request, Response

from broch_api.people.schemas import PersonCreate
from broch_api.people.service import PeopleRegister
from broch_api.people.sign_out import SignOuts
from broch_core.actions import Action
from broch_core.actors import Actor, PlatformRole
from broch_core.errors import Conflict
from broch_core.web.forms import PostedForm, check
from broch_core.web.guard import Who
from broch_core.web.pages import Pages
from broch_core.web.paging import PAGE, Before
from broch_core.web.routing import Kind, Router, provided

router = Router("/people", kind=Kind.PAGE)
People = Annotated[PeopleRegister, provided(PeopleRegister)]
Outs = Annotated[SignOuts, provided(SignOuts)]
Shell = Annotated[Pages, provided(Pages)]

ROLE_WORDS: Mapping[PlatformRole, tuple[str, str]] = {
    PlatformRole.ADMIN: ("Administrator", "Runs the platform: people, projects, freezing, the audit log."),
    PlatformRole.STEWARD: ("Data steward", "Registers datasets and seals their versions."),
    PlatformRole.REVIEWER: ("Airlock reviewer", "Decides on what comes in and goes out."),
    PlatformRole.ASSET_OWNER: (
        "Information asset owner",
        "Answers for datasets and who may export from them.",
    ),
}
"""What people call a role, and what it may do."""


@router.get("", action=Action.PERSON_LIST)
def people_page(
    request: Request, actor: Who, people: People, shell: Shell, before: Before = None
) -> Response:
    """Show who is here."""
    return shell.render(request, "people/list.html", _context(actor, people, before))


@router.post("", action=Action.PERSON_CREATE)
def create_person(request: Request, form: PostedForm, actor: Who, people: People, shell: Shell) -> Response:
    """Add a person from the form of the page."""
    given = {name: form[name] for name in ("handle", "display_name", "about")}
    checked = check(PersonCreate, given | {"roles": form.all("roles")})
    errors = checked.errors
    if checked.body is not None:
        try:
            person = people.create(actor, checked.body)
        except Conflict as error:
            errors = checked.refused(error)
        else:
            return shell.redirect("/people", f"{person.display_name} can sign in as {person.handle} now.")
    context = _context(actor, people, None) | {"values": given, "chosen": form.all("roles"), "errors": errors}
    return shell.render(request, "people/list.html", context, status=422)


@router.post("/sign-out", action=Action.PERSON_SIGN_OUT)
def sign_out(form: PostedForm, actor: Who, outs: Outs, shell: Shell) -> Response:
    """End all sessions of a person."""
    handle = form["handle"]
    ended = outs.everywhere(actor, handle)
    sessions = {0: "No session", 1: "One session"}.get(ended, f"{ended} sessions")
    return shell.redirect("/people", f"{sessions} of {handle} {'were' if ended > 1 else 'was'} ended.")


def _context(actor: Actor, people: PeopleRegister, before: str | None) -> dict[str, Any]:
    return {
        "page": people.list(actor, before=before, limit=PAGE),
        "roles": ROLE_WORDS,
        "values": {},
        "chosen": [],
        "errors": {},
        "before": before,
    }
