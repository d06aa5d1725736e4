"""The spawn plan: everything one workspace is given at its start, and nothing else (design.md, *SpawnPlan*)."""

from __future__ import annotations

from datetime import datetime
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

Principal = Annotated[str, StringConstraints(pattern=r"^w[a-z0-9]{20,40}$")]
"""Opaque id of one (person, project): the hub's user name and a DNS label. Nothing is parsed from it."""


class Mount(BaseModel):
    """One folder shown inside a workspace."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    """Absolute path on the machine (embedded), or the name of a volume (cluster)."""
    target: str
    """Absolute path inside: `/data/<dataset>`, `/imports`, `/project` or the home folder."""
    read_only: bool

    @field_validator("target")
    @classmethod
    def _inside_is_plain(cls, value: str) -> str:
        path = PurePosixPath(value)
        if not path.is_absolute() or ".." in path.parts or "\0" in value:
            raise ValueError("a mount target is an absolute path without '..'")
        return value


class Profile(BaseModel):
    """How much of the machine one workspace may use."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "standard"
    memory_bytes: int = Field(default=4 << 30, gt=0)
    """Total of all processes of the workspace, bytes."""
    cpu: float = Field(default=2.0, gt=0)
    """Cores."""
    processes: int = Field(default=512, gt=0)
    """Processes and threads."""
    file_bytes: int = Field(default=20 << 30, gt=0)
    """Largest single file, bytes."""
    tmp_bytes: int = Field(default=1 << 30, gt=0)
    """Size of `/tmp`, bytes."""
    home_bytes: int = Field(default=20 << 30, gt=0)
    """What the home may hold, bytes on disk. The size of the largest file: one such may be there."""
    project_bytes: int = Field(default=100 << 30, gt=0)
    """What the project's shared folder may hold, bytes on disk."""
    folder_entries: int = Field(default=500_000, gt=0)
    """Files and folders that either may hold: a hundred times a large study, and counted in seconds."""


class SpawnPlan(BaseModel):
    """Answer of the control plane to "may this workspace start, and with what?". The spawner refuses the rest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    workspace_id: str
    principal: Principal
    project_id: str
    project_name: str
    profile: Profile = Profile()
    mounts: tuple[Mount, ...]
    home: str
    """Absolute path on the machine of the person's private home in this project (read-write at `/home/researcher`)."""
    deadline_at: datetime
    """UTC. The workspace is stopped then, whatever it does."""
    start: str = Field(default="", pattern=r"^[0-9a-f]{0,16}$")
    """Names this start in reports; no secret."""
    door_token: str = Field(repr=False)
    """Bearer token for the airlock door, good for this start only."""
