"""A project's page of packages and outside addresses: what may be installed, how, and asking for more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request, Response

from broch_api.packages.filters import PackageFilter
from broch_api.packages.pages import TITLES, Projects, Shell
from broch_api.packages.resources import ResourceDesk
from broch_api.packages.routes import Desk, Resources, Uses
from broch_api.packages.schemas import Budget, ResourceAsk, ResourceView
from broch_core.actions import Action
from broch_core.actors import Actor
from broch_core.errors import Conflict, Invalid
from broch_core.ids import Id
from broch_core.lifecycles import ALLOWANCE, AllowanceEvent, AllowanceStatus
from broch_core.rules import Resource, decide, require
from broch_core.web.forms import PostedForm, check
from broch_core.web.guard import Who
from broch_core.web.routing import Kind, Router
from broch_workspaces.packages.spec import Ecosystem

router = Router("/projects/{project_id}", kind=Kind.PAGE)

HOW: Mapping[Ecosystem, str] = {
    Ecosystem.PYPI: "pip install {name}=={version}",
    Ecosystem.CRAN: 'install.packages("{name}")',
    Ecosystem.CONDA: "conda install {name}={version}",
    Ecosystem.NPM: "npm install {name}@{version}",
}
"""What people type in a workspace, by ecosystem."""
_SHOWN = 200
_FIELDS = ("slug", "url", "sha256", "largest", "why")


@dataclass(frozen=True)
class Shelf:
    """The services that the page reads from."""

    projects: Projects
    desk: Desk
    resources: Resources
    uses: Uses


ProjectShelf = Annotated[Shelf, Depends()]


@router.get("/packages", action=Action.PACKAGE_USE)
def project_packages_page(
    request: Request,
    project_id: Id,
    actor: Who,
    shelf: ProjectShelf,
    shell: Shell,
) -> Response:
    """Show what zones of a project may fetch, and what they did."""
    context = _context(actor, project_id, shelf)
    return shell.render(request, "packages/project.html", context)


@router.post("/resources", action=Action.RESOURCE_ASK)
def ask_for_resource(
    request: Request,
    project_id: Id,
    form: PostedForm,
    actor: Who,
    shelf: ProjectShelf,
    shell: Shell,
) -> Response:
    """Ask for an outside address."""
    require(actor, Action.RESOURCE_ASK, Resource("project", project_id, project_id))
    given = {name: form[name] for name in _FIELDS}
    checked = check(ResourceAsk, given)
    errors = checked.errors
    if checked.body is not None:
        try:
            made = shelf.resources.ask(actor, project_id, checked.body)
        except (Conflict, Invalid) as error:
            errors = checked.refused(error)
        else:
            text = (
                f"'{made.slug}' may be read from now on."
                if made.status is AllowanceStatus.ALLOWED
                else f"'{made.slug}' is asked for. A platform admin decides."
            )
            return shell.redirect(_here(project_id), text)
    context = _context(actor, project_id, shelf)
    context |= {"values": given, "errors": errors}
    return shell.render(request, "packages/project.html", context, status=422)


@router.post("/package-budget", action=Action.PACKAGE_BUDGET)
def limit_bytes(project_id: Id, form: PostedForm, actor: Who, resources: Resources, shell: Shell) -> Response:
    """Say how much the workspaces of a project may fetch in a day."""
    require(actor, Action.PACKAGE_BUDGET, Resource("project", project_id, project_id))
    gibibytes = form["gibibytes"].strip()
    value = int(gibibytes) << 30 if gibibytes.isascii() and gibibytes.isdigit() else None
    if (gibibytes and value is None) or (value is not None and not 0 < value <= 1 << 50):
        return shell.redirect(_here(project_id), "Give a whole number of GiB, 1 or more.", kind="warn")
    resources.limit_bytes(actor, project_id, Budget(bytes_a_day=value))
    return shell.redirect(_here(project_id), "The limit holds from now on.")


def _deciding(
    event: str, action: Action, done: str, act: Callable[[ResourceDesk, Actor, str, str, str], ResourceView]
) -> None:
    def decide_about(
        project_id: Id, resource_id: Id, form: PostedForm, actor: Who, resources: Resources, shell: Shell
    ) -> Response:
        here = _here(project_id)
        reason = form["reason"].strip()[:1000] or "Not said."
        try:
            view = act(resources, actor, project_id, resource_id, reason)
        except Conflict as error:
            return shell.redirect(here, f"{error.detail} {error.remedy or ''}".strip(), kind="warn")
        undo = None
        if not ALLOWANCE.events(view.status):
            undo = {
                "action": f"/projects/{project_id}/resources/{view.id}/again",
                "label": "Ask again",
                "fields": {},
            }
        return shell.redirect(here, f"'{view.slug}' {done}", undo=undo)

    decide_about.__doc__ = f"Move an outside address by '{event}'."
    router.post(f"/resources/{{resource_id}}/{event}", action=action)(decide_about)


_deciding(
    "approve",
    Action.RESOURCE_APPROVE,
    "may be read from now on.",
    lambda desk, actor, project_id, id_, _: desk.approve(actor, id_, project_id=project_id),
)
_deciding(
    "decline",
    Action.RESOURCE_DECLINE,
    "is declined.",
    lambda desk, actor, project_id, id_, reason: desk.decline(actor, id_, reason, project_id=project_id),
)
_deciding(
    "remove",
    Action.RESOURCE_REMOVE,
    "can no longer be read.",
    lambda desk, actor, project_id, id_, reason: desk.remove(actor, id_, reason, project_id=project_id),
)
_deciding(
    "again",
    Action.RESOURCE_ASK,
    "is asked for again.",
    lambda desk, actor, project_id, id_, _: desk.again(actor, id_, project_id=project_id),
)


def _context(actor: Actor, project_id: str, shelf: Shelf) -> dict[str, Any]:
    use = shelf.uses.of_project(actor, project_id)
    project = shelf.projects.detail(actor, project_id)
    own = shelf.desk.list(actor, PackageFilter(project_id=project_id), before=None, limit=_SHOWN)
    common = shelf.desk.list(
        actor, PackageFilter(status=AllowanceStatus.ALLOWED, common=True), before=None, limit=_SHOWN
    )
    about = Resource("project", project_id, project_id)
    return {
        "project": project,
        "own": own.items,
        "common": common.items,
        "more": own.next is not None or common.next is not None,
        "addresses": [
            {"entry": one, "events": _events(actor, one)}
            for one in shelf.resources.list(actor, project_id, before=None, limit=_SHOWN).items
        ],
        "use": use,
        "titles": TITLES,
        "how": HOW,
        "has_route": shelf.desk.has_route,
        "may_ask": decide(actor, Action.PACKAGE_ASK, about).allowed,
        "may_limit": shelf.resources.may_limit(actor, project_id),
        "values": {},
        "errors": {},
    }


def _events(actor: Actor, one: ResourceView) -> list[str]:
    about = Resource("resource", one.id, one.project.id, author_id=one.asked_by.id)
    rules = {
        AllowanceEvent.APPROVE: Action.RESOURCE_APPROVE,
        AllowanceEvent.DECLINE: Action.RESOURCE_DECLINE,
        AllowanceEvent.REMOVE: Action.RESOURCE_REMOVE,
    }
    return [
        event.value
        for event in AllowanceEvent
        if event in ALLOWANCE.events(one.status) and decide(actor, rules[event], about).allowed
    ]


def _here(project_id: str) -> str:
    return f"/projects/{project_id}/packages"
