"""What the hub process is told: a small JSON file with paths, origins and ports, no secrets.

On one machine the supervisor writes it (`HubSettings`), on a cluster the chart does (`ClusterHubSettings`).
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, field_validator

from broch_spawner.endpoint import Endpoint
from broch_workspaces.cluster.settings import GATEWAY_PORT, PodSettings

Origin = Annotated[str, StringConstraints(pattern=r"^https://[a-z0-9.-]{1,253}(:[0-9]{1,5})?$")]
_SOCKET_PATH_LONGEST = 107
"""Bytes of a unix socket path (sun_path less its final NUL, unix(7))."""


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    state_dir: Path
    """Folder that stays; the hub owns `hub/` in it."""
    run_dir: Path
    """Sockets of this run (0700); unix socket paths below it must stay under 108 bytes."""

    @property
    @abstractmethod
    def control(self) -> Endpoint:
        """The control plane's internal API."""

    @property
    @abstractmethod
    def secrets_folder(self) -> Path:
        """Folder of the service tokens."""

    @property
    def hub_dir(self) -> Path:
        """Folder of the hub's own state."""
        return self.state_dir / "hub"

    @property
    def hub_socket(self) -> Path:
        """Where JupyterHub itself listens; everything else stands before it."""
        return self.run_dir / "hub" / "hub.sock"

    def secret(self, name: str) -> str:
        """Return a service token.

        Raises:
            ValueError: the file is empty.
        """
        token = (self.secrets_folder / name).read_text(encoding="ascii").strip()
        if not token:
            raise ValueError(f"the secret {name} is empty")
        return token


class HubSettings(_Settings):
    """One machine."""

    port: int = Field(gt=0, lt=65535)
    """TCP port of the shell (control plane) on 127.0.0.1; workspaces are on the next one."""

    @property
    def control(self) -> Endpoint:
        """The control plane's internal API."""
        return Endpoint.at_socket(self.run_dir / "control.sock")

    @property
    def secrets_folder(self) -> Path:
        """Folder of the service tokens, made by the supervisor at every start."""
        return self.run_dir / "secrets"

    @property
    def hub_port(self) -> int:
        """TCP port of hub and workspaces on 127.0.0.1."""
        return self.port + 1

    @property
    def shell_origin(self) -> str:
        """Origin of the control plane as browsers see it."""
        return f"http://broch.localhost:{self.port}"

    @property
    def hub_origin(self) -> str:
        """Origin of the hub as browsers see it; a workspace is one label below."""
        return f"http://hub.broch.localhost:{self.hub_port}"


class ClusterHubSettings(_Settings):
    """A pod of the chart (docs/cluster.md, *The hub's settings*)."""

    mode: Literal["cluster"]
    shell_origin: Origin
    """Origin of the control plane as browsers see it."""
    hub_origin: Origin
    """Origin of the hub as browsers see it; a workspace is one label below."""
    control_url: Origin = "https://broch-web:8444"
    """The control plane's internal API."""
    tls: Path = Path("/etc/broch/tls")
    """Folder with `tls.crt`, `tls.key` and `ca.crt` of this component."""
    secrets: Path = Path("/etc/broch/secrets")
    """Folder with the tokens `hub`, `hub-oauth` and `web`."""
    web_name: str = "broch-web"
    """Name in the certificate of whoever may start and stop workspaces at the hub's API."""
    gateway_name: str = "broch-gateway"
    """Name in the certificate of whoever passes on the calls of workspaces' servers."""
    proxy_port: int = Field(default=8443, gt=1023, le=65535)
    """Port of hub and workspaces for browsers, all addresses."""
    api_port: int = Field(default=8081, gt=1023, le=65535)
    """Port of the hub's API for web and gateway, all addresses."""
    db_url: str | None = None
    """SQLAlchemy URL of JupyterHub's own state. Unset: SQLite in `state_dir`: one hub, a few writes a minute."""
    cookie_secret_file: Path | None = None
    """32 bytes in hexadecimal. Unset: made once, in `state_dir`."""
    start_seconds: int = Field(default=300, ge=10, le=3600)
    """Longest start of a workspace, seconds, once it has a node: a large image may have to come first."""
    node_seconds: int = Field(default=600, ge=0, le=3600)
    """How long a start waits for a node with room, seconds. Ten minutes: a cluster that grows by itself needs a few."""
    pods: PodSettings
    """What every workspace's pod is given."""

    @field_validator("run_dir")
    @classmethod
    def _short(cls, value: Path) -> Path:
        if len(str(value / "hub" / "hub.sock").encode()) > _SOCKET_PATH_LONGEST:
            raise ValueError("the path of the hub's socket below it is too long")
        return value

    @property
    def control(self) -> Endpoint:
        """The control plane's internal API."""
        return Endpoint.over_tls(self.control_url, self.tls)

    @property
    def secrets_folder(self) -> Path:
        """Folder of the service tokens."""
        return self.secrets

    @property
    def workspace_api_url(self) -> str:
        """The hub's API as workspaces reach it: through the gateway."""
        return f"https://{self.pods.gateway_host}:{GATEWAY_PORT}/hub/api"


def public_port(origin: str) -> int:
    """Return the port of an origin, also where it is not written."""
    parts = urlsplit(origin)
    return parts.port or {"http": 80, "https": 443}[parts.scheme]


_ANY: TypeAdapter[HubSettings | ClusterHubSettings] = TypeAdapter(HubSettings | ClusterHubSettings)


def load_settings(path: Path) -> HubSettings | ClusterHubSettings:
    """Read the file of either kind.

    Raises:
        pydantic.ValidationError: it is neither.
    """
    return _ANY.validate_json(path.read_text(encoding="utf-8"))
