"""States in which work is moving have a deadline; what stands still past it fails closed."""

from __future__ import annotations

import structlog
from sqlmodel import col, select

from broch_airlock.checking.outcome import MESSAGES
from broch_airlock.checking.runner import CheckRunner, begin_checks
from broch_airlock.checks.model import Verdict
from broch_airlock.facts import audit_move, files_of, find_request
from broch_airlock.release.given_up import give_up, why_not
from broch_airlock.tables import AirlockRequest
from broch_core.actors import SYSTEM
from broch_core.clock import utc_now
from broch_core.errors import Conflict
from broch_core.lifecycles import AIRLOCK, AirlockEvent, AirlockStatus
from broch_core.scope import EVERYTHING
from broch_core.settings import Settings
from broch_core.store.unit import Store

log = structlog.get_logger()

RELEASE_LATE = "airlock:release-late"
_MOVING = (AirlockStatus.SUBMITTED, AirlockStatus.CHECKING, AirlockStatus.RELEASING)


class DeadlineSweeper:
    """Looks for requests past their deadline."""

    def __init__(self, store: Store, runner: CheckRunner, settings: Settings) -> None:
        self._store = store
        self._runner = runner
        self._settings = settings

    def sweep(self) -> int:
        """Quarantine or fail what is late; return how many requests were moved."""
        with self._store.read() as session:
            late = session.exec(
                select(AirlockRequest.id, AirlockRequest.status).where(
                    col(AirlockRequest.status).in_(_MOVING),
                    col(AirlockRequest.check_deadline) < utc_now(),
                )
            ).all()
        moved = 0
        for request_id, status in late:
            try:
                self._end(request_id, AirlockStatus(status))
            except Conflict:
                continue  # it moved on at this moment
            moved += 1
            log.error("airlock.late", request=request_id, status=str(status))
        give_up(self._store)
        return moved

    def _end(self, request_id: str, status: AirlockStatus) -> None:
        if status is AirlockStatus.RELEASING:
            with self._store.write() as change:
                request = find_request(change.session, EVERYTHING, request_id, lock=True)
                why = why_not(change.session, request, files_of(change.session, request_id))
                said = ("The release did not end in time.", why, "An administrator can try it again.")
                change.advance(
                    AIRLOCK,
                    request,
                    AirlockEvent.FAIL,
                    check_deadline=None,
                    message=" ".join(filter(None, said)),
                )
                audit_move(change, SYSTEM, RELEASE_LATE, request)
            return
        if status is AirlockStatus.SUBMITTED:
            with self._store.write() as change:
                request = find_request(change.session, EVERYTHING, request_id, lock=True)
                begin_checks(change, request, self._settings)
        self._runner.quarantine(request_id, MESSAGES[Verdict.ERROR])
