"""What the API says of projects and takes about them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from broch_api.datasets.schemas import ExportPermissionView, GrantView
from broch_api.people.schemas import PersonRef
from broch_core.actors import ProjectRole
from broch_core.confinement import BrowserPolicy
from broch_core.ids import Id
from broch_core.lifecycles import PROJECT, ProjectEvent, ProjectStatus
from broch_core.tables.projects import Project, UserNamespaces
from broch_core.web.texts import Line, Paragraphs, Slug
from broch_workspaces.cluster.spec import Quota

ProjectName = Annotated[Line, Field(max_length=120, examples=["Tumour texture"])]
Day = Annotated[date, Field(examples=["2026-11-30"])]


class ProjectCreate(BaseModel):
    """A new project."""

    model_config = ConfigDict(extra="forbid")

    slug: Slug
    name: ProjectName
    purpose: Annotated[
        Paragraphs,
        Field(max_length=2000, examples=["Does the texture of a tumour say how dangerous it is?"]),
    ] = ""
    starts_on: Annotated[Day, Field(description="First day, in UTC.")]
    ends_on: Annotated[Day, Field(description="Last day, included, in UTC.")]
    browser_policy: BrowserPolicy = BrowserPolicy.WARN
    user_namespaces: Annotated[
        UserNamespaces,
        Field(
            description="On a cluster: whether data on storage without id-mapped mounts (NFS) is refused, because its pods "
            "cannot run in user namespaces of their own."
        ),
    ] = UserNamespaces.WHERE_POSSIBLE
    quota: Annotated[
        Quota | None,
        Field(description="On a cluster: what all its workspaces may use together; absent: the platform's."),
    ] = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.ends_on < self.starts_on:
            raise ValueError("The last day lies before the first one.")
        return self


class BrowserPolicyChoice(BaseModel):
    """What browsers without `Connection-Allowlist` are told."""

    model_config = ConfigDict(extra="forbid")

    policy: BrowserPolicy


LONGEST_IDLE_MINUTES = 30 * 24 * 60
"""A month: longer than any start runs."""


class IdleStopChoice(BaseModel):
    """How long workspaces of a project may be idle."""

    model_config = ConfigDict(extra="forbid")

    minutes: Annotated[
        Annotated[int, Field(ge=0, le=LONGEST_IDLE_MINUTES)] | None,
        Field(description="Minutes; 0: never stopped for that; null: as the platform says.", examples=[60]),
    ]


class SharedWorkspaceChoice(BaseModel):
    """Whether members may work in one workspace together."""

    model_config = ConfigDict(extra="forbid")

    allowed: Annotated[
        bool,
        Field(
            description="True: what a cell did there is the project's act, and nobody can tell whose. False also stops it.",
            examples=[True],
        ),
    ]


class MemberAdd(BaseModel):
    """Somebody who joins a project."""

    model_config = ConfigDict(extra="forbid")

    handle: Annotated[Slug, Field(examples=["ada"])]
    role: ProjectRole = ProjectRole.RESEARCHER
    last_day: Annotated[
        date | None,
        Field(description="The membership ends by itself after this day (UTC).", examples=["2026-11-30"]),
    ] = None


class MemberView(BaseModel):
    """One membership, present or past."""

    id: Id
    person: PersonRef
    role: ProjectRole
    since: datetime
    until: datetime | None
    present: bool = Field(description="Whether it holds now.")
    reviewer: bool = Field(
        description="The person is an airlock reviewer, who may never review this project."
    )


class ProjectView(BaseModel):
    """A project in a list."""

    id: Id
    slug: str = Field(examples=["tumour-texture"])
    name: str = Field(examples=["Tumour texture"])
    purpose: str
    status: ProjectStatus
    starts_on: date
    ends_on: date
    browser_policy: BrowserPolicy = Field(
        description="What a browser that does not enforce `Connection-Allowlist` is told."
    )
    idle_minutes: int | None = Field(
        description="Minutes without activity before a workspace is stopped; 0: never; null: as the platform says."
    )
    shared_workspace: bool = Field(
        description="Members may work in one workspace together, in which nobody can tell whose act a cell was."
    )
    user_namespaces: UserNamespaces = Field(description="What its zone on a cluster asks of storage.")
    quota: Quota | None = Field(description="What all its workspaces may use together; null: the platform's.")
    created_at: datetime
    possible: list[ProjectEvent] = Field(description="What its life cycle allows next.")

    @classmethod
    def of(cls, project: Project) -> Self:
        """Make one from a row."""
        return cls(
            id=project.id,
            slug=project.slug,
            name=project.name,
            purpose=project.purpose,
            status=project.status,
            starts_on=project.starts_on,
            ends_on=project.ends_on,
            browser_policy=project.browser_policy,
            idle_minutes=project.idle_minutes,
            shared_workspace=project.shared_workspace,
            user_namespaces=project.user_namespaces,
            quota=Quota.model_validate(project.quota) if project.quota else None,
            created_at=project.created_at,
            possible=sorted(PROJECT.events(project.status)),
        )


class ProjectDetail(ProjectView):
    """A project with its members, data and permissions to export."""

    members: list[MemberView]
    grants: list[GrantView]
    export_permissions: list[ExportPermissionView]
