"""What the API says of datasets and takes about them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

from broch_api.people.schemas import PersonRef
from broch_core.ids import Id
from broch_core.lifecycles import VersionStatus
from broch_core.tables.datasets import GrantKind
from broch_core.tables.projects import Project
from broch_core.web.texts import Line, Paragraphs, Slug

_SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


class DatasetCreate(BaseModel):
    """A new dataset for the catalogue."""

    model_config = ConfigDict(extra="forbid")

    slug: Annotated[Slug, Field(description="Name of its folder in workspaces: `/data/<slug>`.")]
    title: Annotated[Line, Field(max_length=200, examples=["Breast cancer, Wisconsin (diagnostic)"])]
    description: Annotated[Paragraphs, Field(max_length=4000)] = ""
    licence: Annotated[Paragraphs, Field(max_length=1000, examples=["CC BY 4.0"])] = ""
    owner: Annotated[Slug, Field(description="Handle of the information asset owner.", examples=["idris"])]


class DatasetView(BaseModel):
    """A dataset in the catalogue."""

    id: Id
    slug: str = Field(examples=["wisconsin"])
    title: str
    description: str
    licence: str
    owner: PersonRef
    created_at: datetime


class VersionView(BaseModel):
    """One version of a dataset."""

    id: Id
    dataset_id: Id
    number: int = Field(examples=[1])
    status: VersionStatus
    manifest_sha256: str | None = Field(
        description="SHA-256 of the canonical JSON (RFC 8785) of its sorted list of path, size, sha256.",
        examples=[_SHA256],
    )
    file_count: int
    total_bytes: int = Field(description="Bytes of all files.")
    created_at: datetime
    sealed_at: datetime | None
    verified_at: datetime | None = Field(description="When all bytes were last read again and fitted.")
    suspended_reason: str | None


class DatasetDetail(DatasetView):
    """A dataset with its versions, newest first."""

    versions: list[VersionView]


class FileView(BaseModel):
    """One file of a version."""

    path: str = Field(examples=["images/CT_small.dcm"])
    size: int = Field(description="Bytes.")
    sha256: str = Field(examples=[_SHA256])


class FilePage(BaseModel):
    """Files in the order of their paths."""

    items: list[FileView]
    next: str | None = Field(default=None, description="Give it as `after` for the next page.")


class VerifyView(BaseModel):
    """What reading every byte again found."""

    ok: bool
    files: int = Field(description="Files read.")
    bytes: int = Field(description="Bytes read.")
    problem: str | None = Field(
        description="The first thing that does not fit; the version is suspended then."
    )


class GrantCreate(BaseModel):
    """A project gets a version."""

    model_config = ConfigDict(extra="forbid")

    project_id: Id
    version_id: Id
    kind: GrantKind = GrantKind.MOUNT
    until: Annotated[
        date,
        Field(
            description="Last day, included, in UTC; not after the end of the project.",
            examples=["2026-11-30"],
        ),
    ]


class ProjectRef(BaseModel):
    """Which project, in short."""

    id: Id
    slug: str = Field(examples=["tumour-texture"])
    name: str = Field(examples=["Tumour texture"])
    ends_on: date

    @classmethod
    def of(cls, project: Project) -> Self:
        """Make one from a row."""
        return cls(id=project.id, slug=project.slug, name=project.name, ends_on=project.ends_on)


class GrantView(BaseModel):
    """A grant, present or past."""

    id: Id
    project: ProjectRef
    dataset_id: Id
    dataset_slug: str
    dataset_title: str
    version_id: Id
    version_number: int
    version_status: VersionStatus
    kind: GrantKind
    until: date
    given_at: datetime
    revoked_at: datetime | None
    holds: bool = Field(description="Whether the project may use the version now.")


class ExportCreate(BaseModel):
    """A member may submit results made from the dataset."""

    model_config = ConfigDict(extra="forbid")

    project_id: Id
    person_id: Id


class ExportPermissionView(BaseModel):
    """A permission to submit egress (`egress:submit`), present or past."""

    id: Id
    project: ProjectRef
    dataset_id: Id
    dataset_title: str
    person: PersonRef
    given_at: datetime
    withdrawn_at: datetime | None


class ProjectMember(BaseModel):
    """A member of a project, for choosing."""

    project: ProjectRef
    person: PersonRef
