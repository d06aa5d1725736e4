"""The spawn plan: everything one workspace is given at its start, and nothing else (design.md, *SpawnPlan*)."""

from __future__ import annotations

from datetime import datetime
from pathlib import PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

Principal = Annotated[str, StringConstraints(pattern=r"^w[a-z0-9]{20,40}$")]
"""Opaque id of a user of the hub, and a DNS label: one (person, project), a shared workspace, or a stay in one."""


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


class ClusterPlan(BaseModel):
    """What a start on Kubernetes is given besides. Mounts then name claims of the zone, not folders."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    namespace: str = Field(pattern=r"^zone-[a-z0-9]{26}$")
    pod: str = Field(pattern=r"^ws-[a-z0-9]{20,40}-[0-9a-f]{16}$")
    """Name of the pod of this start alone; whoever shows its token at the gateway is this workspace."""
    image: str = Field(pattern=r"^[a-z0-9.:/_-]{1,300}@sha256:[0-9a-f]{64}$")
    gpus: dict[str, int] = Field(default_factory=dict)
    """Extended resources by name (`nvidia.com/gpu`, `nvidia.com/mig-1g.10gb`) and count; empty: no device at all."""
    node_selector: dict[str, str] = Field(default_factory=dict)
    runtime_class: str = ""
    """RuntimeClass (gVisor, Kata) where the platform has one; empty: the node's own."""
    user_namespace: bool = True
    """`hostUsers: false`: every volume supports id-mapped mounts."""


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
    home: str | None
    """The person's private home in this project (read-write at `/home/researcher`): a folder, or a claim's name. Unset in a
    shared workspace: what is written there is gone with it."""
    shared: bool = False
    """It is the project's, not a person's: entered by members each for themselves, without a home and without a door."""
    deadline_at: datetime
    """UTC. The workspace is stopped then, whatever it does."""
    idle_seconds: int = Field(default=0, ge=0)
    """Longest time without activity before the workspace is stopped, seconds; 0: it is never stopped for that."""
    warn_seconds: int = Field(default=0, ge=0)
    """How long before that it is warned, seconds."""
    start: str = Field(default="", pattern=r"^[0-9a-f]{0,16}$")
    """Names this start in reports; no secret."""
    door_token: str = Field(repr=False)
    """Bearer token for the airlock door, good for this start only. Empty on a cluster, where the pod has one of its own, and
    in a shared workspace, which has no door."""
    cluster: ClusterPlan | None = None
    """Set on Kubernetes."""

    @model_validator(mode="after")
    def _home_or_shared(self) -> Self:
        if (self.home is None) is not self.shared:
            raise ValueError("a workspace has a person's home, or is shared")
        if self.shared and self.door_token:
            raise ValueError("a shared workspace has no door")
        return self
