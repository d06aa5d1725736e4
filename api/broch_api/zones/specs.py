"""What each zone shall be, worked out from projects, members, grants and deliveries. Pure."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, or_, select

from broch_api.revocations.confirming import asks_the_cluster, open_revocations
from broch_core.lifecycles import ProjectStatus, VersionStatus, WorkspaceStatus
from broch_core.tables.datasets import DatasetVersion, Grant, GrantKind
from broch_core.tables.people import Person
from broch_core.tables.projects import Membership, Project
from broch_core.tables.workspaces import Workspace
from broch_core.tables.zones import ZoneDelivery
from broch_workspaces.cluster.sources import DataSource
from broch_workspaces.cluster.spec import (
    DataVolume,
    Delivery,
    Home,
    Quota,
    ZoneSpec,
    ZoneSpecs,
    ZoneState,
)

_HOLD_RIGHTS = (WorkspaceStatus.STARTING, WorkspaceStatus.RUNNING)


@dataclass(frozen=True)
class ZoneDefaults:
    """What the platform gives every zone."""

    store: DataSource
    """Where Broch's own dataset store is mounted from; one folder for each version."""
    quota: Quota
    home_bytes: int
    project_bytes: int
    imports_bytes: int


@dataclass(frozen=True)
class ZoneFacts:
    """Everything that one zone hangs on, as of one moment."""

    project: Project
    members: Sequence[str]
    versions: Sequence[DatasetVersion]
    """Of live grants of kind `mount`: those that are `validation-only` are never here."""
    deliveries: Sequence[ZoneDelivery]
    starts: Sequence[str] = ()
    """Digests of the pods of starts that hold rights."""
    held: bool = False
    """Whether there is a workspace that the hub has not seen gone."""
    revocations: Sequence[str] = ()
    """Those for which the controller has to look."""


def state_of(project: Project, now: datetime) -> ZoneState:
    """Return what shall be there for a project."""
    if project.status is ProjectStatus.ENDED or project.ends_on < now.date():
        return ZoneState.ENDED
    if project.status is ProjectStatus.FROZEN or project.starts_on > now.date():
        return ZoneState.FROZEN
    return ZoneState.OPEN


def spec_of(facts: ZoneFacts, defaults: ZoneDefaults, now: datetime) -> ZoneSpec:
    """Return the desired state of one zone."""
    state = state_of(facts.project, now)
    quota = Quota.model_validate(facts.project.quota) if facts.project.quota else defaults.quota
    over = state is ZoneState.ENDED
    return ZoneSpec(
        project_id=facts.project.id,
        state=state,
        quota=quota,
        data=()
        if over
        else tuple(
            DataVolume(
                version_id=version.id,
                source=defaults.store.below(version.id),
                size_bytes=version.total_bytes,
            )
            for version in sorted(facts.versions, key=lambda version: version.id)
        ),
        homes=tuple(
            Home(person_id=person_id, size_bytes=defaults.home_bytes) for person_id in sorted(facts.members)
        ),
        project_bytes=defaults.project_bytes,
        imports_bytes=defaults.imports_bytes,
        user_namespaces=facts.project.user_namespaces.value,
        deliveries=()
        if over
        else tuple(
            Delivery(id=row.id, op=row.op.value, name=row.name, sha256=row.sha256, size=row.size)
            for row in sorted(facts.deliveries, key=lambda row: row.id)
        ),
        starts=tuple(sorted(facts.starts)) if state is ZoneState.OPEN else (),
        held=over and facts.held,
        revocations=tuple(sorted(facts.revocations)),
    )


def whole(specs: Iterable[ZoneSpec]) -> ZoneSpecs:
    """Return all zones with the digest that a long poll compares."""
    items = tuple(sorted(specs, key=lambda spec: spec.project_id))
    digest = hashlib.sha256()
    for spec in items:
        digest.update(spec.model_dump_json().encode())
    return ZoneSpecs(digest=digest.hexdigest()[:16], items=items)


def read_facts(session: Session, now: datetime, project_id: str | None = None) -> list[ZoneFacts]:
    """Read what zones hang on, in six questions for all of them.

    Args:
        session: where.
        now: the moment that rights are judged at.
        project_id: only this one's.
    """
    wanted = select(Project).where(Project.status != ProjectStatus.PLANNED)
    if project_id is not None:
        wanted = wanted.where(Project.id == project_id)
    projects = session.exec(wanted).all()
    versions: defaultdict[str, dict[str, DatasetVersion]] = defaultdict(dict)
    for project, version in session.exec(
        select(Grant.project_id, DatasetVersion)
        .join(DatasetVersion, col(DatasetVersion.id) == Grant.version_id)
        .where(
            Grant.kind == GrantKind.MOUNT,
            col(Grant.revoked_at).is_(None),
            Grant.until >= now.date(),
            DatasetVersion.status == VersionStatus.SEALED,
            True if project_id is None else Grant.project_id == project_id,
        )
    ):
        versions[project][version.id] = version
    members: defaultdict[str, set[str]] = defaultdict(set)
    for project, person in session.exec(
        select(Membership.project_id, Membership.person_id)
        .join(Person, col(Person.id) == Membership.person_id)
        .where(
            or_(col(Membership.until).is_(None), col(Membership.until) > now),
            col(Person.disabled_at).is_(None),
            True if project_id is None else Membership.project_id == project_id,
        )
    ):
        members[project].add(person)
    deliveries: defaultdict[str, list[ZoneDelivery]] = defaultdict(list)
    for row in session.exec(
        select(ZoneDelivery).where(col(ZoneDelivery.done_at).is_(None), col(ZoneDelivery.failure).is_(None))
    ):
        deliveries[row.project_id].append(row)
    starts: defaultdict[str, list[str]] = defaultdict(list)
    held: set[str] = set()
    for project, door, status in session.exec(
        select(Workspace.project_id, Workspace.door_token_hash, Workspace.status).where(
            col(Workspace.status).in_((*_HOLD_RIGHTS, WorkspaceStatus.STOPPING)),
            True if project_id is None else Workspace.project_id == project_id,
        )
    ):
        held.add(project)
        if door is not None and status in _HOLD_RIGHTS:
            starts[project].append(door)
    revocations: defaultdict[str, list[str]] = defaultdict(list)
    for revocation in open_revocations(session, project_id):
        if asks_the_cluster(revocation):
            revocations[revocation.project_id].append(revocation.id)
    return [
        ZoneFacts(
            project,
            sorted(members[project.id]),
            list(versions[project.id].values()),
            deliveries[project.id],
            starts[project.id],
            project.id in held,
            revocations[project.id],
        )
        for project in projects
    ]
