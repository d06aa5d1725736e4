"""Settings: `BROCH_*` in the environment and one file (`broch.toml`). Each says unit, default and reason."""

from __future__ import annotations

import hashlib
import os
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

from pydantic import Field, SecretStr
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

SOCKET_PATH_LONGEST = 107
"""Bytes of a Unix socket path (sun_path less its final NUL, unix(7))."""
_LONGEST_SOCKET_BELOW_RUN = 40


def default_folder() -> Path:
    """Return the folder of state: `/var/lib/broch` for root, `~/.local/share/broch` for everybody else."""
    if os.geteuid() == 0:
        return Path("/var/lib/broch")
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "broch"


class Settings(BaseSettings):
    """Everything that can be set. `broch config` prints it with these reasons."""

    model_config = SettingsConfigDict(
        env_prefix="BROCH_", extra="forbid", use_attribute_docstrings=True, frozen=True
    )
    file: ClassVar[Path | None] = None

    folder: Path = Field(default_factory=default_folder)
    """Folder of all state (database, blobs, keys). One process at a time owns it."""
    port: int = Field(default=8000, ge=1024, le=65000)
    """TCP port of the shell on 127.0.0.1; workspaces use the next one. 8000 is what people try first."""
    database_url: SecretStr | None = None
    """SQLAlchemy URL. Unset: SQLite in `folder`, which needs no server. `postgresql+psycopg://...` in production."""
    database_owner_url: SecretStr | None = None
    """SQLAlchemy URL of the role that owns the schema, for migrations on PostgreSQL. Unset: the app's own URL."""
    log_name: str = Field(default="broch.localhost/audit", pattern=r"^[a-zA-Z0-9./_-]{1,100}$")
    """Name of the audit log in checkpoints and receipts. Say it once, before the first start: a log keeps its name."""
    audit_export: str | None = None
    """Where to export the audit log to as it grows: a folder, `s3://BUCKET/PREFIX` or `git:REPOSITORY`. Unset: nowhere."""
    audit_export_interval: timedelta = timedelta(minutes=1)
    """How often. A minute: what happened before it cannot be rewritten unseen, not even by who runs Broch."""
    demo: bool = True
    """Fill an empty folder with two projects and seven people, and sign in without passwords. Loopback only."""
    session_lifetime: timedelta = timedelta(hours=12)
    """How long one sign-in lasts. Half a day: a working day with a margin."""
    workspace_lifetime: timedelta = timedelta(hours=8)
    """Longest run of one workspace before it is stopped. A working day; less when a right ends sooner."""
    browser_alarm_bytes: int = Field(default=1 << 30, ge=1)
    """Bytes that one start of a workspace may send to browsers before administrators are told. 1 GiB: Lab takes 6 MB."""
    ticket_lifetime: timedelta = timedelta(seconds=60)
    """How long a download or view ticket is good. A minute: it is used at once, by a click."""
    upload_chunk_bytes: int = Field(default=8 << 20, ge=1 << 16)
    """Largest single PATCH of a resumable upload, bytes. 8 MiB: little to send again after a break."""
    airlock_file_bytes: int = Field(default=2 << 30, ge=1)
    """Largest file that may cross the airlock, bytes. 2 GiB: clamd cannot scan larger ones in one piece."""
    airlock_request_files: int = Field(default=200, ge=1)
    """Most files in one airlock request. 200: more cannot be reviewed by a person with care."""
    airlock_drafts: int = Field(default=20, ge=1)
    """Most drafts that one person may hold in one project. A runaway loop in a notebook stops here."""
    ingress_without_review: bool = False
    """Let imports that every check calls clean pass without reviewers. Off: people look first."""
    check_deadline: timedelta = timedelta(minutes=15)
    """How long checks of one request may retry before it is quarantined."""
    signature_age: timedelta = timedelta(days=2)
    """Virus signatures older than this make every file unscannable. Two days: freshclam's daily run may fail once."""
    retention_draft: timedelta = Field(default=timedelta(days=30), ge=timedelta(seconds=1))
    """How long a draft that nobody goes on with is kept, days. 30: then it is withdrawn and its files are deleted."""
    retention_quarantined: timedelta = Field(default=timedelta(days=30), ge=timedelta(seconds=1))
    """How long quarantined files are kept, days. 30: time to find out why, and no store of what is not wanted."""
    retention_held: timedelta = Field(default=timedelta(days=90), ge=timedelta(seconds=1))
    """How long files of a returned or failed request are kept, days. 90: a revision of a paper takes its time."""
    retention_released: timedelta = Field(default=timedelta(days=365), ge=timedelta(seconds=1))
    """How long released files can be fetched, days. A year: receipt, digests and audit record stay for good."""
    dataset_file_bytes: int = Field(default=1 << 40, ge=1)
    """Largest file of a dataset version, bytes. 1 TiB."""
    log_format: str = Field(default="text", pattern="^(text|json)$")
    """How logs are written: `text` for people, `json` for collectors."""
    metrics: bool = True
    """Serve `/metrics` (Prometheus text) on loopback."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order of precedence: arguments, environment, file."""
        del dotenv_settings, file_secret_settings
        named = os.environ.get("BROCH_CONFIG")
        return (
            init_settings,
            env_settings,
            TomlConfigSettingsSource(settings_cls, toml_file=Path(named) if named else cls.file),
        )

    @property
    def run(self) -> Path:
        """Folder of sockets and secrets of this run, short enough for Unix sockets."""
        near = self.folder / "run"
        if len(os.fsencode(near)) + _LONGEST_SOCKET_BELOW_RUN <= SOCKET_PATH_LONGEST:
            return near
        digest = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"broch-{digest}"

    @property
    def shell_origin(self) -> str:
        """Origin of control plane and airlock pages."""
        return f"http://broch.localhost:{self.port}"

    @property
    def hub_origin(self) -> str:
        """Origin of the hub; workspaces lie on names below its host."""
        return f"http://hub.broch.localhost:{self.port + 1}"

    @property
    def viewer_origin(self) -> str:
        """Origin of rendered files under review: without cookies, without scripts, framed by the shell alone."""
        return f"http://viewer.broch.localhost:{self.port}"

    def store_url(self) -> str:
        """Return the SQLAlchemy URL in force."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.folder / 'broch.sqlite'}"
