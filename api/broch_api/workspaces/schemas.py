"""What the API says of workspaces."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from broch_core.ids import Id
from broch_core.lifecycles import WorkspaceStatus
from broch_core.tables.people import Person
from broch_core.tables.projects import Project
from broch_core.tables.workspaces import Workspace

ProfileName = Annotated[
    str | None,
    Field(
        pattern=r"^[a-z0-9][a-z0-9-]{0,39}$",
        description="How much of the machine it gets; the usual profile when absent.",
        examples=["standard"],
    ),
]


class WorkspaceOpen(BaseModel):
    """Which project's workspace to open."""

    model_config = ConfigDict(extra="forbid")

    project_id: Id
    profile: ProfileName = None


class WorkspaceProject(BaseModel):
    """The project of a workspace, in short."""

    id: Id
    slug: str = Field(examples=["tumour-texture"])
    name: str = Field(examples=["Tumour texture"])


class WorkspacePerson(BaseModel):
    """Whose workspace it is."""

    id: Id
    handle: str = Field(examples=["ruth"])
    display_name: str = Field(examples=["Ruth Okafor"])

    @classmethod
    def of(cls, person: Person) -> WorkspacePerson:
        """Make one from a row."""
        return cls(id=person.id, handle=person.handle, display_name=person.display_name)


class WorkspaceView(BaseModel):
    """One person's workspace in one project, or the one that its members share."""

    id: Id
    project: WorkspaceProject
    person: WorkspacePerson | None = Field(
        description="Whose it is; null: the project's, shared by its members."
    )
    status: WorkspaceStatus
    profile: str = Field(description="Profile of the present or last start.", examples=["standard"])
    opened_at: datetime | None
    deadline_at: datetime | None = Field(description="When it stops by itself.")
    message: str | None = Field(description="Why it failed or stopped.")
    planned: bool = Field(description="The hub has fetched what this start may use.")
    browser_bytes: int = Field(description="Bytes that its pages sent to the browser so far.")
    start_bytes: int = Field(description="Those of the present or last start.")
    alarm_at: datetime | None = Field(
        description="When this start sent more to the browser than the limit for an alarm."
    )
    idle_stop_at: datetime | None = Field(
        description="When it is stopped for being idle, once it is warned; null: it is not idle."
    )
    url: str | None = Field(description="Where its notebook is, while it runs.")
    page: str = Field(description="Where a person opens it in a browser: the page that frames the notebook.")

    @classmethod
    def of(
        cls, row: Workspace, project: Project, person: Person | None, *, url: str, page: str
    ) -> WorkspaceView:
        """Make one from rows."""
        active = row.status in (WorkspaceStatus.STARTING, WorkspaceStatus.RUNNING)
        return cls(
            id=row.id,
            project=WorkspaceProject(id=project.id, slug=project.slug, name=project.name),
            person=WorkspacePerson.of(person) if person is not None else None,
            status=row.status,
            profile=row.profile,
            opened_at=row.opened_at,
            deadline_at=row.deadline_at if active else None,
            message=row.message,
            planned=row.door_token_hash is not None,
            browser_bytes=row.browser_bytes,
            start_bytes=row.start_bytes,
            alarm_at=row.alarm_at,
            idle_stop_at=row.idle_stop_at if row.status is WorkspaceStatus.RUNNING else None,
            url=url if row.status is WorkspaceStatus.RUNNING else None,
            page=page,
        )


class SharedOpen(BaseModel):
    """How to open the shared workspace."""

    model_config = ConfigDict(extra="forbid")

    profile: ProfileName = None


class SharedView(BaseModel):
    """The workspace that members of a project share."""

    project: WorkspaceProject
    allowed: bool = Field(description="The project's policy lets there be one.")
    closed: str | None = Field(description="Why it cannot be opened now; null: it can.")
    status: WorkspaceStatus
    workspace: WorkspaceView | None = Field(description="Null: it was never opened.")
    present: list[WorkspacePerson] = Field(description="Who is in it now.")
    inside: bool = Field(description="Your present session is in it.")
    notice: str = Field(description="What working together in one means.")
