"""What the hub process is told by the supervisor: a small JSON file with paths and ports, no secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field


class HubSettings(BaseModel):
    """Where the hub keeps its state, where it listens, and where the others are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    state_dir: Path
    """Folder of the whole installation; the hub owns `hub/` in it."""
    run_dir: Path
    """Sockets and secrets of this run (0700); unix socket paths below it must stay under 108 bytes."""
    port: int = Field(gt=0, lt=65535)
    """TCP port of the shell (control plane) on 127.0.0.1; workspaces are on the next one."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the file that the supervisor wrote."""
        return cls.model_validate_json(path.read_text(encoding="utf-8"))

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

    def secret(self, name: str) -> str:
        """Return the token in `run/secrets/<name>` (0600, made by the supervisor at every start).

        Raises:
            ValueError: the file is empty.
        """
        token = (self.run_dir / "secrets" / name).read_text(encoding="ascii").strip()
        if not token:
            raise ValueError(f"run/secrets/{name} is empty")
        return token
