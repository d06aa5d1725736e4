"""What a release says about itself: the attestation, made from what the database holds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlmodel import Session, col, select

from broch_airlock.checks.model import Verdict, worst
from broch_airlock.review.visibility import decisions_of
from broch_airlock.tables import AirlockFile, AirlockRequest, CheckOutcome, Direction, Opinion
from broch_core.proof import CheckSummary, ReleasedFile, ReleaseStatement
from broch_core.proof import Direction as ProofDirection
from broch_core.scope import ever_members

APPROVALS = 2
"""Different reviewers that every reviewed file needs."""


class NotApproved(Exception):
    """A request that stands as approved lacks approvals: a defect or a forgery, never released."""


def approvers(session: Session, request: AirlockRequest, files: Sequence[AirlockFile]) -> tuple[str, ...]:
    """Return who approved the present bytes, as opaque ids; nobody for an import that policy let through.

    Raises:
        NotApproved: some file lacks two approvals by independent reviewers.
    """
    members = ever_members(session, request.project_id) | {request.author_id}
    rows = decisions_of(session, request.id)
    if not rows and request.direction is Direction.INGRESS:
        return ()
    agreed: set[str] = set()
    for file in files:
        who = {
            row.reviewer_id
            for row in rows
            if row.file_id == file.id and row.sha256 == file.sha256 and row.opinion is Opinion.APPROVE
        } - members
        if len(who) < APPROVALS:
            raise NotApproved(file.id)
        agreed |= who
    return tuple(sorted(agreed))


def check_summaries(session: Session, files: Sequence[AirlockFile]) -> tuple[CheckSummary, ...]:
    """Return, for each check and engine, the worst that it said of the present bytes of any file."""
    present = {file.id: file.sha256 for file in files}
    said: dict[tuple[str, str], list[Verdict]] = {}
    for row in session.exec(select(CheckOutcome).where(col(CheckOutcome.file_id).in_(present))):
        if present[row.file_id] == row.sha256:
            said.setdefault((row.check, row.engine), []).append(Verdict(row.verdict))
    return tuple(
        CheckSummary(check, worst(verdicts).value, engine)
        for (check, engine), verdicts in sorted(said.items())
    )


def make_statement(
    session: Session,
    request: AirlockRequest,
    files: Sequence[AirlockFile],
    *,
    release_id: str,
    at: datetime,
    policy_digest: str,
    origin: str,
) -> ReleaseStatement:
    """Return the attestation of a release.

    Raises:
        NotApproved: some file lacks approvals.
    """
    return ReleaseStatement(
        release_id=release_id,
        project_id=request.project_id,
        request_id=request.id,
        direction=ProofDirection(request.direction.value),
        released_at=at,
        reviewers=approvers(session, request, files),
        policy_digest=policy_digest,
        checks=check_summaries(session, files),
        origin=origin,
        files=tuple(ReleasedFile(file.name, file.sha256) for file in files),
    )
