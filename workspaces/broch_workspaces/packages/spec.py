"""What the control plane and the package route say to each other; nothing else passes between them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Ulid = Annotated[str, StringConstraints(pattern=r"^[0-9A-Z]{26}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[
    str, StringConstraints(pattern=r"^(@[a-z0-9][a-z0-9._-]{0,99}/)?[A-Za-z0-9_][A-Za-z0-9._-]{0,199}$")
]
"""Of a package, in its ecosystem's canonical form (`canonical_name`); npm's may have a scope."""
Version = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+!-]{0,99}$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._+!-]{0,254}$")]
Digest = Annotated[str, StringConstraints(pattern=r"^sha(256:[0-9a-f]{64}|512:[0-9a-f]{128})$")]
Channel = Annotated[str, StringConstraints(pattern=r"^([a-z0-9][a-z0-9_.-]{0,63})?$")]
"""conda's, such as `conda-forge`; empty for the others."""
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Ecosystem(StrEnum):
    """Where a package is from."""

    PYPI = "pypi"
    CRAN = "cran"
    CONDA = "conda"
    NPM = "npm"


class PackageFile(_Model):
    """One file of one version."""

    name: FileName
    """For conda without its subdir."""
    digests: tuple[Digest, ...] = Field(min_length=1, max_length=4)
    """All of them must be those of the bytes that are served. npm knows SHA-512 alone, the others SHA-256."""
    size: int | None = Field(default=None, ge=0)
    """Bytes, where the registry says so."""
    subdir: Annotated[str, StringConstraints(pattern=r"^([a-z0-9][a-z0-9_-]{0,31})?$")] = ""
    """conda's platform, such as `linux-64`; else empty."""


class Package(_Model):
    """One version of one package that may be fetched: these files, with these bytes, and no others."""

    ecosystem: Ecosystem
    name: Name
    version: Version
    licence: str = Field(default="", max_length=200)
    """As the registry says it, SPDX where it is; empty: it does not say."""
    files: tuple[PackageFile, ...] = Field(min_length=1, max_length=500)
    channel: Channel = ""
    """conda's channel, such as `conda-forge`; else empty."""
    facts: dict[str, str] = Field(default_factory=dict, max_length=40)
    """What an index must say of this version and only the registry knows, each value JSON or text: `requires_python` (pypi),
    `Depends`, `Imports`, `LinkingTo`, `NeedsCompilation` (cran), `depends`, `build`, `build_number` (conda, by file),
    `dependencies`, `bin`, `engines` ... (npm)."""

    @model_validator(mode="after")
    def _channel_is_condas(self) -> Package:
        if (self.ecosystem is Ecosystem.CONDA) != bool(self.channel):
            raise ValueError("conda's packages have a channel, and no others do")
        return self


class Resource(_Model):
    """One address outside that a project nominated: it may be read, by GET, and nothing can be sent there."""

    slug: Slug
    """Name in the zone's address: `/resources/<slug>`."""
    url: str = Field(pattern=r"^https://[a-z0-9.-]{1,253}(:[0-9]{1,5})?/[\x21-\x7e]{0,1000}$")
    sha256: Sha256 | None = None
    """Of the bytes, where they do not change."""
    largest: int = Field(gt=0)
    """Bytes that it may have at most."""


class ProjectList(_Model):
    """What one project may fetch besides what all may."""

    project_id: Ulid
    packages: tuple[Package, ...] = ()
    resources: tuple[Resource, ...] = ()
    bytes_a_day: int = Field(default=20 << 30, gt=0)
    """Of all its workspaces together."""


class PackageLists(_Model):
    """Answer of `GET /internal/v1/package-lists?after=DIGEST&wait=SECONDS` (long poll)."""

    digest: str
    common: tuple[Package, ...] = ()
    """For every project that is open."""
    projects: tuple[ProjectList, ...] = ()
    """Of every project that is open: one that is not listed fetches nothing."""


class Fetch(_Model):
    """Said before the first byte of a file is served (`POST /internal/v1/package-fetches`): no record, no bytes."""

    project_id: Ulid
    pod: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,63}/[a-z0-9.-]{1,253}$")]
    """Namespace and name."""
    kind: Literal["package", "resource"]
    ecosystem: Ecosystem | None = None
    name: str = Field(max_length=255)
    """Of the package, or slug of the resource."""
    version: str = Field(default="", max_length=100)
    file: str = Field(default="", max_length=255)
    sha256: Sha256
    size: int = Field(ge=0)


class Denials(_Model):
    """What zones asked for and did not get, added up (`POST /internal/v1/package-denials`)."""

    class Denial(_Model):
        """One name that is not on the list."""

        project_id: Ulid
        ecosystem: Ecosystem
        name: str = Field(max_length=255, pattern=r"^[\x20-\x7e]*$")
        """As it was asked for, what cannot be printed replaced, cut at its length."""
        count: int = Field(ge=1)

    items: tuple[Denial, ...] = Field(max_length=1000)


class Wanted(_Model):
    """What the control plane asks the package route to look up (`POST /v1/resolve`, mTLS, certificate of web)."""

    ecosystem: Ecosystem
    name: Name
    version: Version
    channel: Channel = ""


class Resolved(_Model):
    """What the registry says of it, to be looked at by a person before it is allowed."""

    package: Package
    summary: str = Field(default="", max_length=500)
    released_at: str = Field(default="", max_length=40)
    """RFC 3339, where the registry says so."""
