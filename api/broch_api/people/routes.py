"""API of people."""

from __future__ import annotations

from typing import Annotated

from broch_api.people.schemas import PersonCreate, PersonView, SignedOut, SignOut
from broch_api.people.service import PeopleRegister
from broch_api.people.sign_out import SignOuts
from broch_core.actions import Action
from broch_core.web.guard import Who
from broch_core.web.paging import PAGE, Before, Limit, Page
from broch_core.web.routing import Router, provided

router = Router("/api/v1/people", tag="people")
People = Annotated[PeopleRegister, provided(PeopleRegister)]
Outs = Annotated[SignOuts, provided(SignOuts)]


@router.get("", action=Action.PERSON_LIST)
def list_people(actor: Who, people: People, before: Before = None, limit: Limit = PAGE) -> Page[PersonView]:
    """List people, newest first."""
    return people.list(actor, before=before, limit=limit)


@router.post("", action=Action.PERSON_CREATE, status_code=201)
def create_person(body: PersonCreate, actor: Who, people: People) -> PersonView:
    """Add a person."""
    return people.create(actor, body)


@router.post("/sign-out", action=Action.PERSON_SIGN_OUT)
def sign_out(body: SignOut, actor: Who, outs: Outs) -> SignedOut:
    """End all sessions of a person, and with them the workspaces that they entered."""
    return SignedOut(sessions=outs.everywhere(actor, body.handle))
