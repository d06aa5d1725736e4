"""Who acts: a person with rights as of now, or a part of Broch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class PlatformRole(StrEnum):
    """What a person is to the whole TRE."""

    ADMIN = "admin"
    STEWARD = "steward"
    REVIEWER = "reviewer"
    ASSET_OWNER = "asset_owner"


class ProjectRole(StrEnum):
    """What a person is to one project."""

    LEAD = "lead"
    RESEARCHER = "researcher"


@dataclass(frozen=True)
class Actor:
    """A signed-in person with the rights of this moment."""

    person_id: str
    handle: str
    display_name: str
    roles: frozenset[PlatformRole] = frozenset()
    memberships: Mapping[str, ProjectRole] = field(default_factory=dict)
    """Present memberships: project id to role."""
    session_id: str | None = None

    def has(self, *roles: PlatformRole) -> bool:
        """Tell whether the person holds any of `roles`."""
        return not self.roles.isdisjoint(roles)

    def is_member(self, project_id: str | None) -> bool:
        """Tell whether the person is a member of the project now."""
        return project_id is not None and project_id in self.memberships


SYSTEM = "system"
"""Actor id in audit records of what Broch does by itself (expiry, checks, sequencer)."""
