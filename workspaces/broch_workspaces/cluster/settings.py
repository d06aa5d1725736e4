"""What zones and their pods are given by the platform, the same for all: names, addresses, storage, bounds."""

from __future__ import annotations

import re
import socket
from ipaddress import IPv4Address
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from broch_workspaces.cluster.spec import GPU_QUEUE, DnsLabel

ImagePrefix = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.:/_-]{0,200}/$")]
Image = Annotated[str, StringConstraints(pattern=r"^[a-z0-9.:/_-]{1,300}@sha256:[0-9a-f]{64}$")]
DnsName = Annotated[
    str,
    StringConstraints(
        pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$", max_length=253
    ),
]
"""A DNS subdomain (RFC 1123), as most objects of Kubernetes are named."""

GATEWAY_PORT = 8443
NOTEBOOK_PORT = 8888
AUDIENCE = "broch-gateway"
TOKEN_SECONDS = 600
"""Life of the projected token; ten minutes is the shortest that Kubernetes gives."""


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    release: DnsLabel = "broch"
    """Name of the Helm release: its components are `<release>-hub`, `<release>-gateway`, ..."""
    release_namespace: DnsLabel = "broch"
    """Namespace of the release, where hub, proxy and gateway run."""

    def component_labels(self, component: str) -> dict[str, str]:
        """Return the labels by which policies know the pods of a component of this release."""
        return {"app.kubernetes.io/instance": self.release, "app.kubernetes.io/component": component}


class ZoneSettings(_Settings):
    """For `zone_manifests`."""

    ca_bundle: str = Field(min_length=1)
    """PEM text of the authority that signed the gateway's certificate; pods find it at /etc/broch/ca/ca.crt."""
    storage_class: DnsName | None = None
    """StorageClass of homes, shared folders and imports. None: the cluster's default."""
    access_mode: Literal["ReadWriteMany", "ReadWriteOnce"] = "ReadWriteMany"
    """Of the same claims. ReadWriteOnce only where all pods of zones run on one node."""
    storage_id_mapped: bool = False
    """Whether that storage supports id-mapped mounts (ext4, xfs: yes; NFS, EFS, SMB: no). No: the safe answer."""
    pod_security_version: str = Field(default="v1.35", pattern=r"^(latest|v1\.\d{1,3})$")
    """Version of the Pod Security Standard `restricted`. Pinned, so that an upgrade of the cluster changes nothing."""
    known_devices: tuple[str, ...] = (
        "nvidia.com/gpu",
        "amd.com/gpu",
        "gpu.intel.com/i915",
        "gpu.intel.com/xe",
    )
    """Extended resources of this cluster. Those that a project was not granted are held at zero."""
    kueue_queue: DnsName | None = None
    """ClusterQueue of Kueue that every zone's queue for GPUs leads to. None: there is none, and quotas alone decide."""
    importers: int = Field(default=2, ge=1, le=10)
    """Importer pods at once in one zone, on top of the quota's pods, so that imports arrive in a full zone."""


class PodSettings(_Settings):
    """For `workspace_pod` and `importer_pod`."""

    gateway_address: IPv4Address
    """Address of the gateway's Service; pods have no DNS, so it is written into their /etc/hosts. A name such as
    `broch-gateway.broch.svc` is looked up when the settings are read: no chart knows the address before it is there."""
    gateway_host: str = Field(default="gateway.broch.internal", pattern=r"^[a-z0-9.-]{1,253}$")
    """Name in the gateway's certificate."""

    @field_validator("gateway_address", mode="before")
    @classmethod
    def _by_name(cls, value: object) -> object:
        if not isinstance(value, str) or not re.search(r"[a-z]", value):
            return value
        try:
            found = socket.getaddrinfo(value, GATEWAY_PORT, socket.AF_INET, socket.SOCK_STREAM)
        except OSError as error:
            raise ValueError(f"the name '{value}' has no address: {error}") from error
        return found[0][4][0]

    image_prefixes: tuple[ImagePrefix, ...] = Field(min_length=1)
    """Where images may come from: registry and repository, up to and with a slash."""
    packages: bool = False
    """Whether the gateway has a package route: pip, R, conda and npm inside are then led to it."""
    importer_image: Image
    """The image `broch`, by digest."""
    importer_user_namespace: bool = False
    """`hostUsers: false` for importers: the storage of imports supports id-mapped mounts."""
    node_selector: dict[str, str] = Field(default_factory=dict)
    """Labels of nodes that importers run on, and workspaces whose profile names none. Empty: any."""
    longest_seconds: int = Field(default=8 * 3600, gt=0)
    """Longest run of one workspace, seconds, whatever the plan says. A working day."""
    importer_seconds: int = Field(default=900, gt=0)
    """Longest run of one importer, seconds. A quarter of an hour: 2 GiB at 3 MB/s."""
    grace_seconds: int = Field(default=5, ge=0, le=30)
    """Time to end in peace, seconds. Short: who is revoked is out soon."""
    cpu_request_share: float = Field(default=0.25, gt=0, le=1)
    """Part of the processors that is reserved; the rest is lent. Notebooks idle most of the time. Memory never is."""
    shm_bytes: int = Field(default=1 << 30, gt=0)
    """Most of /dev/shm, bytes; never more than half of the memory, which it counts against."""
    priority_classes: bool = False
    """Whether workspaces have the release's PriorityClasses, which the chart makes: behind all parts of Broch."""
    gpu_queue: bool = False
    """Whether workspaces with GPUs wait in their zone's queue: the controller's `zones.kueue_queue` is set."""

    log_bytes: int = Field(default=256 << 20, gt=0)
    """Disk of the node for output and what lies outside of volumes, bytes, on top of /tmp."""

    def priority_class(self, *, gpus: bool) -> str | None:
        """Return the PriorityClass of a workspace: those that anybody waits for at a desk come before those with GPUs."""
        kind = "gpu" if gpus else "interactive"
        return f"{self.release}-workspace-{kind}" if self.priority_classes else None

    def queue(self, *, gpus: bool) -> str | None:
        """Return the queue of the zone in which a workspace waits; None: in none."""
        return GPU_QUEUE if self.gpu_queue and gpus else None
