"""API of grants and permissions to export."""

from __future__ import annotations

from typing import Annotated

from broch_api.datasets.exports import ExportDesk
from broch_api.datasets.grants import GrantDesk
from broch_api.datasets.schemas import (
    ExportCreate,
    ExportPermissionView,
    GrantCreate,
    GrantView,
    ProjectMember,
    ProjectRef,
)
from broch_core.actions import Action
from broch_core.ids import Id
from broch_core.web.guard import Who
from broch_core.web.routing import Router, provided

router = Router("/api/v1", tag="grants")
Grants = Annotated[GrantDesk, provided(GrantDesk)]
Exports = Annotated[ExportDesk, provided(ExportDesk)]


@router.get("/datasets/{dataset_id}/grants", action=Action.DATASET_READ)
def list_grants(dataset_id: Id, actor: Who, grants: Grants) -> list[GrantView]:
    """List grants of a dataset: all for its owner and admins, else those of your projects."""
    return list(grants.list(actor, dataset_id))


@router.post("/datasets/{dataset_id}/grants", action=Action.GRANT_CREATE, status_code=201)
def give_grant(dataset_id: Id, body: GrantCreate, actor: Who, grants: Grants) -> GrantView:
    """Let a project use a sealed version of your dataset."""
    return grants.give(actor, dataset_id, body)


@router.get("/datasets/{dataset_id}/grantable-projects", action=Action.GRANT_CREATE)
def list_grantable_projects(dataset_id: Id, actor: Who, grants: Grants) -> list[ProjectRef]:
    """List the projects that a grant of your dataset can go to; you need not be a member of them."""
    return list(grants.projects(actor, dataset_id))


@router.delete("/grants/{grant_id}", action=Action.GRANT_REVOKE)
def revoke_grant(grant_id: Id, actor: Who, grants: Grants) -> GrantView:
    """Take a grant back now; workspaces that have the data mounted stop."""
    return grants.revoke(actor, grant_id)


@router.get("/datasets/{dataset_id}/export-permissions", action=Action.DATASET_READ)
def list_export_permissions(dataset_id: Id, actor: Who, exports: Exports) -> list[ExportPermissionView]:
    """List who may submit results made from a dataset, as far as you may see it."""
    return list(exports.list(actor, dataset_id))


@router.post("/datasets/{dataset_id}/export-permissions", action=Action.EXPORT_GIVE, status_code=201)
def give_export_permission(
    dataset_id: Id, body: ExportCreate, actor: Who, exports: Exports
) -> ExportPermissionView:
    """Let a member of a project submit results made from your dataset."""
    return exports.give(actor, dataset_id, body)


@router.get("/datasets/{dataset_id}/export-candidates", action=Action.EXPORT_GIVE)
def list_export_candidates(dataset_id: Id, actor: Who, exports: Exports) -> list[ProjectMember]:
    """List the members of projects that have your dataset who may not submit results made from it yet."""
    return list(exports.candidates(actor, dataset_id))


@router.delete("/export-permissions/{permission_id}", action=Action.EXPORT_WITHDRAW)
def withdraw_export_permission(permission_id: Id, actor: Who, exports: Exports) -> ExportPermissionView:
    """Take a permission to export back now."""
    return exports.withdraw(actor, permission_id)
