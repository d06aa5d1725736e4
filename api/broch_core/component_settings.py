"""What every small service of a cluster is told in the same words: its certificate, its log, where it listens."""

from __future__ import annotations

from pathlib import Path

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ComponentSettings(BaseSettings):
    """Base of the settings of a service; each has a prefix of its own for what only it is told."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )

    tls: Path = Field(default=Path("/etc/broch/tls"), validation_alias=AliasChoices("tls", "BROCH_TLS"))
    """Folder with `tls.crt`, `tls.key` and `ca.crt`."""
    log_format: str = Field(
        default="json",
        pattern="^(text|json)$",
        validation_alias=AliasChoices("log_format", "BROCH_LOG_FORMAT"),
    )
    """How logs are written: `text` for people, `json` for collectors."""
    listen: str = "0.0.0.0"  # noqa: S104 - a pod has one address, and policies say who reaches it
    """Address that all its listeners have."""
