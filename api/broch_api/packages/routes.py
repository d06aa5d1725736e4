"""API of the lists: packages, lock files, outside addresses, what was fetched."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query

from broch_api.packages.entries import wanted_of
from broch_api.packages.filters import PackageFilter
from broch_api.packages.locks import LockDesk
from broch_api.packages.lookups import PackageLookups
from broch_api.packages.resources import ResourceDesk
from broch_api.packages.schemas import (
    Again,
    Approval,
    Budget,
    Counted,
    LockAsk,
    LockImport,
    LockTaken,
    LockView,
    LookupProgress,
    LookupView,
    OneApproval,
    OneRefusal,
    PackageAsk,
    PackageDetail,
    PackageView,
    Refusal,
    ResourceAsk,
    ResourceView,
    UseView,
)
from broch_api.packages.service import PackageDesk
from broch_api.packages.uses import PackageUses
from broch_api.projects.schemas import ProjectView
from broch_core.actions import Action
from broch_core.ids import Id
from broch_core.web.guard import Who
from broch_core.web.paging import PAGE, Before, Limit, Page
from broch_core.web.routing import Router, provided
from broch_workspaces.packages.spec import Ecosystem

router = Router("/api/v1/packages", tag="packages")
projects_router = Router("/api/v1/projects", tag="packages")
resources_router = Router("/api/v1/resources", tag="packages")
Desk = Annotated[PackageDesk, provided(PackageDesk)]
Locks = Annotated[LockDesk, provided(LockDesk)]
Lookups = Annotated[PackageLookups, provided(PackageLookups)]
Resources = Annotated[ResourceDesk, provided(ResourceDesk)]
Uses = Annotated[PackageUses, provided(PackageUses)]
OfProject = Annotated[Id | None, Query(description="For which project; left out: all projects.")]
Wanted = Annotated[PackageFilter, Depends()]


@router.get("", action=Action.PACKAGE_LIST)
def list_packages(
    actor: Who,
    desk: Desk,
    wanted: Wanted,
    before: Before = None,
    limit: Limit = PAGE,
) -> Page[PackageView]:
    """List what all projects may install and what yours may or asked for, newest first."""
    return desk.list(actor, wanted, before=before, limit=limit)


@router.post("", action=Action.PACKAGE_ASK, status_code=201)
def ask_for_package(body: PackageAsk, actor: Who, desk: Desk) -> PackageView:
    """Ask for one version of one package; what an admin asks for others is allowed at once."""
    return desk.ask(actor, body)


@router.get("/lookup", action=Action.PACKAGE_ASK)
def look_up_package(
    actor: Who,
    desk: Desk,
    ecosystem: Annotated[Ecosystem, Query(description="Where it is from.")],
    name: Annotated[str, Query(max_length=302, description="As its registry names it.")],
    version: Annotated[str, Query(max_length=100, description="Exactly one.")],
    channel: Annotated[str, Query(max_length=64, description="conda's.")] = "",
    project_id: OfProject = None,
) -> LookupView:
    """Say what its registry knows of one version, before anybody asks for it."""
    return desk.look_up(actor, project_id, wanted_of(ecosystem, name, version, channel))


@router.get("/progress", action=Action.PACKAGE_LIST)
def lookup_progress(actor: Who, desk: Desk, wanted: Wanted) -> LookupProgress:
    """Say about how many entries that stand the registry was asked."""
    return desk.progress(actor, wanted)


@router.post("/lookups", action=Action.PACKAGE_ASK)
def look_up_again(body: Again, actor: Who, lookups: Lookups) -> Counted:
    """Have entries looked up again for which that failed."""
    return Counted(count=lookups.again(actor, body.project_id))


@router.post("/lock-files/preview", action=Action.PACKAGE_ASK)
def preview_lock_file(body: LockAsk, actor: Who, locks: Locks) -> LockView:
    """Say what a lock file would bring; nothing is changed."""
    return locks.look(actor, body)


@router.post("/lock-files", action=Action.PACKAGE_ASK, status_code=202)
def take_lock_file(body: LockImport, actor: Who, locks: Locks) -> LockTaken:
    """Ask for everything in a lock file; the registry is asked about each entry in the background."""
    return locks.take(actor, body)


@router.post("/approvals", action=Action.PACKAGE_APPROVE)
def approve_packages(body: Approval, actor: Who, desk: Desk) -> list[PackageView]:
    """Allow entries, all of them or none."""
    return [*desk.approve(actor, body.ids, body.licence_reason)]


@router.post("/refusals", action=Action.PACKAGE_DECLINE)
def decline_packages(body: Refusal, actor: Who, desk: Desk) -> list[PackageView]:
    """End requests, all of them or none."""
    return [*desk.decline(actor, body.ids, body.reason)]


@router.get("/{package_id}", action=Action.PACKAGE_READ)
def read_package(package_id: Id, actor: Who, desk: Desk) -> PackageDetail:
    """Read an entry with its files."""
    return desk.detail(actor, package_id)


@router.post("/{package_id}/approve", action=Action.PACKAGE_APPROVE)
def approve_package(package_id: Id, body: OneApproval, actor: Who, desk: Desk) -> PackageView:
    """Allow an entry that somebody else asked for."""
    return desk.approve(actor, [package_id], body.licence_reason)[0]


@router.post("/{package_id}/decline", action=Action.PACKAGE_DECLINE)
def decline_package(package_id: Id, body: OneRefusal, actor: Who, desk: Desk) -> PackageView:
    """End a request; who asked may take theirs back."""
    return desk.decline(actor, [package_id], body.reason)[0]


@router.post("/{package_id}/remove", action=Action.PACKAGE_REMOVE)
def remove_package(package_id: Id, body: OneRefusal, actor: Who, desk: Desk) -> PackageView:
    """Take an entry off its list now; what was installed stays installed."""
    return desk.remove(actor, package_id, body.reason)


@router.post("/{package_id}/again", action=Action.PACKAGE_ASK, status_code=201)
def ask_again(package_id: Id, actor: Who, desk: Desk) -> PackageView:
    """Ask once more for what was declined or removed: a new entry with the same files."""
    return desk.again(actor, package_id)


@projects_router.get("/{project_id}/package-use", action=Action.PACKAGE_USE)
def project_use(project_id: Id, actor: Who, uses: Uses) -> UseView:
    """Say what zones of a project fetched and were refused lately."""
    return uses.of_project(actor, project_id)


@projects_router.put("/{project_id}/package-budget", action=Action.PACKAGE_BUDGET)
def limit_bytes(project_id: Id, body: Budget, actor: Who, resources: Resources) -> ProjectView:
    """Say how much the workspaces of a project may fetch together in a day."""
    return resources.limit_bytes(actor, project_id, body)


@projects_router.get("/{project_id}/resources", action=Action.RESOURCE_LIST)
def list_resources(
    project_id: Id, actor: Who, resources: Resources, before: Before = None, limit: Limit = PAGE
) -> Page[ResourceView]:
    """List the outside addresses of a project, newest first."""
    return resources.list(actor, project_id, before=before, limit=limit)


@projects_router.post("/{project_id}/resources", action=Action.RESOURCE_ASK, status_code=201)
def ask_for_resource(project_id: Id, body: ResourceAsk, actor: Who, resources: Resources) -> ResourceView:
    """Ask for an outside address; what an admin asks for others is allowed at once."""
    return resources.ask(actor, project_id, body)


@resources_router.post("/{resource_id}/approve", action=Action.RESOURCE_APPROVE)
def approve_resource(resource_id: Id, actor: Who, resources: Resources) -> ResourceView:
    """Allow an outside address that somebody else asked for."""
    return resources.approve(actor, resource_id)


@resources_router.post("/{resource_id}/decline", action=Action.RESOURCE_DECLINE)
def decline_resource(resource_id: Id, body: OneRefusal, actor: Who, resources: Resources) -> ResourceView:
    """End a request; who asked may take theirs back."""
    return resources.decline(actor, resource_id, body.reason)


@resources_router.post("/{resource_id}/remove", action=Action.RESOURCE_REMOVE)
def remove_resource(resource_id: Id, body: OneRefusal, actor: Who, resources: Resources) -> ResourceView:
    """Take an outside address away now."""
    return resources.remove(actor, resource_id, body.reason)


@resources_router.post("/{resource_id}/again", action=Action.RESOURCE_ASK, status_code=201)
def ask_for_resource_again(resource_id: Id, actor: Who, resources: Resources) -> ResourceView:
    """Ask once more for what was declined or removed."""
    return resources.again(actor, resource_id)
