"""Freezing the whole TRE and thawing it again: every project that runs, in one transaction, each with its own revocation."""

from __future__ import annotations

from sqlmodel import Session, col, select

from broch_api.freeze.schemas import NOT_FROZEN, FreezeBegin, FreezeView
from broch_api.revocations.begin import EndedRight, revoke
from broch_core.actions import Action
from broch_core.actors import Actor
from broch_core.audit.record import AuditSubject
from broch_core.clock import utc_now
from broch_core.errors import Conflict
from broch_core.lifecycles import PROJECT, ProjectEvent, ProjectStatus
from broch_core.revocations import RevocationCause
from broch_core.rules import require
from broch_core.scope import freeze_in_force, hold_freeze
from broch_core.store.unit import Store
from broch_core.tables.projects import Project
from broch_core.tables.revocations import Revocation, TreFreeze


class FreezeDesk:
    """Begins and ends freezes of the whole TRE."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def state(self, actor: Actor) -> FreezeView:
        """Say whether the TRE is frozen, and how far its end is."""
        require(actor, Action.TRE_READ)
        with self._store.read() as session:
            return _view(session, freeze_in_force(session))

    def begin(self, actor: Actor, body: FreezeBegin) -> FreezeView:
        """Freeze every project that runs; what was frozen before stays so when this is over.

        Raises:
            Denied: the actor is no platform admin.
            Conflict: the TRE is frozen already.
        """
        require(actor, Action.TRE_FREEZE)
        with self._store.write() as change:
            session = change.session
            hold_freeze(session, change=True)
            projects = _locked(session)
            if (standing := freeze_in_force(session)) is not None:
                raise Conflict(f"The TRE is frozen already: {standing.reason}")
            running = [one for one in projects if one.status is ProjectStatus.ACTIVE]
            freeze = TreFreeze(
                reason=body.reason, begun_by=actor.person_id, project_ids=[one.id for one in running]
            )
            session.add(freeze)
            session.flush()
            change.audit(
                actor.person_id,
                Action.TRE_FREEZE,
                AuditSubject("freeze", freeze.id),
                facts={"projects": freeze.project_ids},
                personal={"reason": body.reason},
            )
            for project in running:
                change.advance(PROJECT, project, ProjectEvent.FREEZE)
                revoke(
                    change,
                    EndedRight(
                        RevocationCause.TRE_FROZEN,
                        project.id,
                        actor.person_id,
                        "The whole TRE is frozen.",
                        freeze_id=freeze.id,
                    ),
                )
            session.flush()
            return _view(session, freeze)

    def end(self, actor: Actor) -> FreezeView:
        """Thaw what the freeze in force froze; without one nothing changes.

        Raises:
            Denied: the actor is no platform admin.
        """
        require(actor, Action.TRE_UNFREEZE)
        with self._store.write() as change:
            session = change.session
            hold_freeze(session, change=True)
            projects = {one.id: one for one in _locked(session)}
            freeze = freeze_in_force(session)
            if freeze is None:
                return NOT_FROZEN
            frozen = [projects[id_] for id_ in freeze.project_ids if id_ in projects]
            thawed = [one for one in frozen if one.status is ProjectStatus.FROZEN]
            for project in thawed:
                change.advance(PROJECT, project, ProjectEvent.THAW)
            freeze.in_force, freeze.ended_at, freeze.ended_by = None, utc_now(), actor.person_id
            session.add(freeze)
            change.audit(
                actor.person_id,
                Action.TRE_UNFREEZE,
                AuditSubject("freeze", freeze.id),
                facts={"projects": [one.id for one in thawed]},
            )
        return NOT_FROZEN

    def notice(self, *, signed_in: bool) -> str | None:
        """Return what every page says while the TRE is frozen; the reason is for those who are signed in."""
        with self._store.read() as session:
            freeze = freeze_in_force(session)
        if freeze is None:
            return None
        says = "This TRE is frozen: no workspace, download or release."
        return f"{says} {freeze.reason}" if signed_in else says


def _locked(session: Session) -> list[Project]:
    # All that could still run. That none begins to meanwhile, `hold_freeze` sees to.
    query = select(Project).where(Project.status != ProjectStatus.ENDED).order_by(Project.id)
    return list(session.exec(query.with_for_update()).all())


def _view(session: Session, freeze: TreFreeze | None) -> FreezeView:
    if freeze is None:
        return NOT_FROZEN
    rows = session.exec(select(Revocation).where(col(Revocation.freeze_id) == freeze.id)).all()
    ends = [row.done_at for row in rows if row.done_at is not None]
    whole = len(ends) == len(rows)
    return FreezeView(
        frozen=True,
        since=freeze.begun_at,
        reason=freeze.reason,
        projects=len(freeze.project_ids),
        waiting=len(rows) - len(ends),
        late=sum(row.late_at is not None and row.done_at is None for row in rows),
        seconds=round((max([freeze.begun_at, *ends]) - freeze.begun_at).total_seconds(), 1)
        if whole
        else None,
    )
