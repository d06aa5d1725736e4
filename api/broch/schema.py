"""Every table of every package, known to one metadata."""

from __future__ import annotations

from sqlalchemy import MetaData
from sqlmodel import SQLModel

import broch_airlock.tables
import broch_core.audit.tables
import broch_core.outbox.tables
import broch_core.tables.datasets
import broch_core.tables.packages
import broch_core.tables.people
import broch_core.tables.projects
import broch_core.tables.revocations
import broch_core.tables.workspaces
import broch_core.tables.zones

_PACKAGES = (
    broch_airlock.tables,
    broch_core.audit.tables,
    broch_core.outbox.tables,
    broch_core.tables.datasets,
    broch_core.tables.packages,
    broch_core.tables.people,
    broch_core.tables.projects,
    broch_core.tables.revocations,
    broch_core.tables.workspaces,
    broch_core.tables.zones,
)


def metadata() -> MetaData:
    """Return the metadata of all tables."""
    assert _PACKAGES  # noqa: S101 - importing them is what fills the metadata
    return SQLModel.metadata
