"""Settings of the gateway: `BROCH_GATEWAY_*`, and where its certificate and its token lie.

The certificate also names `gateway.broch.internal`.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import AliasChoices, Field
from pydantic_settings import SettingsConfigDict

from broch_core.component_settings import ComponentSettings

_UPSTREAM = r"^https://[a-z0-9.-]{1,253}:[0-9]{1,5}$"


class GatewaySettings(ComponentSettings):
    """Everything that can be set. The limits bound what one zone can take from the others."""

    model_config = SettingsConfigDict(env_prefix="BROCH_GATEWAY_")

    secrets: Path = Field(
        default=Path("/etc/broch/secrets"), validation_alias=AliasChoices("secrets", "BROCH_SECRETS")
    )
    """Folder with the file `gateway`: the token that the door knows the gateway by."""
    door: str = Field(pattern=_UPSTREAM)
    """Address of the airlock door, such as `https://broch-web:8445`."""
    hub: str = Field(pattern=_UPSTREAM)
    """Address of the hub's API, such as `https://broch-hub:8081`."""
    packages: str | None = Field(default=None, pattern=_UPSTREAM)
    """Address of the package route, such as `https://broch-packages:8449`. Unset: zones reach no packages."""
    kubeconfig: Path | None = None
    """How to reach the API server outside a cluster, for tests. Unset: the pod's own account."""
    port: int = Field(default=8443, ge=0, le=65535)
    """TCP port that zones reach."""
    own_port: int = Field(default=8448, ge=0, le=65535)
    """TCP port of `/healthz` and `/metrics`, which zones do not reach."""
    file_bytes: int = Field(default=2 << 30, ge=1)
    """Largest file, bytes; the door judges its own limit. 2 GiB: as `airlock_file_bytes`."""
    connections: int = Field(default=2048, ge=1)
    """Most connections at once. Each takes about 100 kB with its TLS state."""
    address_connections: int = Field(default=32, ge=1)
    """Most of them from one address."""
    requests: int = Field(default=256, ge=1)
    """Most requests under way at once."""
    package_requests: int = Field(default=192, ge=1)
    """Most of them for packages, which may take half an hour. Three quarters: door and hub are reached all the same."""
    zone_requests: int = Field(default=64, ge=1)
    """Most of them from one zone. A quarter: no zone shuts the others out alone."""
    pod_requests: int = Field(default=16, ge=1)
    """Most of them from one pod or address. 16: a notebook's server and command line need three."""
    header_seconds: float = Field(default=15.0, gt=0)
    """How long a request's headers may take. 15: honest ones take milliseconds."""
    idle_seconds: float = Field(default=30.0, gt=0)
    """How long either side may say or take nothing in the middle of a body."""
    slowest_bytes: int = Field(default=64 << 10, ge=1)
    """Bytes a second that a body must make on the whole, after its first `idle_seconds`. 64 KiB."""
    answer_seconds: float = Field(default=120.0, gt=0)
    """How long an upstream may think once it has the whole body: the door hashes and syncs 2 GiB."""
    fetch_seconds: float = Field(default=1800.0, gt=0)
    """How long the package route may think: it has the whole file, and has hashed it, before its first byte."""
    review_seconds: float = Field(default=5.0, gt=0)
    """How long the API server may take to judge a token."""
    cache_seconds: float = Field(default=10.0, ge=0, le=10)
    """How long its answer is believed. At most ten: a pod that is gone is soon nobody."""
    refusal_seconds: float = Field(default=1.0, ge=0)
    """How long who shows a bad token waits for the answer: guessing then costs the API server little."""
    bind_address: bool = True
    """Hold a pod's token to the first address that showed it. Off only where the network hides addresses of pods."""
