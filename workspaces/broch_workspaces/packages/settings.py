"""Settings of the package route: `BROCH_PACKAGES_*`, and where its certificate and its token lie."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated

from pydantic import AliasChoices, Field, StringConstraints
from pydantic_settings import SettingsConfigDict

from broch_core.component_settings import ComponentSettings
from broch_workspaces.packages.spec import Ecosystem

Base = Annotated[
    str, StringConstraints(pattern=r"^https://[a-z0-9.-]{1,253}(:[0-9]{1,5})?(/[A-Za-z0-9._~-]{1,100}){0,8}$")
]
"""Address of a registry, https, without a slash at its end."""
HostPort = Annotated[str, StringConstraints(pattern=r"^[a-z0-9.-]{1,253}(:[0-9]{1,5})?$")]


class PackagesSettings(ComponentSettings):
    """Everything that can be set. Registries are said here and nowhere else: zones name packages, never addresses."""

    model_config = SettingsConfigDict(env_prefix="BROCH_PACKAGES_", env_parse_none_str="null")

    secrets: Path = Field(
        default=Path("/etc/broch/secrets"), validation_alias=AliasChoices("secrets", "BROCH_SECRETS")
    )
    """Folder with the file `packages`: the token that the control plane knows the route by."""
    control_plane: str = Field(pattern=r"^https://[a-z0-9.-]{1,253}:[0-9]{1,5}$")
    """Address of the internal API, such as `https://broch-web:8444`."""
    gateway_name: str = "broch-gateway"
    """DNS name in the certificate of the gateway: who asks for zones."""
    web_name: str = "broch-web"
    """DNS name in the certificate of web: who may have a package looked up."""
    port: int = Field(default=8449, ge=0, le=65535)
    """TCP port of gateway and web, with certificates on both sides."""
    own_port: int = Field(default=8448, ge=0, le=65535)
    """TCP port of `/healthz` and `/metrics`."""
    shown_at: str = Field(default="http://127.0.0.1:8899", pattern=r"^https?://[a-z0-9.:-]{1,253}$")
    """Where programs in a zone reach the gateway: npm's index must say whole addresses."""

    pypi: Base | None = "https://pypi.org"
    """Registry of Python packages. None (in the environment: `null`): there is none."""
    pypi_hosts: tuple[HostPort, ...] = ("files.pythonhosted.org",)  # machine-path: the public one
    """Further hosts that its files may be on."""
    cran: Base | None = "https://cloud.r-project.org"
    """Mirror of CRAN."""
    cran_hosts: tuple[HostPort, ...] = ()
    """Further hosts that its files may be on."""
    conda: Base | None = "https://conda.anaconda.org"  # machine-path: the public one
    """Place of conda's channels."""
    conda_hosts: tuple[HostPort, ...] = ("binstar-cio-packages-prod.s3.amazonaws.com",)
    """Further hosts that its files may be on."""
    conda_subdirs: tuple[str, ...] = ("noarch", "linux-64")
    """Platforms that are looked up."""
    npm: Base | None = "https://registry.npmjs.org"  # machine-path: the public one
    """Registry of JavaScript packages."""
    npm_hosts: tuple[HostPort, ...] = ()
    """Further hosts that its files may be on."""
    authorities: Path | None = None
    """File with the authorities that registries' certificates may be of. None: the system's."""
    inside: tuple[IPv4Network | IPv6Network, ...] = ()
    """Networks of mirrors on this side. Everything that is not globally routable is refused otherwise."""
    proxy: Base | None = None
    """HTTPS proxy to go out by. It then looks up names, so it must itself refuse what is inside."""

    scratch: Path = Path("/var/lib/broch-packages")
    """Folder for files on their way, emptied at every start. An emptyDir is right."""
    scratch_bytes: int = Field(default=20 << 30, ge=1)
    """Most bytes in it: files that are fetched, and those that are kept because they may be asked for again."""
    largest_file: int = Field(default=4 << 30, ge=1)
    """Largest file of a package, bytes. 4 GiB: the largest wheels of machine learning have 3."""
    largest_index: int = Field(default=1 << 30, ge=1)
    """Largest answer about packages, bytes: conda-forge says of one platform 300 MB."""
    index_seconds: float = Field(default=3600.0, ge=0)
    """How long an index of conda that was fetched is good for looking up further packages."""
    downloads: int = Field(default=6, ge=1)
    """Files fetched at once."""
    project_downloads: int = Field(default=3, ge=1)
    """Most of them for one project. Half: a project whose files come slowly does not hold up all others alone."""
    requests: int = Field(default=256, ge=1)
    """Requests under way at once."""
    project_requests: int = Field(default=64, ge=1)
    """Most of them from the workspaces of one project. A quarter, as at each gateway."""
    connect_seconds: float = Field(default=10.0, gt=0)
    """How long a registry may take to accept a connection."""
    idle_seconds: float = Field(default=60.0, gt=0)
    """How long a registry may say nothing in the middle of an answer, and a client take nothing."""
    fetch_seconds: float = Field(default=1800.0, gt=0)
    """How long one file may take in all."""
    resource_seconds: float = Field(default=600.0, ge=0)
    """How long the bytes of a nominated address are good for. Its owner sees each request, and a zone chooses the moment."""
    failed_seconds: float = Field(default=60.0, ge=0)
    """How long a file that could not be had is not asked for again, whatever a zone does."""
    stale_seconds: float = Field(default=300.0, gt=0)
    """Lists that the control plane has not confirmed for so long are no lists: who was frozen must be out soon."""
    wait_seconds: float = Field(default=25.0, ge=0, le=30)
    """How long the control plane may hold back an answer that says nothing new."""
    retry_seconds: float = Field(default=2.0, gt=0)
    """How long to wait after an answer that did not come."""
    denials_seconds: float = Field(default=10.0, gt=0)
    """How often the control plane is told what was asked for in vain."""

    def base(self, ecosystem: Ecosystem) -> str | None:
        """Return the address of a registry."""
        found: str | None = getattr(self, ecosystem.value)
        return found

    def hosts(self, ecosystem: Ecosystem) -> frozenset[str]:
        """Return the hosts, with ports other than 443, that an ecosystem's index and files may be on."""
        base = self.base(ecosystem)
        further: tuple[str, ...] = getattr(self, f"{ecosystem.value}_hosts")
        return frozenset(further) | ({base.removeprefix("https://").partition("/")[0]} if base else set())
