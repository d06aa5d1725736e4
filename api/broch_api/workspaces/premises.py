"""What a workspace's start names: folders on one machine, claims and a pod on a cluster."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from broch_api.zones.service import ZoneRegister
from broch_core.errors import Invalid
from broch_core.settings import Settings
from broch_core.tables.workspaces import Workspace
from broch_core.web.sessions import token_hash
from broch_workspaces.cluster.spec import (
    IMPORTS_CLAIM,
    PROJECT_CLAIM,
    data_claim,
    home_claim,
    namespace_of,
    pod_digest,
)
from broch_workspaces.plan import ClusterPlan, Profile
from broch_workspaces.profiles import ClusterProfile
from broch_workspaces.zones import FolderZones


@dataclass(frozen=True)
class Place:
    """What one start is given by the place that it runs in."""

    door_hash: str
    """By which the airlock door knows this start."""
    door_token: str
    profile: Profile
    hours: float | None = None
    """Longest run, where the place says so."""
    cluster: ClusterPlan | None = None


class Premises(Protocol):
    """Where workspaces run."""

    profiles: Mapping[str, str]
    """Names and titles that people may choose from, the usual one first."""

    def lacks(self, project_id: str) -> str | None:
        """Return what a start has to wait for, if anything; raise `Conflict` when it would wait in vain."""

    def data(self, version_id: str) -> str:
        """Name the source of a dataset version."""

    def imports(self, project_id: str) -> str:
        """Name the source of `/imports`."""

    def project(self, project_id: str) -> str:
        """Name the source of `/project`."""

    def home(self, project_id: str, person_id: str) -> str:
        """Name the person's home."""

    def hours(self, profile: str) -> float | None:
        """Return the longest run of a profile, where the place says so."""

    def place(self, row: Workspace) -> Place:
        """Make what a new start is known by."""


class FolderPremises:
    """Sandboxes on one machine."""

    profiles: Mapping[str, str] = {"standard": "Standard"}

    def __init__(self, datasets: Path, zones: FolderZones) -> None:
        self._datasets = datasets
        self._zones = zones

    def lacks(self, project_id: str) -> str | None:
        """Say that nothing has to be waited for: folders are made when they are asked for."""
        del project_id
        return None

    def data(self, version_id: str) -> str:
        """Return the folder of a version."""
        return str(self._datasets / version_id)

    def imports(self, project_id: str) -> str:
        """Return the folder of imports."""
        return str(self._zones.imports(project_id))

    def project(self, project_id: str) -> str:
        """Return the shared folder."""
        return str(self._zones.project(project_id))

    def home(self, project_id: str, person_id: str) -> str:
        """Return the person's folder."""
        return str(self._zones.home(project_id, person_id))

    def hours(self, profile: str) -> float | None:
        """Leave it to the settings."""
        del profile
        return None

    def place(self, row: Workspace) -> Place:
        """Make a door token for this start alone."""
        del row
        token = secrets.token_urlsafe(32)
        return Place(token_hash(token), token, Profile())


class ClusterPremises:
    """Pods in zones. The door knows a start by the name of its pod, which holds 64 random bits."""

    def __init__(
        self, zones: ZoneRegister, profiles: Mapping[str, ClusterProfile], settings: Settings
    ) -> None:
        self._zones = zones
        self._profiles = profiles
        self._id_mapped = settings.volumes_id_mapped
        self.profiles: Mapping[str, str] = {name: profile.title for name, profile in profiles.items()}

    def lacks(self, project_id: str) -> str | None:
        """Return whether the zone is not yet what it shall be.

        Raises:
            Conflict: it cannot be made.
        """
        return self._zones.lacks(project_id)

    def data(self, version_id: str) -> str:
        """Return the claim of a version."""
        return data_claim(version_id)

    def imports(self, project_id: str) -> str:
        """Return the claim of imports."""
        del project_id
        return IMPORTS_CLAIM

    def project(self, project_id: str) -> str:
        """Return the claim of the shared folder."""
        del project_id
        return PROJECT_CLAIM

    def home(self, project_id: str, person_id: str) -> str:
        """Return the claim of the person's home."""
        del project_id
        return home_claim(person_id)

    def hours(self, profile: str) -> float | None:
        """Return the longest run of a profile."""
        return self._profile(profile).hours

    def place(self, row: Workspace) -> Place:
        """Name the pod of this start.

        Raises:
            Invalid: the profile is no longer offered.
        """
        profile = self._profile(row.profile)
        namespace = namespace_of(row.project_id)
        pod = f"ws-{row.principal}-{secrets.token_hex(8)}"
        return Place(
            pod_digest(namespace, pod),
            "",
            profile.limits(),
            profile.hours,
            ClusterPlan(
                namespace=namespace,
                pod=pod,
                image=profile.image,
                gpus=profile.devices,
                node_selector=profile.node_selector,
                runtime_class=profile.runtime_class,
                user_namespace=self._id_mapped
                and all(volume.source.id_mapped for volume in self._zones.spec(row.project_id).data),
            ),
        )

    def _profile(self, name: str) -> ClusterProfile:
        found = self._profiles.get(name)
        if found is None:
            raise Invalid(
                f"There is no workspace profile '{name[:40]}' any more.", remedy="Choose another one."
            )
        return found
