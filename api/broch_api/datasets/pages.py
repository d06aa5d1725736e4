"""Pages of datasets and versions."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Request, Response

from broch_api.datasets.catalogue import DatasetCatalogue
from broch_api.datasets.exports import ExportDesk
from broch_api.datasets.grants import GrantDesk
from broch_api.datasets.routes import After
from broch_api.datasets.schemas import DatasetCreate, DatasetDetail, VersionView
from broch_api.datasets.verify import VersionVerifier
from broch_api.datasets.versions import VersionVault
from broch_core.actions import Action
from broch_core.actors import Actor
from broch_core.errors import Conflict, Invalid, NotFound
from broch_core.ids import Id
from broch_core.lifecycles import VersionStatus
from broch_core.rules import Resource, decide, require
from broch_core.settings import Settings
from broch_core.tables.datasets import GrantKind
from broch_core.web.forms import PostedForm, check
from broch_core.web.guard import Who
from broch_core.web.pages import Pages
from broch_core.web.paging import PAGE, Before
from broch_core.web.routing import Kind, Router, provided

router = Router("/datasets", kind=Kind.PAGE)
Catalogue = Annotated[DatasetCatalogue, provided(DatasetCatalogue)]
Vault = Annotated[VersionVault, provided(VersionVault)]
Verifier = Annotated[VersionVerifier, provided(VersionVerifier)]
Grants = Annotated[GrantDesk, provided(GrantDesk)]
Exports = Annotated[ExportDesk, provided(ExportDesk)]
Shell = Annotated[Pages, provided(Pages)]

_FIELDS = ("slug", "title", "description", "licence", "owner")
_MOST_FILES = 200


@router.get("", action=Action.DATASET_LIST)
def datasets_page(
    request: Request, actor: Who, catalogue: Catalogue, shell: Shell, before: Before = None
) -> Response:
    """Show the catalogue."""
    context = {
        "page": catalogue.list(actor, before=before, limit=PAGE),
        "before": before,
        "may_create": decide(actor, Action.DATASET_CREATE).allowed,
    }
    return shell.render(request, "datasets/list.html", context)


@router.get("/new", action=Action.DATASET_CREATE)
def new_dataset_page(request: Request, actor: Who, catalogue: Catalogue, shell: Shell) -> Response:
    """Show the form of a new dataset."""
    context = {"values": {}, "errors": {}, "owners": catalogue.asset_owners(actor)}
    return shell.render(request, "datasets/new.html", context)


@router.post("", action=Action.DATASET_CREATE)
def create_dataset(
    request: Request, form: PostedForm, actor: Who, catalogue: Catalogue, shell: Shell
) -> Response:
    """Register a dataset from the form."""
    require(actor, Action.DATASET_CREATE)
    given = {name: form[name] for name in _FIELDS}
    checked = check(DatasetCreate, given)
    errors = checked.errors
    if checked.body is not None:
        try:
            dataset = catalogue.create(actor, checked.body)
        except (Conflict, Invalid) as error:
            errors = checked.refused(error)
        else:
            return shell.redirect(
                f"/datasets/{dataset.id}", "The dataset is registered. Open its first version."
            )
    context = {"values": given, "errors": errors, "owners": catalogue.asset_owners(actor)}
    return shell.render(request, "datasets/new.html", context, status=422)


@router.get("/{dataset_id}", action=Action.DATASET_READ)
def dataset_page(
    request: Request,
    dataset_id: Id,
    actor: Who,
    catalogue: Catalogue,
    grants: Grants,
    exports: Exports,
    shell: Shell,
) -> Response:
    """Show a dataset with versions, grants and permissions."""
    dataset = catalogue.detail(actor, dataset_id)
    return shell.render(request, "datasets/detail.html", dataset_context(actor, dataset, grants, exports))


def dataset_context(
    actor: Actor, dataset: DatasetDetail, grants: GrantDesk, exports: ExportDesk
) -> dict[str, Any]:
    """Return what the page of a dataset shows to this actor."""
    about = Resource("dataset", dataset.id, owner_id=dataset.owner.id)
    owns = decide(actor, Action.GRANT_CREATE, about).allowed
    return {
        "dataset": dataset,
        "owns": owns,
        "may_revoke": decide(actor, Action.GRANT_REVOKE, about).allowed,
        "may_open": decide(actor, Action.VERSION_CREATE, about).allowed
        and all(version.status is not VersionStatus.OPEN for version in dataset.versions),
        "grants": grants.list(actor, dataset.id),
        "permissions": exports.list(actor, dataset.id),
        "projects": grants.projects(actor, dataset.id) if owns else (),
        "members": exports.candidates(actor, dataset.id) if owns else (),
        "sealed": [version for version in dataset.versions if version.status is VersionStatus.SEALED],
        "kinds": [
            {
                "value": GrantKind.MOUNT.value,
                "label": "Mounted",
                "hint": "Readable in workspaces.",
                "key": None,
            },
            {
                "value": GrantKind.VALIDATION_ONLY.value,
                "label": "Validation only",
                "hint": "Never mounted: nobody in the project can read it.",
                "key": None,
            },
        ],
        "values": {},
        "errors": {},
        "export_errors": {},
    }


@router.post("/{dataset_id}/versions", action=Action.VERSION_CREATE)
def open_version(dataset_id: Id, actor: Who, catalogue: Catalogue, shell: Shell) -> Response:
    """Open the next version."""
    try:
        version = catalogue.create_version(actor, dataset_id)
    except Conflict as error:
        return shell.redirect(f"/datasets/{dataset_id}", error.detail, kind="warn")
    return shell.redirect(
        _path(version), f"Version {version.number} is open. Upload its files, then seal it."
    )


@router.get("/{dataset_id}/versions/{version_id}", action=Action.DATASET_READ)
def version_page(
    request: Request,
    dataset_id: Id,
    version_id: Id,
    actor: Who,
    catalogue: Catalogue,
    shell: Shell,
    after: After = None,
) -> Response:
    """Show a version with its files."""
    dataset = catalogue.detail(actor, dataset_id)
    version = next((one for one in dataset.versions if one.id == version_id), None)
    if version is None:
        raise NotFound
    about = Resource("version", version_id)
    settings: Settings = request.app.state.services[Settings]
    context = {
        "dataset": dataset,
        "one": version,
        "files": catalogue.files(actor, version_id, after=after, limit=_MOST_FILES),
        "after": after,
        "may_upload": version.status is VersionStatus.OPEN
        and decide(actor, Action.VERSION_UPLOAD, about).allowed,
        "may_seal": decide(actor, Action.VERSION_SEAL, about).allowed,
        "largest": settings.dataset_file_bytes,
    }
    return shell.render(request, "datasets/version.html", context)


@router.post("/{dataset_id}/versions/{version_id}/seal", action=Action.VERSION_SEAL)
def seal_version(
    dataset_id: Id, version_id: Id, actor: Who, catalogue: Catalogue, vault: Vault, shell: Shell
) -> Response:
    """Seal a version."""
    here = _here(actor, catalogue, dataset_id, version_id)
    try:
        version = vault.seal(actor, version_id)
    except Conflict as error:
        return shell.redirect(here, f"{error.detail} {error.remedy or ''}".strip(), kind="warn")
    return shell.redirect(
        _path(version), f"Version {version.number} is sealed: its bytes never change again."
    )


@router.post("/{dataset_id}/versions/{version_id}/verify", action=Action.VERSION_SEAL)
def verify_version(
    dataset_id: Id, version_id: Id, actor: Who, catalogue: Catalogue, verifier: Verifier, shell: Shell
) -> Response:
    """Read every byte of a version again."""
    here = _here(actor, catalogue, dataset_id, version_id)
    try:
        result = verifier.verify(actor, version_id)
    except Conflict as error:
        return shell.redirect(here, error.detail, kind="warn")
    if result.problem is not None:
        return shell.redirect(here, f"{result.problem} The version is suspended.", kind="bad")
    return shell.redirect(here, f"All {result.files:,} files have the bytes that were sealed.")


@router.post("/{dataset_id}/versions/{version_id}/remove", action=Action.VERSION_UPLOAD)
def remove_file(
    dataset_id: Id,
    version_id: Id,
    form: PostedForm,
    actor: Who,
    catalogue: Catalogue,
    vault: Vault,
    shell: Shell,
) -> Response:
    """Take a file out of an open version."""
    here = _here(actor, catalogue, dataset_id, version_id)
    try:
        vault.remove_file(actor, version_id, form["path"])
    except Conflict as error:
        return shell.redirect(here, error.detail, kind="warn")
    return shell.redirect(here, f"'{form['path']}' is no longer in the version.")


def _here(actor: Actor, catalogue: DatasetCatalogue, dataset_id: str, version_id: str) -> str:
    """Return the address of a version's page.

    Raises:
        NotFound: the dataset has no such version.
    """
    version = catalogue.version(actor, version_id)
    if version.dataset_id != dataset_id:
        raise NotFound
    return _path(version)


def _path(version: VersionView) -> str:
    return f"/datasets/{version.dataset_id}/versions/{version.id}"
