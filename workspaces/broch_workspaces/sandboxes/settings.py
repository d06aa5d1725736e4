"""Settings of the broker: `BROCH_SANDBOXES_*`, and where its certificate and web's token lie."""

from __future__ import annotations

from pathlib import Path

from pydantic import AliasChoices, Field
from pydantic_settings import SettingsConfigDict

from broch_core.component_settings import ComponentSettings
from broch_workspaces.sandboxes.order import CHECKS, RENDER


class BrokerSettings(ComponentSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(env_prefix="BROCH_SANDBOXES_")

    secrets: Path = Field(
        default=Path("/etc/broch/secrets"), validation_alias=AliasChoices("secrets", "BROCH_SECRETS")
    )
    """Folder with the file `sandboxes`: the token that web is known by."""
    port: int = Field(default=8446, ge=0, le=65535)
    """TCP port for web."""
    pods_port: int = Field(default=8447, ge=0, le=65535)
    """TCP port that sandboxes reach, and nothing else."""
    address: str = Field(pattern=r"^[0-9a-f.:]{2,45}$")
    """IP address of this broker's own pod (`status.podIP`): its sandboxes have no name service, and their tokens are
    known here alone."""
    name: str = Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")
    """Name in this broker's certificate, such as `broch-sandboxes`."""
    owner: str = Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
    """Name of this broker's pod (`metadata.name`); a label of what it makes, so that it finds what it left behind."""
    namespace: str = Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
    """Namespace of the sandboxes, such as `broch-sandboxes`. Nothing else is in it."""
    image: str = Field(pattern=r"^[a-z0-9.:/_-]{1,300}@sha256:[0-9a-f]{64}$")
    """The image `broch`, by digest."""
    python: str = Field(default="/opt/venv/bin/python", pattern=r"^/[A-Za-z0-9._/-]{1,200}$")
    """Interpreter inside the image."""
    runtime_class: str = Field(default="", pattern=r"^[a-z0-9.-]{0,253}$")
    """RuntimeClass (gVisor, Kata) where the platform has one. Empty: the nodes' own."""
    user_namespaces: bool = True
    """`hostUsers: false`. Off only where the nodes cannot: a sandbox's bound on processes is then the kubelet's."""
    node_selector: dict[str, str] = Field(default_factory=dict)
    """Labels of nodes that sandboxes run on, as JSON. Empty: any."""
    kubeconfig: Path | None = None
    """How to reach the API server outside a cluster, for tests. Unset: the pod's own account."""

    checks: int = Field(default=4, ge=1, le=100)
    """Sandboxes of checks at once; further ones wait. Each may take 1.25 GiB of memory."""
    renders: int = Field(default=4, ge=1, le=100)
    """Sandboxes of the viewer at once. Apart from those of checks, which take minutes while a reviewer waits."""
    warm: int = Field(default=1, ge=0, le=20)
    """Pods that wait for a job, each used once. One: the first page then opens without the wait for a pod."""
    waiting: int = Field(default=64, ge=1)
    """Requests that may wait for their turn, of each kind."""
    checks_wait_seconds: float = Field(default=120.0, gt=0)
    """How long a request of checks waits for its turn; then it is told so, and comes again by its outbox."""
    render_wait_seconds: float = Field(default=15.0, gt=0)
    """How long a reviewer waits for a turn."""
    start_seconds: float = Field(default=60.0, gt=0)
    """How long a pod may take until it calls back. It takes 1-2 s where the image is on the node."""
    most_seconds: float = Field(default=3600.0, gt=0)
    """Longest life of a sandbox with a job; web ends it sooner (`Policy.seconds_for`). An hour."""
    warm_seconds: float = Field(default=900.0, gt=0)
    """How long a pod waits for a job before another takes its place. A quarter of an hour."""
    sweep_seconds: float = Field(default=60.0, gt=0)
    """How often pods are looked for that belong to nobody."""
    inputs_bytes: int = Field(default=8 << 30, ge=1)
    """All files of one request together, bytes; more cannot be checked. 8 GiB on the node's disk, for each sandbox."""
    memory_bytes: int = Field(default=1280 << 20, ge=64 << 20)
    """Memory of the module's container. 1 GiB for its data (as on one machine) and a quarter for the rest."""
    cpu: float = Field(default=1.0, gt=0)
    """Cores of a sandbox. One: the module has one thread that works."""
    connections: int = Field(default=256, ge=8)
    """Most connections at once, for each of the two ports."""
    connections_each: int = Field(default=2, ge=1)
    """Most connections from one sandbox's address: it has one, and one that is closing."""

    @property
    def token_file(self) -> Path:
        """File of the token that web is known by."""
        return self.secrets / "sandboxes"

    def slots(self) -> dict[str, int]:
        """Return how many sandboxes of each kind may run at once."""
        return {CHECKS: self.checks, RENDER: self.renders}

    def wait_seconds(self) -> dict[str, float]:
        """Return how long a request of each kind waits for its turn."""
        return {CHECKS: self.checks_wait_seconds, RENDER: self.render_wait_seconds}

    @property
    def deadline_seconds(self) -> int:
        """`activeDeadlineSeconds` of every sandbox: waiting, its job, and a margin, whatever happens to the broker."""
        return int(self.start_seconds + self.warm_seconds + self.most_seconds) + 60
