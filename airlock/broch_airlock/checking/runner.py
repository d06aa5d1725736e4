"""Handlers of the outbox: checks of a submitted request, and the end of bytes that nobody needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import bindparam, delete, insert, update
from sqlmodel import Session, col

from broch_airlock.checking.outcome import MESSAGES, after_checks
from broch_airlock.checks.model import CheckResult, FileUnderCheck, Verdict, worst
from broch_airlock.checks.model import Direction as CheckDirection
from broch_airlock.facts import audit_move, files_of, find_request
from broch_airlock.shelves import Shelves
from broch_airlock.tables import AirlockFile, AirlockRequest, CheckOutcome
from broch_core import faults
from broch_core.actors import SYSTEM
from broch_core.blobs import BlobClass
from broch_core.clock import utc_now
from broch_core.errors import NotFound
from broch_core.lifecycles import AIRLOCK, AirlockEvent, AirlockStatus
from broch_core.outbox.worker import TemporaryError
from broch_core.scope import EVERYTHING
from broch_core.settings import Settings
from broch_core.store.unit import Change, Store

log = structlog.get_logger()

Scan = Callable[[Sequence[FileUnderCheck]], list[list[CheckResult]]]
"""Checks all files of one request; `checks.supervisor.check_files` with its policy, scanner and sandbox."""

CHECK_STARTED = "airlock:check"
CHECKED = "airlock:checked"
_TARGET = {
    AirlockEvent.HOLD: BlobClass.HELD,
    AirlockEvent.PASS: BlobClass.HELD,
    AirlockEvent.QUARANTINE: BlobClass.QUARANTINED,
}

_FORGET = delete(CheckOutcome).where(
    col(CheckOutcome.file_id) == bindparam("file"), col(CheckOutcome.sha256) == bindparam("bytes")
)


@dataclass(frozen=True)
class _Job:
    request: AirlockRequest
    files: Sequence[AirlockFile]


class CheckRunner:
    """Runs the checks of requests, one request at a time for each worker."""

    def __init__(self, store: Store, shelves: Shelves, scan: Scan, settings: Settings) -> None:
        self._store = store
        self._shelves = shelves
        self._scan = scan
        self._settings = settings

    def check(self, payload: Mapping[str, Any]) -> None:
        """Check one turn of a request and move it on; a second run finds nothing to do.

        Raises:
            TemporaryError: a check could not be made yet and there is time left.
        """
        job = self._begin(str(payload["request_id"]), int(payload["turn"]))
        if job is None:
            return
        results = self._look(job)
        self._settle(job, results)

    def discard(self, payload: Mapping[str, Any]) -> None:
        """Delete the bytes of a request that ended without a release, where nobody else needs them."""
        with self._store.read() as session:
            request = find_request(session, EVERYTHING, str(payload["request_id"]))
            files = files_of(session, request.id)
        self._shelves.tidy(request.project_id, *{file.sha256 for file in files})

    def tidy(self, payload: Mapping[str, Any]) -> None:
        """Delete bytes that were taken out of a request or replaced in it, where nobody else needs them."""
        self._shelves.tidy(str(payload["project_id"]), str(payload["sha256"]))

    def quarantine(self, request_id: str, message: str) -> None:
        """Quarantine a request whose checks did not end in time."""
        with self._store.read() as session:
            request = find_request(session, EVERYTHING, request_id)
            files = files_of(session, request_id)
        self._move(_Job(request, files), AirlockEvent.QUARANTINE, message, ())

    def _begin(self, request_id: str, turn: int) -> _Job | None:
        with self._store.write() as change:
            request = find_request(change.session, EVERYTHING, request_id, lock=True)
            if request.turn != turn or request.status not in {
                AirlockStatus.SUBMITTED,
                AirlockStatus.CHECKING,
            }:
                return None
            if request.status is AirlockStatus.SUBMITTED:
                begin_checks(change, request, self._settings)
            return _Job(request, files_of(change.session, request_id))

    def _look(self, job: _Job) -> list[list[CheckResult]]:
        project_id = job.request.project_id
        with ExitStack() as shown:
            try:
                cases = [
                    FileUnderCheck(
                        name=file.name,
                        size=file.size,
                        sha256=file.sha256,
                        path=shown.enter_context(self._shelves.local(project_id, file.sha256)),
                        direction=CheckDirection(job.request.direction.value),
                        project_id=project_id,
                    )
                    for file in job.files
                ]
            except NotFound:
                log.exception("airlock.bytes_missing", request=job.request.id)
                return [[] for _ in job.files]
            return self._scan(cases)

    def _settle(self, job: _Job, results: list[list[CheckResult]]) -> None:
        verdicts = [worst(answer.verdict for answer in answers) for answers in results]
        deadline = job.request.check_deadline
        if Verdict.ERROR in verdicts and deadline is not None and utc_now() < deadline:
            self._note_delay(job, results)
            raise TemporaryError("a check gave no answer")
        event = after_checks(
            job.request.direction, verdicts, ingress_without_review=self._settings.ingress_without_review
        )
        message = MESSAGES.get(worst(verdicts)) if event is AirlockEvent.QUARANTINE else None
        self._move(job, event, message, results)
        log.info("airlock.checked", request=job.request.id, outcome=event.value, files=len(job.files))

    def _note_delay(self, job: _Job, results: list[list[CheckResult]]) -> None:
        """Tell the author what is being waited for; no change of state."""
        with self._store.write(housekeeping=True) as change:
            _keep(change.session, job.files, results)
            change.session.exec(
                update(AirlockRequest)
                .where(
                    col(AirlockRequest.id) == job.request.id,
                    col(AirlockRequest.status) == AirlockStatus.CHECKING,
                    col(AirlockRequest.turn) == job.request.turn,
                )
                .values(message="A check could not be made yet. It is tried again until the deadline.")
            )

    def _move(
        self, job: _Job, event: AirlockEvent, message: str | None, results: Sequence[list[CheckResult]]
    ) -> None:
        """Put the bytes where the event leads, then write the change: a crash between loses nothing."""
        project_id = job.request.project_id
        sha256s = {file.sha256 for file in job.files}
        with self._shelves.steady(project_id):
            missing_ok = event is AirlockEvent.QUARANTINE
            self._shelves.shelve(project_id, sha256s, _TARGET[event], missing_ok=missing_ok)
            faults.point("checks.shelved")
            with self._store.write() as change:
                request = find_request(change.session, EVERYTHING, job.request.id, lock=True)
                still = request.status is AirlockStatus.CHECKING and request.turn == job.request.turn
                if still:  # not withdrawn meanwhile
                    self._record(change, request, job.files, event, message, results)
        self._shelves.tidy(project_id, *sha256s)

    @staticmethod
    def _record(
        change: Change,
        request: AirlockRequest,
        files: Sequence[AirlockFile],
        event: AirlockEvent,
        message: str | None,
        results: Sequence[list[CheckResult]],
    ) -> None:
        if results:
            _keep(change.session, files, results)
        change.advance(AIRLOCK, request, event, check_deadline=None, message=message)
        verdicts = [
            {"file": file.id, "sha256": file.sha256, "verdict": worst(a.verdict for a in answers).value}
            for file, answers in zip(files, results, strict=False)
        ]
        audit_move(change, SYSTEM, CHECKED, request, facts={"files": verdicts})
        if event is AirlockEvent.PASS:
            change.later("airlock.release", request.id, {"request_id": request.id})


def begin_checks(change: Change, request: AirlockRequest, settings: Settings) -> None:
    """Move a submitted request to its checks, with a deadline."""
    change.advance(AIRLOCK, request, AirlockEvent.CHECK, check_deadline=utc_now() + settings.check_deadline)
    audit_move(change, SYSTEM, CHECK_STARTED, request)


def _keep(session: Session, files: Sequence[AirlockFile], results: Sequence[list[CheckResult]]) -> None:
    """Replace what the checks said of these bytes before."""
    connection = session.connection()
    connection.execute(_FORGET, [{"file": file.id, "bytes": file.sha256} for file in files])
    outcomes = [
        _outcome(file, answer).model_dump()
        for file, answers in zip(files, results, strict=True)
        for answer in answers
    ]
    if outcomes:
        connection.execute(insert(CheckOutcome), outcomes)


def _outcome(file: AirlockFile, answer: CheckResult) -> CheckOutcome:
    return CheckOutcome(
        file_id=file.id,
        sha256=file.sha256,
        check=answer.check,
        engine=answer.engine[:120],
        verdict=answer.verdict.value,
        findings=[
            {
                "check": finding.check,
                "rule": finding.rule,
                "verdict": finding.verdict.value,
                "where": finding.where,
                "text": finding.message,
            }
            for finding in answer.findings
        ],
    )
