"""Workspace profiles of a cluster: what a person chooses when a workspace is opened, and what its pod is then given."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, field_validator

from broch_workspaces.cluster.spec import ResourceName
from broch_workspaces.plan import Profile


class ClusterProfile(BaseModel):
    """One profile, as the platform's administrator wrote it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
    title: Annotated[str, StringConstraints(min_length=1, max_length=80)]
    """What people choose by, such as `Standard: 2 cores, 4 GiB`."""
    image: Annotated[str, StringConstraints(pattern=r"^[a-z0-9.:/_-]{1,300}@sha256:[0-9a-f]{64}$")]
    """With its digest: a tag may mean something else tomorrow."""
    cpu: float = Field(default=2.0, gt=0, le=512)
    """Cores."""
    memory_bytes: int = Field(default=4 << 30, ge=256 << 20)
    tmp_bytes: int = Field(default=1 << 30, ge=1 << 20)
    """Size of `/tmp`, bytes."""
    devices: dict[ResourceName, Annotated[int, Field(ge=1, le=64)]] = Field(default_factory=dict)
    """Extended resources: `nvidia.com/gpu` for whole GPUs, `nvidia.com/mig-1g.10gb` for slices. Empty: no device."""
    hours: float = Field(default=8.0, gt=0, le=168)
    """Longest run of one start, hours."""
    node_selector: dict[str, str] = Field(default_factory=dict)
    runtime_class: str = ""
    """RuntimeClass (gVisor, Kata) where the platform has one; empty: the node's own."""

    @field_validator("devices")
    @classmethod
    def _one_kind(cls, value: dict[str, int]) -> dict[str, int]:
        if len(value) > 1:
            raise ValueError("a profile has devices of one kind")
        return value

    def limits(self) -> Profile:
        """Return what the spawn plan says of it."""
        return Profile(name=self.name, memory_bytes=self.memory_bytes, cpu=self.cpu, tmp_bytes=self.tmp_bytes)


_LIST: TypeAdapter[tuple[ClusterProfile, ...]] = TypeAdapter(tuple[ClusterProfile, ...])


def parse_profiles(value: object) -> dict[str, ClusterProfile]:
    """Read profiles from settings, by name, in their order; the first is the usual one.

    Raises:
        ValueError: one is not understood, or a name comes twice.
    """
    found: dict[str, ClusterProfile] = {}
    for profile in _LIST.validate_python(value):
        if profile.name in found:
            raise ValueError(f"two profiles are named '{profile.name}'")
        found[profile.name] = profile
    return found


def choices(profiles: dict[str, ClusterProfile]) -> list[dict[str, Any]]:
    """Return what people choose from."""
    return [{"name": profile.name, "title": profile.title} for profile in profiles.values()]
