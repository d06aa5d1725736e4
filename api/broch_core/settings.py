"""Settings: `BROCH_*` in the environment and one file (`broch.toml`). Each says unit, default and reason."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

SOCKET_PATH_LONGEST = 107
"""Bytes of a Unix socket path (sun_path less its final NUL, unix(7))."""
_LONGEST_SOCKET_BELOW_RUN = 40
_ORIGIN = r"^https://[a-z0-9.-]{1,253}(:[0-9]{1,5})?$"
_ADDRESS = r"^[A-Za-z0-9.-]{1,253}:[0-9]{1,5}$"


def _seconds(said: object) -> object:
    """Take `60` and `60 s` for seconds: in the environment a number is text, and `broch config` prints the second."""
    found = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)(?: ?s)?", said) if isinstance(said, str) else None
    return float(found[1]) if found else said


Span = Annotated[timedelta, BeforeValidator(_seconds)]
"""A length of time: ISO 8601 (`PT12H`) or seconds."""


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

    mode: Literal["embedded", "cluster"] = "embedded"
    """`embedded`: everything on this machine, for trying Broch. `cluster`: one service of the Helm chart."""
    folder: Path = Field(default_factory=default_folder)
    """Folder of all state (database, blobs, keys). One process at a time owns it."""
    port: int = Field(default=8000, ge=1024, le=65000)
    """TCP port of the shell on 127.0.0.1; workspaces use the next one. 8000 is what people try first."""
    database_url: SecretStr | None = None
    """SQLAlchemy URL. Unset: SQLite in `folder`, which needs no server. `postgresql+psycopg://...` in production."""
    database_owner_url: SecretStr | None = None
    """SQLAlchemy URL of the role that owns the schema, for migrations on PostgreSQL. Unset: the app's own URL."""
    listen: str = "127.0.0.1"
    """Address that the web service listens on. Loopback, unless TLS stands before it (`cluster`)."""
    public_url: str | None = Field(default=None, pattern=_ORIGIN)
    """Origin of control plane and airlock pages as browsers see it, such as `https://tre.example.org` (`cluster`)."""
    hub_url: str | None = Field(default=None, pattern=_ORIGIN)
    """Origin of the hub; each workspace has a name one label below its host (`cluster`)."""
    viewer_url: str | None = Field(default=None, pattern=_ORIGIN)
    """Origin of rendered files under review (`cluster`)."""
    tls: Path | None = None
    """Folder with `tls.crt`, `tls.key` and `ca.crt` of this component (`cluster`)."""
    secrets: Path | None = None
    """Folder with one file for each service token. Unset: those of this run, made by the supervisor."""
    keys: Path | None = None
    """Folder of the signing keys. Unset: `keys` in `folder`."""
    blobs: str | None = Field(default=None, pattern=r"^s3://[a-z0-9.-]{3,63}(/[A-Za-z0-9._/-]{0,200})?$")
    """Where bytes of airlock requests lie: `s3://BUCKET/PREFIX`. Unset: a folder, which needs no server."""
    s3_endpoint: str | None = None
    """Address of the S3 server, for others than AWS. Credentials come from the environment, as boto3 reads them."""
    s3_ca: Path | None = None
    """Certificate authority of that server, PEM. Unset: those of the system."""
    s3_kms_key: str | None = None
    """Key that S3 encrypts with (SSE-KMS). Unset: the bucket's own default."""
    hub_api: str | None = None
    """Address of the hub's API for this service, such as `https://broch-hub:8081` (`cluster`)."""
    sandboxes: str | None = Field(default=None, pattern=_ADDRESS)
    """`HOST:PORT` of the broker that makes a throw-away pod for each check. Unset: sandboxes on this machine."""
    clamd: str | None = Field(default=None, pattern=_ADDRESS)
    """`HOST:PORT` of the scanner's relay. Unset: a scanner on this machine, by its Unix socket."""
    clamd_test_signatures: bool = False
    """The scanner has only signatures of our own (EICAR), of which it tells no date: for tests of an installation."""
    packages_url: str | None = Field(default=None, pattern=_ORIGIN)
    """Address of the package route for this service, such as `https://broch-packages:8449`. Unset: there is none."""
    package_bytes_a_day: int = Field(default=20 << 30, ge=1)
    """What all workspaces of a project may fetch together in a day, bytes, unless the project says otherwise. 20 GiB."""
    package_licences: tuple[str, ...] = (
        "MIT", "MIT-0", "BSD-2-Clause", "BSD-3-Clause", "0BSD", "ISC", "Apache-2.0", "PSF-2.0", "Python-2.0", "Zlib",
        "Unlicense", "CC0-1.0", "BSL-1.0", "MPL-2.0", "Artistic-2.0", "HPND", "BlueOak-1.0.0", "NCSA", "Unicode-3.0",
        "GPL-2.0-only", "GPL-2.0-or-later", "GPL-3.0-only", "GPL-3.0-or-later",
        "LGPL-2.1-only", "LGPL-2.1-or-later", "LGPL-3.0-only", "LGPL-3.0-or-later",
    )  # fmt: skip
    """Licences (SPDX ids) of packages that need no reason. Those of the OSI that ask nothing of who only runs them."""
    oidc_issuer: str | None = Field(default=None, pattern=r"^https://[^\s?#]{3,280}$")
    """OpenID provider that people sign in with, such as `https://id.example.org/realms/broch` (`cluster`)."""
    oidc_client_id: str = "broch"
    """Name of this client at the provider; its secret is the file `oidc` in `secrets`."""
    oidc_ca: Path | None = None
    """Certificate authority of the provider, PEM. Unset: those of the system."""
    oidc_mfa: tuple[str, ...] = ("otp", "hwk", "mfa", "webauthn")
    """Values of `amr` or `acr`, one of which the provider must state: a second factor was used."""
    oidc_admin_group: str = "broch-admins"
    """Group at the provider whose members are platform admins; the other roles have `broch-` groups alike."""
    dataset_store: dict[str, Any] | None = None
    """Where zones mount Broch's own dataset store from, a data source as JSON (`docs/cluster.md`); one folder a version."""
    profiles: tuple[dict[str, Any], ...] = ()
    """Workspace profiles on a cluster, as JSON: name, title, image, cores, memory, devices, hours. The first is usual."""
    volumes_id_mapped: bool = False
    """Volumes for homes and projects support id-mapped mounts: pods then run in user namespaces of their own."""
    zone_home_bytes: int = Field(default=20 << 30, ge=1 << 20)
    """Size of a person's home in a zone, bytes. 20 GiB: notebooks and their caches."""
    zone_project_bytes: int = Field(default=100 << 30, ge=1 << 20)
    """Size of a zone's shared folder, bytes."""
    zone_imports_bytes: int = Field(default=20 << 30, ge=1 << 20)
    """Size of a zone's imports, bytes."""
    zone_quota: dict[str, Any] = Field(default_factory=dict)
    """What all workspaces of a project may use together, unless the project says otherwise (`cpu`, `memory_bytes`, ...)."""
    log_name: str = Field(default="broch.localhost/audit", pattern=r"^[a-zA-Z0-9./_-]{1,100}$")
    """Name of the audit log in checkpoints and receipts. Say it once, before the first start: a log keeps its name."""
    audit_export: str | None = None
    """Where to export the audit log to as it grows: a folder, `s3://BUCKET/PREFIX` or `git:REPOSITORY`. Unset: nowhere."""
    audit_export_interval: Span = timedelta(minutes=1)
    """How often. A minute: what happened before it cannot be rewritten unseen, not even by who runs Broch."""
    demo: bool = True
    """Fill an empty folder with two projects and seven people, and sign in without passwords. Loopback only."""
    session_lifetime: Span = timedelta(hours=12)
    """How long one sign-in lasts. Half a day: a working day with a margin."""
    workspace_lifetime: Span = timedelta(hours=8)
    """Longest run of one workspace before it is stopped. A working day; less when a right ends sooner."""
    workspace_idle: Span = Field(default=timedelta(minutes=60), ge=timedelta(0))
    """How long nothing may go on in a workspace before it is stopped; 0: for ever. An hour: lunch. Projects may differ."""
    workspace_idle_warning: Span = Field(default=timedelta(minutes=10), ge=timedelta(0))
    """How long before that its page says so, and saves. Ten minutes: time to come back from the next room."""
    browser_alarm_bytes: int = Field(default=1 << 30, ge=1)
    """Bytes that one start of a workspace may send to browsers before administrators are told. 1 GiB: Lab takes 6 MB."""
    ticket_lifetime: Span = timedelta(seconds=60)
    """How long a download or view ticket is good. A minute: it is used at once, by a click."""
    upload_chunk_bytes: int = Field(default=8 << 20, ge=1 << 16)
    """Largest single PATCH of a resumable upload, bytes. 8 MiB: little to send again after a break."""
    airlock_file_bytes: int = Field(default=2 << 30, ge=1)
    """Largest file that may cross the airlock, bytes. 2 GiB: clamd cannot scan larger ones in one piece."""
    airlock_request_files: int = Field(default=200, ge=1)
    """Most files in one airlock request. 200: more cannot be reviewed by a person with care."""
    airlock_request_bytes: int = Field(default=8 << 30, ge=1)
    """Most bytes of all files in one airlock request: they are checked together. 8 GiB; on a cluster what a sandbox takes."""
    airlock_drafts: int = Field(default=20, ge=1)
    """Most drafts that one person may hold in one project. A runaway loop in a notebook stops here."""
    ingress_without_review: bool = False
    """Let imports that every check calls clean pass without reviewers. Off: people look first."""
    check_deadline: Span = timedelta(minutes=15)
    """How long checks of one request may retry before it is quarantined."""
    signature_age: Span = timedelta(days=2)
    """Virus signatures older than this make every file unscannable. Two days: freshclam's daily run may fail once."""
    retention_draft: Span = Field(default=timedelta(days=30), ge=timedelta(seconds=1))
    """How long a draft that nobody goes on with is kept, days. 30: then it is withdrawn and its files are deleted."""
    retention_quarantined: Span = Field(default=timedelta(days=30), ge=timedelta(seconds=1))
    """How long quarantined files are kept, days. 30: time to find out why, and no store of what is not wanted."""
    retention_held: Span = Field(default=timedelta(days=90), ge=timedelta(seconds=1))
    """How long files of a returned or failed request are kept, days. 90: a revision of a paper takes its time."""
    retention_released: Span = Field(default=timedelta(days=365), ge=timedelta(seconds=1))
    """How long released files can be fetched, days. A year: receipt, digests and audit record stay for good."""
    dataset_file_bytes: int = Field(default=1 << 40, ge=1)
    """Largest file of a dataset version, bytes. 1 TiB."""
    log_format: str = Field(default="text", pattern="^(text|json)$")
    """How logs are written: `text` for people, `json` for collectors."""
    metrics: bool = True
    """Serve `/metrics` (Prometheus text): on one machine to loopback, on a cluster to collectors."""

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
        return self.public_url or f"http://broch.localhost:{self.port}"

    @property
    def hub_origin(self) -> str:
        """Origin of the hub; workspaces lie on names below its host."""
        return self.hub_url or f"http://hub.broch.localhost:{self.port + 1}"

    @property
    def viewer_origin(self) -> str:
        """Origin of rendered files under review: without cookies, without scripts, framed by the shell alone."""
        return self.viewer_url or f"http://viewer.broch.localhost:{self.port}"

    @property
    def secrets_folder(self) -> Path:
        """Folder of the service tokens in force."""
        return self.secrets or self.run / "secrets"

    @property
    def keys_folder(self) -> Path:
        """Folder of the signing keys in force."""
        return self.keys or self.folder / "keys"

    @property
    def on_cluster(self) -> bool:
        """Whether this is a service of the Helm chart."""
        return self.mode == "cluster"

    @model_validator(mode="after")
    def _whole(self) -> Self:
        """Refuse half a cluster: what is missing would show late, or as an open door."""
        if self.mode == "cluster":
            needed = (
                "public_url", "hub_url", "viewer_url", "tls", "secrets", "database_url", "blobs",
                "hub_api", "sandboxes", "clamd", "oidc_issuer", "dataset_store", "profiles",
            )  # fmt: skip
            if missing := [name for name in needed if not getattr(self, name)]:
                raise ValueError(f"mode 'cluster' also needs: {', '.join(missing)}")
            if self.demo:
                raise ValueError("mode 'cluster' has no demo: set demo to false")
        return self

    def store_url(self) -> str:
        """Return the SQLAlchemy URL in force."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.folder / 'broch.sqlite'}"
