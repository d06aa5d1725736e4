"""What zones may fetch from outside: packages, nominated addresses, and what became of it. Entries are never deleted."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, CheckConstraint, Column, Index, text
from sqlmodel import Field, SQLModel

from broch_core.clock import utc_now
from broch_core.ids import new_id
from broch_core.lifecycles import AllowanceStatus
from broch_core.store.types import choice, moment

OPEN = "status IN ('proposed', 'allowed')"
"""Entries that stand: of one version of a package there is one such on a list."""


class Lookup(StrEnum):
    """Whether the registry was asked about an entry."""

    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"


class Use(StrEnum):
    """What became of what a zone asked for."""

    FETCHED = "fetched"
    REFUSED = "refused"


class ListedPackage(SQLModel, table=True):
    """One version of one package on the list of a project, or of all: asked for, allowed, or what became of that."""

    __tablename__ = "listed_package"
    __table_args__ = (
        CheckConstraint(
            "ecosystem IN ('pypi', 'cran', 'conda', 'npm')", name="listed_package_ecosystem_known"
        ),
        CheckConstraint("(ecosystem = 'conda') = (channel <> '')", name="listed_package_channel_condas"),
        CheckConstraint("status <> 'allowed' OR lookup = 'done'", name="listed_package_allowed_whole"),
        CheckConstraint(
            "status = 'proposed' OR decided_at IS NOT NULL", name="listed_package_decided_by_somebody"
        ),
        CheckConstraint(
            "(status = 'removed') = (removed_at IS NOT NULL)", name="listed_package_removed_by_somebody"
        ),
        Index(
            "listed_package_once",
            "project_id", "ecosystem", "channel", "name", "release",
            unique=True, sqlite_where=text(OPEN), postgresql_where=text(OPEN),
        ),
        Index(
            "listed_package_once_for_all",
            "ecosystem", "channel", "name", "release",
            unique=True,
            sqlite_where=text(f"project_id IS NULL AND {OPEN}"),
            postgresql_where=text(f"project_id IS NULL AND {OPEN}"),
        ),
    )  # fmt: skip

    id: str = Field(default_factory=new_id, primary_key=True, max_length=26)
    project_id: str | None = Field(default=None, foreign_key="project.id", max_length=26, index=True)
    """Unset: for all projects."""
    ecosystem: str = Field(max_length=16)
    channel: str = Field(default="", max_length=64)
    """conda's; else empty."""
    name: str = Field(max_length=302)
    """Canonical."""
    release: str = Field(max_length=100)
    """The version of the package; `version` counts changes of this row."""
    licence: str = Field(default="", max_length=200)
    files: list[dict[str, Any]] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    """`broch_workspaces.packages.spec.PackageFile` each; empty until the registry was asked."""
    facts: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    pinned: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    """Digests that a lock file gave: only files with one of them may be fetched. Empty: it gave none."""
    status: AllowanceStatus = choice(AllowanceStatus, default=AllowanceStatus.PROPOSED, index=True)
    version: int = 1
    lookup: Lookup = choice(Lookup, default=Lookup.WAITING)
    problem: str | None = Field(default=None, max_length=500)
    """Why the registry's answer does not do, or why a person has to look."""
    lock_sha256: str | None = Field(default=None, max_length=64, index=True)
    """Of the lock file that it came with."""
    lock_name: str | None = Field(default=None, max_length=255)
    why: str = Field(default="", max_length=1000)
    asked_by: str = Field(foreign_key="person.id", max_length=26)
    asked_at: datetime = moment(default_factory=utc_now)
    allow_by: str | None = Field(default=None, foreign_key="person.id", max_length=26)
    """Admin who added it: it is allowed in this name as soon as the registry's answer fits."""
    licence_reason: str = Field(default="", max_length=1000)
    """Why a licence that is not on the policy's list may be used all the same."""
    decided_by: str | None = Field(default=None, foreign_key="person.id", max_length=26)
    decided_at: datetime | None = moment(default=None)
    reason: str = Field(default="", max_length=1000)
    """Said to who asked, where it was declined or removed."""
    removed_by: str | None = Field(default=None, foreign_key="person.id", max_length=26)
    removed_at: datetime | None = moment(default=None)


class NominatedResource(SQLModel, table=True):
    """One address outside that a project may read, or asked for."""

    __tablename__ = "nominated_resource"
    __table_args__ = (
        CheckConstraint("url LIKE 'https://%'", name="nominated_resource_https"),
        CheckConstraint("largest > 0", name="nominated_resource_bounded"),
        CheckConstraint(
            "status = 'proposed' OR decided_at IS NOT NULL", name="nominated_resource_decided_by_somebody"
        ),
        CheckConstraint(
            "(status = 'removed') = (removed_at IS NOT NULL)", name="nominated_resource_removed_by_somebody"
        ),
        Index(
            "nominated_resource_once",
            "project_id", "slug",
            unique=True, sqlite_where=text(OPEN), postgresql_where=text(OPEN),
        ),
    )  # fmt: skip

    id: str = Field(default_factory=new_id, primary_key=True, max_length=26)
    project_id: str = Field(foreign_key="project.id", max_length=26, index=True)
    slug: str = Field(max_length=63)
    """Name in the zone's address: `/resources/<slug>`."""
    url: str = Field(max_length=1300)
    sha256: str | None = Field(default=None, max_length=64)
    largest: int = Field(sa_column=Column(BigInteger, nullable=False))
    """Bytes that it may have at most."""
    status: AllowanceStatus = choice(AllowanceStatus, default=AllowanceStatus.PROPOSED)
    version: int = 1
    why: str = Field(default="", max_length=1000)
    asked_by: str = Field(foreign_key="person.id", max_length=26)
    asked_at: datetime = moment(default_factory=utc_now)
    decided_by: str | None = Field(default=None, foreign_key="person.id", max_length=26)
    decided_at: datetime | None = moment(default=None)
    reason: str = Field(default="", max_length=1000)
    removed_by: str | None = Field(default=None, foreign_key="person.id", max_length=26)
    removed_at: datetime | None = moment(default=None)


class PackageUse(SQLModel, table=True):
    """What zones of a project fetched or were refused, added up for people; each time is in the audit log."""

    __tablename__ = "package_use"
    __table_args__ = (
        CheckConstraint("count > 0", name="package_use_counted"),
        Index("package_use_once", "project_id", "use", "ecosystem", "name", "release", unique=True),
    )

    id: str = Field(default_factory=new_id, primary_key=True, max_length=26)
    project_id: str = Field(foreign_key="project.id", max_length=26)
    use: Use = choice(Use)
    ecosystem: str = Field(max_length=16)
    """Empty: an outside address, whose slug is the name."""
    name: str = Field(max_length=255)
    release: str = Field(default="", max_length=100)
    count: int = Field(default=1, sa_column=Column(BigInteger, nullable=False))
    bytes: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    first_at: datetime = moment(default_factory=utc_now)
    last_at: datetime = moment(default_factory=utc_now, index=True)
