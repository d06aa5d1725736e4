"""What a zone shall be: the control plane says it (`GET /internal/v1/zones`), the controller makes it so.

Both sides read these models; nothing else passes between them.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from broch_workspaces.cluster.sources import DataSource

Ulid = Annotated[str, StringConstraints(pattern=r"^[0-9A-Z]{26}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[^/\x00]{1,255}$")]
ResourceName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9.-]{1,100}/[A-Za-z0-9._-]{1,63}$")]
"""Of an extended resource, such as `nvidia.com/mig-1g.10gb`."""
DnsName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9.-]{1,253}$")]
DnsLabel = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]

PART_OF = "app.kubernetes.io/part-of"
"""Label with the value `broch` on everything that Broch owns."""
PROJECT_LABEL = "broch.dev/project"
"""Label with the project's id in lower case, on a zone's namespace and on everything in it."""
ROLE_LABEL = "broch.dev/role"
"""Label of pods in a zone: `workspace` or `importer`; on the zone's namespace: `zone`."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def namespace_of(project_id: str) -> str:
    """Return the name of a project's namespace. It is made from the id; nothing is ever parsed back from it."""
    return f"zone-{project_id.lower()}"


def data_claim(version_id: str) -> str:
    """Return the name of the claim of a dataset version in any zone."""
    return f"data-{version_id.lower()}"


def home_claim(person_id: str) -> str:
    """Return the name of the claim of a person's home in a zone."""
    return f"home-{person_id.lower()}"


def pod_digest(namespace: str, pod: str) -> str:
    """Return what a start is known by outside its zone: the name of its pod, which holds 64 random bits, is not told."""
    return hashlib.sha256(f"{namespace}/{pod}".encode()).hexdigest()


GPU_QUEUE = "gpu"
"""Name of a zone's queue for GPUs (a LocalQueue of Kueue), where the platform has one."""
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
"""Label by which Kueue knows the queue that a pod waits in."""
PROJECT_CLAIM = "project"
IMPORTS_CLAIM = "imports"


class ZoneState(StrEnum):
    """What shall be there."""

    OPEN = "open"
    FROZEN = "frozen"
    """Everything stays, nothing may run (quota of zero pods)."""
    ENDED = "ended"
    """Archived, then deleted."""


class Quota(_Model):
    """What all workspaces of a project may use together."""

    cpu: float = Field(default=16, gt=0, le=100_000, allow_inf_nan=False)
    memory_bytes: int = Field(default=64 << 30, gt=0, le=1 << 50)
    gpus: int = Field(default=0, ge=0, le=100_000)
    """Of the resource `nvidia.com/gpu`, and MIG slices each by their own resource name in `devices`."""
    devices: dict[ResourceName, Annotated[int, Field(ge=0, le=100_000)]] = Field(
        default_factory=dict, max_length=50
    )
    """Further extended resources by name, such as `nvidia.com/mig-1g.10gb`."""
    pods: int = Field(default=20, ge=0, le=10_000)


class DataVolume(_Model):
    """One dataset version mounted by a grant. Versions that are `validation-only` never come here."""

    version_id: Ulid
    source: DataSource
    size_bytes: int = Field(ge=0)


class Home(_Model):
    """The private home of one person."""

    person_id: Ulid
    size_bytes: int = Field(gt=0)


class Delivery(_Model):
    """Released bytes on their way into `/imports`, or out of it."""

    id: Ulid
    op: Literal["place", "remove"]
    name: FileName
    sha256: Sha256
    size: int = Field(ge=0)


class ZoneSpec(_Model):
    """One zone."""

    version: Literal[1] = 1
    project_id: Ulid
    state: ZoneState = ZoneState.OPEN
    quota: Quota = Quota()
    data: tuple[DataVolume, ...] = ()
    homes: tuple[Home, ...] = ()
    project_bytes: int = Field(default=100 << 30, gt=0)
    imports_bytes: int = Field(default=20 << 30, gt=0)
    user_namespaces: Literal["where-possible", "required"] = "where-possible"
    """`required`: a source without id-mapped mounts makes the zone fail, with the reason."""
    deliveries: tuple[Delivery, ...] = Field(default=(), exclude=False)
    starts: tuple[Sha256, ...] | None = None
    """`pod_digest` of every workspace pod that may run now. Unset: not said, so none is ended for that."""
    held: bool = False
    """Of a zone that ended: the hub has not seen every workspace of it gone, and its rights to look are in the namespace."""
    revocations: tuple[Ulid, ...] = ()
    """Rights that ended and whose pods or volumes were not seen gone yet: a report says what is there after it knew."""

    @property
    def namespace(self) -> str:
        """Name of the namespace."""
        return namespace_of(self.project_id)

    def digest(self) -> str:
        """Return what the zone is made of, in 16 hexadecimal digits; what comes and goes in it does not change it."""
        text = self.model_dump_json(exclude={"deliveries", "starts", "held", "revocations"})
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class ZoneSpecs(_Model):
    """Answer of `GET /internal/v1/zones?after=DIGEST&wait=SECONDS` (long poll)."""

    digest: str
    """Of the whole list, deliveries included: the next question names it and waits for a change."""
    items: tuple[ZoneSpec, ...]
    """Empty where the digest is the one that was asked for: nothing changed, and all of it would be megabytes."""


class ZonePhase(StrEnum):
    """How far the controller is."""

    MAKING = "making"
    READY = "ready"
    FAILED = "failed"
    ENDING = "ending"
    GONE = "gone"


class ZoneReport(_Model):
    """What the controller says of one zone (`POST /internal/v1/zones/{project_id}/report`)."""

    digest: str = Field(max_length=16)
    """Of the spec that this is about."""
    phase: ZonePhase
    message: str = Field(default="", max_length=500)
    """In plain words, for the project's page; no names of the cluster's internals."""
    delivered: tuple[Ulid, ...] = ()
    """Deliveries that are done and confirmed."""
    undelivered: dict[Ulid, str] = Field(default_factory=dict)
    """Deliveries that failed for good, with the reason (the name is taken by other bytes)."""
    after: tuple[Ulid, ...] = ()
    """Revocations that were known before the next two were seen."""
    pods: dict[Sha256, tuple[DnsLabel, ...]] = Field(default_factory=dict)
    """`pod_digest` of each workspace pod that is there, in whatever state, with the claims that it mounts."""
    volumes: tuple[DnsName, ...] = ()
    """Names of the data volumes and of their claims that are there."""
