"""Projects and their members. Memberships are history: ended, never deleted, since review must stay independent."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, Column
from sqlmodel import Field, SQLModel

from broch_core.actors import ProjectRole
from broch_core.clock import utc_now
from broch_core.confinement import BrowserPolicy
from broch_core.ids import new_id
from broch_core.lifecycles import ProjectStatus
from broch_core.store.types import choice, moment


class UserNamespaces(StrEnum):
    """Whether workspaces of a project must run in user namespaces of their own (`hostUsers: false`)."""

    WHERE_POSSIBLE = "where-possible"
    REQUIRED = "required"


class Project(SQLModel, table=True):
    """An approved application."""

    __tablename__ = "project"

    id: str = Field(default_factory=new_id, primary_key=True, max_length=26)
    slug: str = Field(max_length=40, unique=True)
    name: str = Field(max_length=120)
    purpose: str = Field(default="", max_length=2000)
    status: ProjectStatus = choice(ProjectStatus, default=ProjectStatus.PLANNED)
    browser_policy: BrowserPolicy = choice(BrowserPolicy, default=BrowserPolicy.WARN)
    """What a browser without `Connection-Allowlist` is told."""
    user_namespaces: UserNamespaces = choice(UserNamespaces, default=UserNamespaces.WHERE_POSSIBLE)
    """`required`: data on a file system without id-mapped mounts is refused. On one machine every sandbox has one."""
    quota: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    """What all workspaces together may use on a cluster (`broch_workspaces.cluster.spec.Quota`); unset: the platform's."""
    package_bytes_a_day: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=True))
    """Bytes that all workspaces together may fetch by the package route in a day; unset: the platform's."""
    idle_minutes: int | None = None
    """Longest time without activity before a workspace is stopped, minutes; 0: never; unset: the platform's."""
    shared_workspace: bool = False
    """Members may work in one workspace together, in which nobody can tell whose act a cell was."""
    version: int = 1
    starts_on: date
    ends_on: date
    """Last day, included, in UTC."""
    created_at: datetime = moment(default_factory=utc_now)


class Membership(SQLModel, table=True):
    """A person in a project, from a moment until another."""

    __tablename__ = "membership"

    id: str = Field(default_factory=new_id, primary_key=True, max_length=26)
    project_id: str = Field(foreign_key="project.id", max_length=26, index=True)
    person_id: str = Field(foreign_key="person.id", max_length=26, index=True)
    role: ProjectRole = choice(ProjectRole)
    since: datetime = moment(default_factory=utc_now)
    until: datetime | None = moment(default=None)
    """Set in advance for a right that ends by itself, or now when somebody is removed."""
