"""From submission to review."""

from datetime import timedelta

import pytest
from sqlmodel import select

from broch_airlock.checking.deadlines import DeadlineSweeper
from broch_airlock.checking.outcome import after_checks
from broch_airlock.checking.runner import CheckRunner
from broch_airlock.checks.model import Verdict
from broch_airlock.tables import AirlockRequest, Direction
from broch_core.blobs import BlobClass
from broch_core.clock import utc_now
from broch_core.lifecycles import AIRLOCK, AirlockEvent, AirlockStatus
from broch_core.outbox.tables import OutboxEntry
from broch_core.outbox.worker import TemporaryError
from support.intake import API, Intake, make_intake

IN, OUT = Direction.INGRESS, Direction.EGRESS
C, F, B, U, E = Verdict
HOLD, PASS, QUARANTINE = AirlockEvent.HOLD, AirlockEvent.PASS, AirlockEvent.QUARANTINE


@pytest.mark.parametrize(
    ("direction", "verdicts", "without_review", "event"),
    [
        (IN, [C], False, HOLD),
        (IN, [C, C], True, PASS),
        (IN, [C, F], True, HOLD),
        (IN, [F], False, HOLD),
        (IN, [C, B], True, QUARANTINE),
        (IN, [U], False, QUARANTINE),
        (IN, [C, E], True, QUARANTINE),
        (IN, [], True, QUARANTINE),
        (OUT, [C], False, HOLD),
        (OUT, [C], True, HOLD),
        (OUT, [F], True, HOLD),
        (OUT, [C, B], False, QUARANTINE),
        (OUT, [U], True, QUARANTINE),
        (OUT, [E], False, QUARANTINE),
        (OUT, [], False, QUARANTINE),
    ],
)
def test_the_worst_verdict_decides(direction, verdicts, without_review, event) -> None:
    assert after_checks(direction, verdicts, ingress_without_review=without_review) is event
    assert event in AIRLOCK.events(AirlockStatus.CHECKING)


def submitted(intake: Intake, data: bytes = b"a", name: str = "a.py") -> str:
    draft = intake.draft()
    assert intake.put(draft, name, data).status_code == 201
    assert intake.submit(draft).status_code == 200
    return draft


def payload(request_id: str, turn: int = 1) -> dict:
    return {"request_id": request_id, "turn": turn}


@pytest.mark.parametrize(
    ("verdict", "status", "class_"),
    [
        (Verdict.CLEAN, AirlockStatus.IN_REVIEW, BlobClass.HELD),
        (Verdict.FLAGGED, AirlockStatus.IN_REVIEW, BlobClass.HELD),
        (Verdict.BLOCKED, AirlockStatus.QUARANTINED, BlobClass.QUARANTINED),
        (Verdict.UNSCANNABLE, AirlockStatus.QUARANTINED, BlobClass.QUARANTINED),
    ],
)
def test_bytes_go_where_the_verdict_leads(intake: Intake, verdict, status, class_) -> None:
    intake.scan.verdict = verdict
    draft = submitted(intake)
    intake.outbox.run_due()
    assert intake.status(draft) is status
    assert intake.kept(class_, b"a")
    assert not intake.kept(BlobClass.DRAFT, b"a")
    view = intake.read(draft)
    [file] = view["file_list"]
    assert file["verdict"] == verdict.value
    assert file["checks"][0]["engine"] == "fake 1"
    assert (view["message"] is not None) == (status is AirlockStatus.QUARANTINED)
    assert [event["status"] for event in view["timeline"]] == ["draft", "submitted", "checking", status.value]


def test_egress_goes_the_same_way(intake: Intake) -> None:
    draft = intake.egress(b"x,y\n")
    intake.submit(draft)
    intake.outbox.run_due()
    assert intake.status(draft) is AirlockStatus.IN_REVIEW
    [[seen]] = intake.scan.seen
    assert (seen.direction.value, seen.name, seen.size) == ("egress", "table2.csv", 4)


def test_clean_imports_pass_only_when_the_policy_says_so(tmp_path) -> None:
    intake = make_intake(tmp_path, ingress_without_review=True)
    clean, out = submitted(intake), intake.egress()
    intake.submit(out)
    runner: CheckRunner = intake.services[CheckRunner]
    runner.check(payload(clean))
    runner.check(payload(out))
    assert intake.status(clean) is AirlockStatus.APPROVED
    assert intake.status(out) is AirlockStatus.IN_REVIEW
    with intake.world.store.read() as session:
        released = session.exec(
            select(OutboxEntry.payload).where(OutboxEntry.kind == "airlock.release")
        ).all()
    assert released == [{"request_id": clean}]


def test_an_error_is_tried_again_until_the_deadline_and_then_quarantined(intake: Intake) -> None:
    intake.scan.verdict = Verdict.ERROR
    draft = submitted(intake)
    runner: CheckRunner = intake.services[CheckRunner]
    with pytest.raises(TemporaryError):
        runner.check(payload(draft))
    assert intake.status(draft) is AirlockStatus.CHECKING
    assert "tried again" in intake.read(draft)["message"]
    with intake.world.store.write(housekeeping=True) as change:
        request = change.session.get(AirlockRequest, draft)
        request.check_deadline = utc_now() - timedelta(seconds=1)
        change.session.add(request)
    runner.check(payload(draft))
    assert intake.status(draft) is AirlockStatus.QUARANTINED
    assert "in time" in intake.read(draft)["message"]


def test_an_error_that_passes_is_forgotten(intake: Intake) -> None:
    intake.scan.verdict = Verdict.ERROR
    draft = submitted(intake)
    runner: CheckRunner = intake.services[CheckRunner]
    with pytest.raises(TemporaryError):
        runner.check(payload(draft))
    intake.scan.verdict = Verdict.CLEAN
    runner.check(payload(draft))
    view = intake.read(draft)
    assert (view["status"], view["message"], view["file_list"][0]["verdict"]) == ("in_review", None, "clean")
    assert len(view["file_list"][0]["checks"]) == 1


def test_a_check_that_runs_twice_moves_once(intake: Intake) -> None:
    draft = submitted(intake)
    runner: CheckRunner = intake.services[CheckRunner]
    runner.check(payload(draft))
    runner.check(payload(draft))
    assert len(intake.scan.seen) == 1
    assert [e["status"] for e in intake.read(draft)["timeline"]].count("in_review") == 1


def test_a_check_of_an_earlier_turn_does_nothing(intake: Intake) -> None:
    draft = submitted(intake)
    intake.services[CheckRunner].check(payload(draft, 0))
    assert intake.status(draft) is AirlockStatus.SUBMITTED


def test_a_request_withdrawn_during_its_checks_stays_withdrawn(intake: Intake) -> None:
    draft = submitted(intake)
    scan = intake.scan.__class__.__call__

    def withdraw_then_answer(files):
        answer = intake.client.post(f"{API}/requests/{draft}/withdraw", headers=intake.of("ruth"))
        assert answer.status_code == 200
        return scan(intake.scan, files)

    runner: CheckRunner = intake.services[CheckRunner]
    runner._scan = withdraw_then_answer
    runner.check(payload(draft))
    assert intake.status(draft) is AirlockStatus.WITHDRAWN
    assert not any(intake.kept(class_, b"a") for class_ in BlobClass)


def test_bytes_that_vanished_are_an_error(intake: Intake) -> None:
    draft = submitted(intake)
    for path in (intake.blobs.path(intake.world.project.id, BlobClass.DRAFT, "0" * 64).parent.parent).rglob(
        "*"
    ):
        if path.is_file():
            path.unlink()
    with pytest.raises(TemporaryError):
        intake.services[CheckRunner].check(payload(draft))
    assert intake.scan.seen == []


def test_shared_bytes_stay_for_the_draft_that_needs_them(intake: Intake) -> None:
    other = intake.draft()
    intake.put(other, "same.py", b"same")
    draft = submitted(intake, b"same", "other-name.py")
    intake.outbox.run_due()
    assert intake.status(draft) is AirlockStatus.IN_REVIEW
    assert intake.kept(BlobClass.DRAFT, b"same")
    assert intake.submit(other).status_code == 200
    intake.outbox.run_due()
    assert intake.status(other) is AirlockStatus.IN_REVIEW
    assert not intake.kept(BlobClass.DRAFT, b"same")


def test_quarantined_bytes_do_not_take_those_of_others_along(intake: Intake) -> None:
    held = submitted(intake, b"same", "one.py")
    intake.outbox.run_due()
    intake.scan.verdict = Verdict.BLOCKED
    bad = submitted(intake, b"same", "two.py")
    intake.outbox.run_due()
    assert (intake.status(held), intake.status(bad)) == (AirlockStatus.IN_REVIEW, AirlockStatus.QUARANTINED)
    assert intake.kept(BlobClass.HELD, b"same")
    assert intake.kept(BlobClass.QUARANTINED, b"same")


@pytest.mark.parametrize("status", ["submitted", "checking"])
def test_checks_that_stand_still_end_in_quarantine(intake: Intake, status: str) -> None:
    draft = submitted(intake)
    if status == "checking":
        intake.move(draft, AirlockEvent.CHECK)
    sweeper: DeadlineSweeper = intake.services[DeadlineSweeper]
    assert sweeper.sweep() == 0
    with intake.world.store.write(housekeeping=True) as change:
        request = change.session.get(AirlockRequest, draft)
        request.check_deadline = utc_now() - timedelta(seconds=1)
        change.session.add(request)
    assert sweeper.sweep() == 1
    assert intake.status(draft) is AirlockStatus.QUARANTINED
    assert intake.kept(BlobClass.QUARANTINED, b"a")
    assert not intake.kept(BlobClass.DRAFT, b"a")
    assert sweeper.sweep() == 0
