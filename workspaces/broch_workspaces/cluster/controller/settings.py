"""Settings of the controller: one JSON file (`broch serve controller FILE`), as the hub has one."""

from __future__ import annotations

import json
import secrets
import socket
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from broch_workspaces.cluster.settings import PodSettings, ZoneSettings
from broch_workspaces.cluster.spec import DnsLabel


def _identity() -> str:
    # The pod's name, and more: a container that starts again in the same pod is another holder of the lease.
    return f"{socket.gethostname()}_{secrets.token_hex(4)}"


class ControllerSettings(BaseModel):
    """What the controller is told at its start."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    control_plane: str = Field(pattern=r"^https://[a-z0-9.:-]{1,260}$")
    """Address of the internal API, such as `https://broch-web:8444`."""
    zones: ZoneSettings
    """What every zone is given by the platform."""
    pods: PodSettings
    """What every importer is given by the platform."""
    lease: DnsLabel = "broch-controller"
    """Name of the lease in the release's namespace that the leader holds."""
    identity: str = Field(default_factory=_identity, min_length=1, max_length=200)
    """Unlike that of every other controller. Unset: the host's name and something random."""
    tls: Path = Path("/etc/broch/tls")
    """Folder of this component's certificate."""
    token: Path = Path("/etc/broch/secrets/controller")
    """File with the token for the internal API."""
    kubeconfig: Path | None = None
    """For tests and work at a desk. Unset: the pod's own account."""
    host: str = "0.0.0.0"  # noqa: S104 - a pod's own address is not known before it runs
    """Address to listen on, for probes and metrics."""
    port: int = Field(default=8443, ge=0, le=65535)
    """Port of `/livez`, `/healthz` and `/metrics`; 0: any free one."""
    workers: int = Field(default=8, ge=1, le=64)
    """Zones worked on at once. Eight: one zone needs about 15 writes, and the API server is not ours alone."""
    poll_seconds: float = Field(default=25.0, gt=0, le=30)
    """How long one question for changes waits."""


def read_settings(path: Path) -> ControllerSettings:
    """Read the file. Where it leaves out `zones.ca_bundle`, zones trust the authority of our own certificate.

    Raises:
        OSError: a file cannot be read.
        ValueError: it is not as it should be.
    """
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    zones = value.get("zones")
    if isinstance(zones, dict) and "ca_bundle" not in zones:
        folder = Path(value.get("tls") or ControllerSettings.model_fields["tls"].default)
        zones["ca_bundle"] = (folder / "ca.crt").read_text(encoding="ascii")
    return ControllerSettings.model_validate(value)
