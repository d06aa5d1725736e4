"""Forms of grants and permissions to export, on the page of a dataset."""

from __future__ import annotations

from typing import Annotated

from fastapi import Request, Response

from broch_api.datasets.catalogue import DatasetCatalogue
from broch_api.datasets.exports import ExportDesk
from broch_api.datasets.grants import GrantDesk
from broch_api.datasets.pages import dataset_context
from broch_api.datasets.schemas import ExportCreate, GrantCreate
from broch_core.actions import Action
from broch_core.errors import Conflict, Invalid, NotFound
from broch_core.ids import Id
from broch_core.rules import Resource, require
from broch_core.web.forms import PostedForm, check
from broch_core.web.guard import Who
from broch_core.web.pages import Pages
from broch_core.web.routing import Kind, Router, provided

router = Router("/datasets/{dataset_id}", kind=Kind.PAGE)
Catalogue = Annotated[DatasetCatalogue, provided(DatasetCatalogue)]
Grants = Annotated[GrantDesk, provided(GrantDesk)]
Exports = Annotated[ExportDesk, provided(ExportDesk)]
Shell = Annotated[Pages, provided(Pages)]

_FIELDS = ("project_id", "version_id", "kind", "until")


@router.post("/grants", action=Action.GRANT_CREATE)
def give_grant(
    request: Request,
    dataset_id: Id,
    form: PostedForm,
    actor: Who,
    catalogue: Catalogue,
    grants: Grants,
    exports: Exports,
    shell: Shell,
) -> Response:
    """Grant a version to a project."""
    dataset = catalogue.detail(actor, dataset_id)
    require(actor, Action.GRANT_CREATE, Resource("dataset", dataset_id, owner_id=dataset.owner.id))
    given = {name: form[name] for name in _FIELDS}
    checked = check(GrantCreate, given)
    errors = checked.errors
    if checked.body is not None:
        try:
            grant = grants.give(actor, dataset_id, checked.body)
        except (Conflict, Invalid) as error:
            errors = checked.refused(error)
        else:
            text = f"{grant.project.name} may use version {grant.version_number} until {grant.until}."
            return shell.redirect(f"/datasets/{dataset_id}", text)
    context = dataset_context(actor, dataset, grants, exports) | {"values": given, "errors": errors}
    return shell.render(request, "datasets/detail.html", context, status=422)


@router.post("/grants/{grant_id}/revoke", action=Action.GRANT_REVOKE)
def revoke_grant(dataset_id: Id, grant_id: Id, actor: Who, grants: Grants, shell: Shell) -> Response:
    """Take a grant back."""
    here = f"/datasets/{dataset_id}"
    try:
        grant = grants.revoke(actor, grant_id, dataset_id=dataset_id)
    except Conflict as error:
        return shell.redirect(here, error.detail, kind="warn")
    fields = {
        "project_id": grant.project.id,
        "version_id": grant.version_id,
        "kind": grant.kind.value,
        "until": str(grant.until),
    }
    return shell.redirect(
        here,
        f"{grant.project.name} may no longer use version {grant.version_number}.",
        undo={"action": f"{here}/grants", "label": "Grant it again", "fields": fields},
    )


@router.post("/export-permissions", action=Action.EXPORT_GIVE)
def give_export_permission(
    request: Request,
    dataset_id: Id,
    form: PostedForm,
    actor: Who,
    catalogue: Catalogue,
    grants: Grants,
    exports: Exports,
    shell: Shell,
) -> Response:
    """Let a member submit results."""
    dataset = catalogue.detail(actor, dataset_id)
    require(actor, Action.EXPORT_GIVE, Resource("dataset", dataset_id, owner_id=dataset.owner.id))
    project_id, _, person_id = form["member"].partition(":")
    errors = {"member": "Choose a member."}
    try:
        checked = check(ExportCreate, {"project_id": project_id, "person_id": person_id})
        if checked.body is not None:
            one = exports.give(actor, dataset_id, checked.body)
            return shell.redirect(
                f"/datasets/{dataset_id}",
                f"{one.person.display_name} may submit results from {one.project.name}.",
            )
    except Conflict as error:
        errors = {"member": error.detail}
    except NotFound:
        pass  # an id that nobody has: the form says to choose a member
    context = dataset_context(actor, dataset, grants, exports) | {"export_errors": errors}
    return shell.render(request, "datasets/detail.html", context, status=422)


@router.post("/export-permissions/{permission_id}/withdraw", action=Action.EXPORT_WITHDRAW)
def withdraw_export_permission(
    dataset_id: Id, permission_id: Id, actor: Who, exports: Exports, shell: Shell
) -> Response:
    """Take a permission back."""
    here = f"/datasets/{dataset_id}"
    try:
        one = exports.withdraw(actor, permission_id, dataset_id=dataset_id)
    except Conflict as error:
        return shell.redirect(here, error.detail, kind="warn")
    return shell.redirect(
        here,
        f"{one.person.display_name} may no longer submit results from {one.project.name}.",
        undo={
            "action": f"{here}/export-permissions",
            "label": "Give it again",
            "fields": {"member": f"{one.project.id}:{one.person.id}"},
        },
    )
