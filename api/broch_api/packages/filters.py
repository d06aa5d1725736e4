"""What people search the lists by, as queries of API and pages say it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Query
from sqlmodel import col, func

from broch_core.ids import Id
from broch_core.lifecycles import AllowanceStatus
from broch_core.tables.packages import ListedPackage
from broch_workspaces.packages.spec import Ecosystem

EVERYBODY = "all"
"""In place of a project on pages: the list of all projects."""


@dataclass(frozen=True)
class PackageFilter:
    """Which entries are wanted; what is unset does not count."""

    ecosystem: Annotated[Ecosystem | None, Query(description="Only those of this one.")] = None
    status: Annotated[AllowanceStatus | None, Query(description="Only those in this state.")] = None
    project_id: Annotated[Id | None, Query(description="Only those of this project's own list.")] = None
    common: Annotated[bool, Query(description="Only those that all projects may use.")] = False
    q: Annotated[str, Query(max_length=100, description="Part of the name.")] = ""
    lock: Annotated[
        str | None,
        Query(pattern="^[0-9a-f]{64}$", description="Only those of the lock file with this SHA-256."),
    ] = None

    def conditions(self) -> list[Any]:
        """Return the conditions on rows."""
        row = ListedPackage
        found: list[Any] = []
        if self.ecosystem is not None:
            found.append(row.ecosystem == self.ecosystem.value)
        if self.status is not None:
            found.append(row.status == self.status)
        if self.project_id is not None:
            found.append(row.project_id == self.project_id)
        if self.common:
            found.append(col(row.project_id).is_(None))
        if self.q:
            # Names of CRAN have capital letters, and PostgreSQL tells them from small ones.
            found.append(func.lower(row.name).contains(self.q.lower(), autoescape=True))
        if self.lock is not None:
            found.append(row.lock_sha256 == self.lock)
        return found


@dataclass(frozen=True)
class PageFilter:
    """The fields of the search form; what is none of the choices does not count."""

    q: Annotated[str, Query(max_length=100)] = ""
    ecosystem: Annotated[str, Query(max_length=16)] = ""
    status: Annotated[str, Query(max_length=16)] = ""
    project: Annotated[str, Query(max_length=26)] = ""
    lock: Annotated[str, Query(pattern="^([0-9a-f]{64})?$")] = ""

    @property
    def any(self) -> bool:
        """Whether anything is searched for."""
        return bool(self.q or self.ecosystem or self.status or self.project or self.lock)

    def wanted(self) -> PackageFilter:
        """Return what is searched for."""
        return PackageFilter(
            ecosystem=next((one for one in Ecosystem if one.value == self.ecosystem), None),
            status=next((one for one in AllowanceStatus if one.value == self.status), None),
            project_id=self.project if self.project not in {"", EVERYBODY} else None,
            common=self.project == EVERYBODY,
            q=self.q,
            lock=self.lock or None,
        )
