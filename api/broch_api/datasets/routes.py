"""API of datasets and their versions."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header, Query, Request, Response

from broch_api.datasets.catalogue import DatasetCatalogue
from broch_api.datasets.schemas import (
    DatasetCreate,
    DatasetDetail,
    DatasetView,
    FilePage,
    FileView,
    VerifyView,
    VersionView,
)
from broch_api.datasets.verify import VersionVerifier
from broch_api.datasets.versions import VersionVault
from broch_core.actions import Action
from broch_core.errors import Invalid
from broch_core.ids import Id
from broch_core.web.guard import Who
from broch_core.web.paging import PAGE, Before, Limit, Page
from broch_core.web.routing import Router, provided
from broch_core.web.texts import Slug

router = Router("/api/v1/datasets", tag="datasets")
versions_router = Router("/api/v1/dataset-versions", tag="datasets")
Catalogue = Annotated[DatasetCatalogue, provided(DatasetCatalogue)]
Vault = Annotated[VersionVault, provided(VersionVault)]
Verifier = Annotated[VersionVerifier, provided(VersionVerifier)]
WithSlug = Annotated[Slug | None, Query(description="Only the one with this slug.")]
After = Annotated[str | None, Query(max_length=500, description="Show paths after this one (from `next`).")]
_BYTES = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.get("", action=Action.DATASET_LIST)
def list_datasets(
    actor: Who, catalogue: Catalogue, before: Before = None, limit: Limit = PAGE, slug: WithSlug = None
) -> Page[DatasetView]:
    """List the catalogue, newest first."""
    return catalogue.list(actor, before=before, limit=limit, slug=slug)


@router.post("", action=Action.DATASET_CREATE, status_code=201)
def create_dataset(body: DatasetCreate, actor: Who, catalogue: Catalogue) -> DatasetView:
    """Register a dataset."""
    return catalogue.create(actor, body)


@router.get("/{dataset_id}", action=Action.DATASET_READ)
def read_dataset(dataset_id: Id, actor: Who, catalogue: Catalogue) -> DatasetDetail:
    """Read a dataset with its versions."""
    return catalogue.detail(actor, dataset_id)


@router.post("/{dataset_id}/versions", action=Action.VERSION_CREATE, status_code=201)
def create_version(dataset_id: Id, actor: Who, catalogue: Catalogue) -> VersionView:
    """Open the next version of a dataset."""
    return catalogue.create_version(actor, dataset_id)


@versions_router.get("/{version_id}", action=Action.DATASET_READ)
def read_version(version_id: Id, actor: Who, catalogue: Catalogue) -> VersionView:
    """Read a version."""
    return catalogue.version(actor, version_id)


@versions_router.get("/{version_id}/files", action=Action.DATASET_READ)
def list_files(
    version_id: Id, actor: Who, catalogue: Catalogue, after: After = None, limit: Limit = PAGE
) -> FilePage:
    """List the files of a version in the order of their paths."""
    return catalogue.files(actor, version_id, after=after, limit=limit)


@versions_router.get("/{version_id}/manifest", action=Action.DATASET_READ, response_class=Response)
def read_manifest(version_id: Id, actor: Who, catalogue: Catalogue) -> Response:
    """Get the manifest of a sealed version: canonical JSON whose SHA-256 is `manifest_sha256`."""
    return Response(catalogue.manifest(actor, version_id), media_type="application/json")


@versions_router.put(
    "/{version_id}/files/{path:path}", action=Action.VERSION_UPLOAD, status_code=201, openapi_extra=_BYTES
)
async def upload_file(
    request: Request,
    version_id: Id,
    path: str,
    actor: Who,
    vault: Vault,
    content_type: Annotated[str, Header(examples=["application/octet-stream"])] = "",
    content_length: Annotated[int, Header(ge=0, description="Bytes that follow.")] = -1,
) -> FileView:
    """Put one file into an open version: the body is its bytes."""
    if content_type != "application/octet-stream" or content_length < 0:
        raise Invalid("Send the bytes as application/octet-stream and say how many by Content-Length.")
    return await vault.upload(actor, version_id, path, content_length, request.stream())


@versions_router.delete("/{version_id}/files/{path:path}", action=Action.VERSION_UPLOAD, status_code=204)
def remove_file(version_id: Id, path: str, actor: Who, vault: Vault) -> None:
    """Take a file out of an open version."""
    vault.remove_file(actor, version_id, path)


@versions_router.post("/{version_id}/seal", action=Action.VERSION_SEAL)
def seal_version(version_id: Id, actor: Who, vault: Vault) -> VersionView:
    """Seal a version: nothing changes it any more."""
    return vault.seal(actor, version_id)


@versions_router.post("/{version_id}/verify", action=Action.VERSION_SEAL)
def verify_version(version_id: Id, actor: Who, verifier: Verifier) -> VerifyView:
    """Read every byte of a sealed version again. A mismatch suspends it and its grants at once."""
    return verifier.verify(actor, version_id)
