"""Datasets, immutable versions, grants, permissions to export."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import BigInteger, Column
from sqlmodel import Field, SQLModel

from broch_core.clock import utc_now
from broch_core.ids import new_id
from broch_core.lifecycles import VersionStatus
from broch_core.store.types import choice, moment


class GrantKind(StrEnum):
    """How a project may use a dataset version."""

    MOUNT = "mount"
    VALIDATION_ONLY = "validation-only"


class Dataset(SQLModel, table=True):
    """Data that somebody answers for."""

    __tablename__ = "dataset"

    id: str = Field(default_factory=new_id, primary_key=True, max_length=26)
    slug: str = Field(max_length=40, unique=True)
    """Name of its folder in workspaces: `/data/<slug>`."""
    title: str = Field(max_length=200)
    description: str = Field(default="", max_length=4000)
    licence: str = Field(default="", max_length=1000)
    owner_id: str = Field(foreign_key="person.id", max_length=26)
    """Information asset owner."""
    created_at: datetime = moment(default_factory=utc_now)


class DatasetVersion(SQLModel, table=True):
    """Bytes that never change once sealed: a manifest of SHA-256."""

    __tablename__ = "dataset_version"

    id: str = Field(default_factory=new_id, primary_key=True, max_length=26)
    dataset_id: str = Field(foreign_key="dataset.id", max_length=26, index=True)
    number: int
    status: VersionStatus = choice(VersionStatus, default=VersionStatus.OPEN)
    version: int = 1
    manifest_sha256: str | None = Field(default=None, max_length=64)
    file_count: int = 0
    total_bytes: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    created_at: datetime = moment(default_factory=utc_now)
    sealed_at: datetime | None = moment(default=None)
    verified_at: datetime | None = moment(default=None)
    """When its bytes were last read again and fitted the manifest."""
    suspended_reason: str | None = Field(default=None, max_length=500)


class DatasetFile(SQLModel, table=True):
    """One file of a version."""

    __tablename__ = "dataset_file"

    version_id: str = Field(primary_key=True, foreign_key="dataset_version.id", max_length=26)
    path: str = Field(primary_key=True, max_length=500)
    """Relative, `/`-separated, hygienic."""
    size: int = Field(sa_column=Column(BigInteger, nullable=False))
    sha256: str = Field(max_length=64)


class Grant(SQLModel, table=True):
    """A project may use a dataset version until a day."""

    __tablename__ = "data_grant"

    id: str = Field(default_factory=new_id, primary_key=True, max_length=26)
    project_id: str = Field(foreign_key="project.id", max_length=26, index=True)
    version_id: str = Field(foreign_key="dataset_version.id", max_length=26, index=True)
    kind: GrantKind = choice(GrantKind, default=GrantKind.MOUNT)
    until: date
    """Last day, included, in UTC."""
    given_by: str = Field(foreign_key="person.id", max_length=26)
    given_at: datetime = moment(default_factory=utc_now)
    revoked_at: datetime | None = moment(default=None)


class ExportPermission(SQLModel, table=True):
    """The asset owner of a dataset lets a person submit egress from a project that uses it (`egress:submit`)."""

    __tablename__ = "export_permission"

    id: str = Field(default_factory=new_id, primary_key=True, max_length=26)
    project_id: str = Field(foreign_key="project.id", max_length=26, index=True)
    dataset_id: str = Field(foreign_key="dataset.id", max_length=26)
    person_id: str = Field(foreign_key="person.id", max_length=26, index=True)
    given_by: str = Field(foreign_key="person.id", max_length=26)
    given_at: datetime = moment(default_factory=utc_now)
    withdrawn_at: datetime | None = moment(default=None)
