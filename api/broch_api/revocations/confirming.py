"""Writing down what was seen of a revocation. Works from rows alone, so it goes on after a crash where it was."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import structlog
from sqlmodel import Session, col, select

from broch_core.actors import SYSTEM
from broch_core.audit.record import AuditSubject
from broch_core.lifecycles import WorkspaceStatus
from broch_core.revocations import (
    RevocationFacts,
    RevocationStep,
    Sight,
    is_late,
    newly_confirmed,
    steps_of,
)
from broch_core.scope import live_grants
from broch_core.store.unit import Change
from broch_core.tables.datasets import GrantKind
from broch_core.tables.revocations import Revocation
from broch_core.tables.workspaces import Workspace
from broch_workspaces.cluster.manifests import data_volume_name
from broch_workspaces.cluster.spec import data_claim, home_claim

BEGUN = "revocation:begin"
CONFIRMED = "revocation:confirm"
LATE = "revocation:late"
_RUNS = (WorkspaceStatus.STARTING, WorkspaceStatus.RUNNING)
log = structlog.get_logger()


def subject_of(row: Revocation) -> AuditSubject:
    """Return what records say they are about."""
    return AuditSubject("revocation", row.id, row.project_id)


def confirmed_of(row: Revocation) -> dict[RevocationStep, datetime]:
    """Return the steps that were confirmed, each with its moment."""
    moments = {step: getattr(row, f"{step.value}_at") for step in RevocationStep}
    return {step: at for step, at in moments.items() if at is not None}


def open_revocations(session: Session, project_id: str | None = None) -> Sequence[Revocation]:
    """Return what is not done yet, the oldest first."""
    query = select(Revocation).where(col(Revocation.done_at).is_(None)).order_by(Revocation.id)
    if project_id is not None:
        query = query.where(Revocation.project_id == project_id)
    return session.exec(query).all()


def open_ids(session: Session) -> Sequence[str]:
    """Return which are not done yet, the oldest first."""
    query = select(Revocation.id).where(col(Revocation.done_at).is_(None)).order_by(Revocation.id)
    return session.exec(query).all()


def asks_the_cluster(row: Revocation) -> bool:
    """Tell whether the controller has to look: pods or volumes were not seen gone yet."""
    waits = {*steps_of(row.cause, on_cluster=True)} - confirmed_of(row).keys()
    return bool(waits & {RevocationStep.PODS, RevocationStep.VOLUMES})


def facts_of(
    session: Session, row: Revocation, now: datetime, *, hub_empty: bool = False, sight: Sight | None = None
) -> RevocationFacts:
    """Read what a revocation hangs on.

    Args:
        session: where.
        row: which.
        now: the moment that rights are judged at.
        hub_empty: the hub was asked and has none of what was meant.
        sight: what the controller saw of the zone since, if it looked.
    """
    doors = session.exec(
        select(Workspace.door_token_hash).where(
            Workspace.project_id == row.project_id, col(Workspace.status).in_(_RUNS)
        )
    )
    wanted = {
        version.id
        for grant, version, _ in live_grants(session, row.project_id, now)
        if grant.kind is GrantKind.MOUNT
    }
    gone = [version for version in row.version_ids if version not in wanted]
    return RevocationFacts(
        begun_at=row.begun_at,
        confirmed=confirmed_of(row),
        starts=[start["door"] for start in row.starts if start["door"]],
        under_way=any(start["status"] == WorkspaceStatus.STARTING for start in row.starts),
        hub_empty=hub_empty,
        open_doors={door for door in doors if door},
        sight=sight,
        claims=[name for one in gone for name in (data_claim(one), data_volume_name(row.project_id, one))],
        homes=[home_claim(row.person_id)] if row.person_id else [],
        whole=row.person_id is None,
    )


def moves(row: Revocation, facts: RevocationFacts, now: datetime, *, on_cluster: bool) -> bool:
    """Tell whether there is anything to write down."""
    steps = steps_of(row.cause, on_cluster=on_cluster)
    return bool(newly_confirmed(steps, facts, now)) or (row.late_at is None and is_late(row.begun_at, now))


def confirm(
    change: Change, row: Revocation, facts: RevocationFacts, now: datetime, *, on_cluster: bool
) -> bool:
    """Write down which steps are confirmed by now, and that it takes too long; return whether anything changed.

    Args:
        change: the transaction; it holds the lock on the row.
        row: which.
        facts: what is known.
        now: the moment.
        on_cluster: whether there are pods and volumes.
    """
    steps = steps_of(row.cause, on_cluster=on_cluster)
    found = newly_confirmed(steps, facts, now)
    for step in found:
        setattr(row, f"{step.value}_at", now)
    waits = [step.value for step in steps if step not in confirmed_of(row)]
    if not waits and row.done_at is None:
        row.done_at = now
    seconds = round((now - row.begun_at).total_seconds(), 1)
    if found:
        log.info("revocation.confirmed", revocation=row.id, steps=[*found], seconds=seconds, waits=waits)
        about = {"steps": [step.value for step in found], "seconds": str(seconds), "waits": waits}
        change.audit(SYSTEM, CONFIRMED, subject_of(row), facts=about)
    late = tell_late(change, row, now, on_cluster=on_cluster)
    if found:
        change.session.add(row)
    return bool(found) or late


def tell_late(change: Change, row: Revocation, now: datetime, *, on_cluster: bool) -> bool:
    """Write down, once, that it takes too long; return whether that is new."""
    if row.late_at is not None or row.done_at is not None or not is_late(row.begun_at, now):
        return False
    seconds = round((now - row.begun_at).total_seconds(), 1)
    waits = [
        step.value for step in steps_of(row.cause, on_cluster=on_cluster) if step not in confirmed_of(row)
    ]
    row.late_at = now
    change.session.add(row)
    log.error("revocation.late", revocation=row.id, project=row.project_id, waits=waits, seconds=seconds)
    change.audit(SYSTEM, LATE, subject_of(row), facts={"waits": waits, "seconds": str(seconds)})
    return True


def take_sight(change: Change, project_id: str, after: Sequence[str], sight: Sight, now: datetime) -> bool:
    """Take in what the controller saw of a zone after it knew of these revocations; return whether that changed anything."""
    if not after:
        return False
    ids = change.session.exec(
        select(Revocation.id)
        .where(
            Revocation.project_id == project_id,
            col(Revocation.id).in_(after),
            col(Revocation.done_at).is_(None),
        )
        .order_by(Revocation.id)
        .with_for_update()
    ).all()
    changed = False
    for id_ in ids:
        try:
            with change.session.begin_nested():
                row = change.session.get_one(Revocation, id_)
                facts = facts_of(change.session, row, now, sight=sight)
                changed |= confirm(change, row, facts, now, on_cluster=True)
        except Exception:  # one that cannot be judged keeps no other from its end; the controller looks again
            log.exception("revocation.failed", revocation=id_)
    return changed
