"""What the database itself refuses, with the rules above it passed by; the same on SQLite and PostgreSQL."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from sqlalchemy import text
from sqlmodel import select

from broch_airlock.tables import AirlockFile, Deletion, FileDecision, Opinion, Release, ReleasedFile
from broch_core.actors import ProjectRole
from broch_core.audit.tables import AuditRecord
from broch_core.blobs import BlobClass
from broch_core.clock import utc_now
from broch_core.errors import Conflict
from broch_core.lifecycles import AirlockStatus
from broch_core.tables.projects import Membership
from support.retention import age, at_rest, end_retention
from support.reviews import ReviewWorld

Case = Callable[[ReviewWorld], None]


def raw(place: ReviewWorld, statement: str, **values: object) -> None:
    """Run SQL past every rule of the code."""
    with place.store.write(housekeeping=True) as change:
        change.session.execute(text(statement), values)


def decision(place: ReviewWorld, file: AirlockFile, handle: str, **other: object) -> FileDecision:
    fields = {
        "file_id": file.id,
        "sha256": file.sha256,
        "turn": file.turn,
        "reviewer_id": place.world.people[handle].id,
        "opinion": Opinion.APPROVE,
    }
    return FileDecision(**{**fields, **other})


def _approve_alone(place: ReviewWorld) -> None:
    request = place.in_review()
    place.world.add(decision(place, place.files(request)[0], "rita"))
    place.move(request, AirlockStatus.APPROVED)


def _approve_by_one_twice(place: ReviewWorld) -> None:
    request = place.in_review()
    place.world.add(decision(place, place.files(request)[0], "rita"))
    place.world.add(decision(place, place.files(request)[0], "rita"))


def _approve_half(place: ReviewWorld) -> None:
    request = place.in_review({"a": b"1", "b": b"2"})
    for handle in ("rita", "ravi"):
        place.world.add(decision(place, place.files(request)[0], handle))
    place.move(request, AirlockStatus.APPROVED)


def _approve_with_a_member(place: ReviewWorld) -> None:
    request = place.in_review()
    for handle in ("rita", "ravi"):
        place.world.add(decision(place, place.files(request)[0], handle))
    place.world.add(_membership(place, "rita"))
    place.move(request, AirlockStatus.APPROVED)


def _membership(place: ReviewWorld, handle: str) -> Membership:
    return Membership(
        project_id=place.world.project.id,
        person_id=place.world.people[handle].id,
        role=ProjectRole.RESEARCHER,
    )


def _decide_as(handle: str) -> Case:
    def case(place: ReviewWorld) -> None:
        request = place.in_review()
        place.world.add(decision(place, place.files(request)[0], handle))

    return case


def _decide_on_other_bytes(place: ReviewWorld) -> None:
    request = place.in_review()
    place.world.add(decision(place, place.files(request)[0], "rita", sha256="0" * 64))


def _decide_on_former_bytes(place: ReviewWorld) -> None:
    request = place.in_review()
    old = place.files(request)[0]
    place.resubmit(request, {old.name: b"new"})
    place.world.add(decision(place, old, "rita"))


def _decide_on_a_draft(place: ReviewWorld) -> None:
    request = place.in_review()
    place.move(request, AirlockStatus.RETURNED)
    place.world.add(decision(place, place.files(request)[0], "rita"))


def _after_a_decision(statement: str) -> Case:
    def case(place: ReviewWorld) -> None:
        request = place.in_review()
        place.world.add(decision(place, place.files(request)[0], "rita"))
        raw(place, statement)

    return case


def _in_review(statement: str) -> Case:
    def case(place: ReviewWorld) -> None:
        place.in_review()
        raw(place, statement)

    return case


def _released(statement: str) -> Case:
    def case(place: ReviewWorld) -> None:
        place.released()
        raw(place, statement)

    return case


def _recalled(statement: str) -> Case:
    def case(place: ReviewWorld) -> None:
        place.recall(place.released())
        raw(place, statement)

    return case


def _release_with_a_member(place: ReviewWorld) -> None:
    request = place.approved()
    place.releaser._begin(request.id)
    place.world.add(_membership(place, "rita"))
    with place.store.read() as session:
        record = session.exec(select(AuditRecord.id)).first()
    place.world.add(
        Release(
            request_id=request.id,
            project_id=request.project_id,
            direction=request.direction,
            envelope={},
            record_id=record or "",
        )
    )


def _second_release(place: ReviewWorld) -> None:
    request = place.released()
    with place.store.read() as session:
        first = session.exec(select(Release)).one()
    place.move(request, AirlockStatus.RELEASED)
    place.world.add(
        Release(
            request_id=request.id,
            project_id=first.project_id,
            direction=first.direction,
            envelope={},
            record_id=first.record_id,
        )
    )


def _release_other_bytes(place: ReviewWorld) -> None:
    request = place.approved()
    place.releaser._begin(request.id)
    with contextlib.suppress(RuntimeError):
        place.releaser._record(place.request(request.id), place.files(request))
    other = place.in_review({"x.csv": b"x"})
    with place.store.read() as session:
        release = session.exec(select(Release)).one()
    file = place.files(other)[0]
    place.world.add(
        ReleasedFile(
            release_id=release.id, file_id=file.id, name=file.name, sha256=file.sha256, size=file.size
        )
    )


def _delete_an_open_request(place: ReviewWorld) -> None:
    request = place.in_review()
    place.world.add(
        Deletion(
            request_id=request.id,
            project_id=request.project_id,
            blob_class=BlobClass.HELD,
            at_rest_since=utc_now(),
            retention_seconds=0,
        )
    )


def _deleted(statement: str) -> Case:
    def case(place: ReviewWorld) -> None:
        request = at_rest(place, AirlockStatus.FAILED, b"1")
        age(place, request)
        end_retention(place)
        raw(place, statement)

    return case


REFUSED: dict[str, tuple[Case, str]] = {
    "approval by one": (_approve_alone, "two independent reviewers"),
    "two approvals by one": (_approve_by_one_twice, "exists already"),
    "approval of half": (_approve_half, "two independent reviewers"),
    "approval with a member": (_approve_with_a_member, "two independent reviewers"),
    "decision of the author": (_decide_as("ruth"), "Neither the author"),
    "decision of a member": (_decide_as("robin"), "Neither the author"),
    "decision on other bytes": (_decide_on_other_bytes, "present bytes"),
    "decision on former bytes": (_decide_on_former_bytes, "present bytes"),
    "decision on a returned request": (_decide_on_a_draft, "in review"),
    "decision edited": (
        _after_a_decision("UPDATE airlock_decision SET opinion = 'reject'"),
        "does not change",
    ),
    "decision deleted": (_after_a_decision("DELETE FROM airlock_decision"), "never deleted"),
    "bytes in review": (_in_review("UPDATE airlock_file SET sha256 = 'x'"), "only while"),
    "file renamed in review": (_in_review("UPDATE airlock_file SET name = 'x'"), "only while"),
    "bytes of history": (_in_review("UPDATE airlock_bytes SET sha256 = 'x'"), "does not change"),
    "file taken out in review": (_in_review("DELETE FROM airlock_bytes"), "only while"),
    "review left by a side door": (
        _in_review("UPDATE airlock_request SET status = 'checking'"),
        "leaves review",
    ),
    "released without a release": (
        _in_review("UPDATE airlock_request SET status = 'released'"),
        "leaves review|receipt is written",
    ),
    "author exchanged": (
        _in_review("UPDATE airlock_request SET author_id = (SELECT id FROM person WHERE handle = 'sam')"),
        "do not change",
    ),
    "request deleted": (_in_review("DELETE FROM airlock_request"), "is kept"),
    "membership deleted": (_in_review("DELETE FROM membership"), "history"),
    "membership moved": (
        _in_review("UPDATE membership SET person_id = (SELECT id FROM person WHERE handle = 'ada')"),
        "history",
    ),
    "receipt exchanged": (_released("UPDATE airlock_release SET receipt = '{}'"), "does not change"),
    "release deleted": (_released("DELETE FROM airlock_released_file"), "never deleted"),
    "released file edited": (_released("UPDATE airlock_released_file SET sha256 = 'x'"), "does not change"),
    "released again by hand": (
        _released("UPDATE airlock_request SET status = 'releasing'"),
        "only be recalled|Only an approved",
    ),
    "release unmade": (_released("UPDATE airlock_request SET status = 'draft'"), "only be recalled"),
    "recall without a record": (
        _released("UPDATE airlock_request SET status = 'recalled'"),
        "with its record",
    ),
    "recall undone": (
        _recalled("UPDATE airlock_request SET status = 'released'"),
        "has ended|receipt is written",
    ),
    "recall deleted": (_recalled("DELETE FROM airlock_recall"), "never deleted"),
    "recall edited": (_recalled("UPDATE airlock_recall SET at = '2020-01-01'"), "does not change"),
    "release after an approver joined": (_release_with_a_member, "two independent reviewers"),
    "second release": (_second_release, "while its request is releasing"),
    "deletion of an open request": (_delete_an_open_request, "open request are not deleted"),
    "deletion moved": (_deleted("UPDATE airlock_deletion SET at_rest_since = begun_at"), "does not change"),
    "certificate exchanged": (_deleted("UPDATE airlock_deletion SET certificate = '{}'"), "does not change"),
    "deletion unmade": (_deleted("DELETE FROM airlock_deletion"), "stay on record"),
    "deleted file exchanged": (_deleted("UPDATE airlock_deleted_file SET sha256 = 'x'"), "does not change"),
    "deleted file unmade": (_deleted("DELETE FROM airlock_deleted_file"), "stay on record"),
    "released after its bytes went": (
        _deleted("UPDATE airlock_request SET status = 'releasing'"),
        "cannot be released any more",
    ),
    "release of other bytes": (_release_other_bytes, "bytes that were approved"),
}


def assert_refused(place: ReviewWorld, name: str) -> None:
    """Try a case; the database says no, with its sentence."""
    case, sentence = REFUSED[name]
    with pytest.raises(Conflict, match=sentence):
        case(place)


def assert_allowed(place: ReviewWorld) -> None:
    """The positive twin: the same raw rows in the right order pass."""
    request = place.in_review()
    file = place.files(request)[0]
    for handle in ("rita", "ravi"):
        place.world.add(decision(place, file, handle))
    place.move(request, AirlockStatus.APPROVED)
    place.releaser.release({"request_id": request.id})
    assert place.request(request.id).status is AirlockStatus.RELEASED
