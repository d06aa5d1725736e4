"""Releases happen once, with a receipt that verifies, wherever the work was cut off."""

from __future__ import annotations

import base64
from datetime import timedelta

import pytest
from sqlmodel import select

from broch_airlock.release import service
from broch_airlock.tables import Direction, ImportedName, Release, ReleasedFile
from broch_core.actors import ProjectRole
from broch_core.audit.tables import AuditRecord
from broch_core.blobs import BlobClass
from broch_core.clock import utc_now
from broch_core.errors import Conflict
from broch_core.lifecycles import AirlockStatus, ProjectStatus
from broch_core.outbox.worker import TemporaryError
from broch_core.proof import RELEASE_ACTION, verify_receipt
from broch_core.tables.projects import Membership, Project
from support.reviews import POLICY, ReviewWorld

DATA = {"table.csv": b"a,b\n1,2\n", "notes.txt": b"fine\n"}
STEPS = [
    (service.Releaser, "_record"),
    (service.Releaser, "_write_receipt"),
    (service.Releaser, "_place"),
    (service.Releaser, "_deliver"),
    ("shelves", "tidy"),
    ("shelves", "shelve"),
    ("log", "sequence"),
    ("log", "proof"),
]


def single_release(place: ReviewWorld, request_id: str) -> Release:
    with place.store.read() as session:
        records = session.exec(select(AuditRecord).where(AuditRecord.action == RELEASE_ACTION)).all()
        releases = session.exec(select(Release).where(Release.request_id == request_id)).all()
        assert len(records) == len(releases) == 1
        assert releases[0].record_id == records[0].id
        assert len(session.exec(select(ReleasedFile)).all()) == len(DATA)
        return releases[0]


def assert_proved(place: ReviewWorld, release: Release, request) -> None:
    assert release.receipt is not None
    digests = {file.name: file.sha256 for file in place.files(request)}
    report = verify_receipt(release.receipt.encode(), digests, place.world.keys.trust())
    assert report.ok, [str(step) for step in report.steps]
    assert POLICY in str(base64.b64decode(release.envelope["payload"]))


def test_an_approved_request_is_released_with_a_receipt_that_verifies(place: ReviewWorld):
    request = place.released(files=DATA)
    assert request.status is AirlockStatus.RELEASED
    assert_proved(place, single_release(place, request.id), request)
    for file in place.files(request):
        assert place.blobs.open(request.project_id, BlobClass.RELEASED, file.sha256).read() == DATA[file.name]
        assert not place.blobs.path(request.project_id, BlobClass.HELD, file.sha256).exists()


def test_a_second_run_changes_nothing(place: ReviewWorld):
    request = place.released(files=DATA)
    before = single_release(place, request.id)
    place.releaser.release({"request_id": request.id})
    assert single_release(place, request.id) == before


@pytest.mark.parametrize(("where", "step"), STEPS, ids=str)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_release_that_was_cut_off_goes_on(place: ReviewWorld, monkeypatch, where, step, when):
    request = place.approved(files=DATA)
    target = {"shelves": place.shelves, "log": place.world.audit_log}.get(where, place.releaser)
    original = getattr(target, step)

    def cut(*args, **kwargs):
        if when == "after":
            original(*args, **kwargs)
        raise RuntimeError("power cut")

    monkeypatch.setattr(target, step, cut)
    with pytest.raises(RuntimeError, match="power cut"):
        place.releaser.release({"request_id": request.id})
    monkeypatch.undo()
    place.world.sessions.start("ruth", kind="cli")  # the log goes on meanwhile
    place.releaser.release({"request_id": request.id})
    assert place.request(request.id).status is AirlockStatus.RELEASED
    assert_proved(place, single_release(place, request.id), request)


def test_altered_bytes_fail_the_release_and_nothing_leaves(place: ReviewWorld):
    request = place.approved(files=DATA)
    file = place.files(request)[0]
    path = place.blobs.path(request.project_id, BlobClass.HELD, file.sha256)
    path.chmod(0o600)
    path.write_bytes(b"other")
    place.outbox.run_due()
    after = place.request(request.id)
    assert after.status is AirlockStatus.FAILED
    assert "not those that were approved" in (after.message or "")
    with place.store.read() as session:
        assert session.exec(select(Release)).first() is None
    assert not place.blobs.path(request.project_id, BlobClass.RELEASED, file.sha256).exists()


def test_missing_bytes_fail_the_release(place: ReviewWorld):
    request = place.approved()
    place.blobs.delete(request.project_id, BlobClass.HELD, place.files(request)[0].sha256)
    place.outbox.run_due()
    assert place.request(request.id).status is AirlockStatus.FAILED


def test_approvals_that_do_not_hold_any_more_fail_the_release(place: ReviewWorld):
    request = place.approved()
    world = place.world
    world.add(
        Membership(
            project_id=world.project.id, person_id=world.people["rita"].id, role=ProjectRole.RESEARCHER
        )
    )
    place.outbox.run_due()
    assert place.request(request.id).status is AirlockStatus.FAILED


def test_a_withdrawn_request_is_not_released(place: ReviewWorld):
    request = place.approved()
    place.move(request, AirlockStatus.WITHDRAWN)
    place.outbox.run_due()
    assert place.request(request.id).status is AirlockStatus.WITHDRAWN


def test_a_frozen_project_holds_its_releases_until_the_thaw(place: ReviewWorld):
    request = place.approved(files=DATA)

    def set_status(status: ProjectStatus) -> None:
        with place.store.write(housekeeping=True) as change:
            row = change.session.get_one(Project, place.world.project.id)
            row.status = status
            change.session.add(row)

    set_status(ProjectStatus.FROZEN)
    with pytest.raises(TemporaryError, match="frozen"):
        place.releaser.release({"request_id": request.id})
    assert place.request(request.id).status is AirlockStatus.APPROVED
    set_status(ProjectStatus.ACTIVE)
    place.releaser.release({"request_id": request.id})
    assert place.request(request.id).status is AirlockStatus.RELEASED


def end(place: ReviewWorld, how: str) -> None:
    with place.store.write(housekeeping=True) as change:
        row = change.session.get_one(Project, place.world.project.id)
        if how == "ended":
            row.status = ProjectStatus.ENDED
        else:
            row.ends_on = utc_now().date() - timedelta(days=1)
        change.session.add(row)


@pytest.mark.parametrize("how", ["ended", "its last day is over"])
def test_a_project_that_has_ended_releases_nothing_more(place: ReviewWorld, how: str):
    """Rights end with the project (design, rule 8): approved before is not released after."""
    request = place.approved(files=DATA)
    end(place, how)
    place.releaser.release({"request_id": request.id})
    failed = place.request(request.id)
    assert failed.status is AirlockStatus.FAILED
    assert "ended" in (failed.message or "")
    with place.store.read() as session:
        assert session.exec(select(Release)).all() == []
    place.overseer.retry(place.world.actor("ada"), request.id)
    place.outbox.run_due()
    assert place.request(request.id).status is AirlockStatus.FAILED


def test_a_release_that_was_recorded_before_the_end_is_delivered(
    place: ReviewWorld, monkeypatch: pytest.MonkeyPatch
):
    request = place.approved(files=DATA)
    with monkeypatch.context() as patch:
        patch.setattr(place.releaser, "_place", crash)
        with pytest.raises(RuntimeError):
            place.releaser.release({"request_id": request.id})
    end(place, "ended")
    place.releaser.release({"request_id": request.id})
    assert place.request(request.id).status is AirlockStatus.RELEASED


def crash(*_: object) -> None:
    raise RuntimeError


def test_imports_appear_read_only_in_the_zone_and_are_noted(place: ReviewWorld):
    request = place.released(files=DATA, direction=Direction.INGRESS)
    folder = place.zones.imports(request.project_id)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == DATA
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o444}
    with place.store.read() as session:
        assert all(name.placed_at for name in session.exec(select(ImportedName)))
    assert_proved(place, single_release(place, request.id), request)


def test_an_import_let_through_by_policy_names_no_reviewer(place: ReviewWorld):
    request = place.in_review(files=DATA, direction=Direction.INGRESS)
    place.move(request, AirlockStatus.RETURNED)
    place.move(request, AirlockStatus.CHECKING)
    place.move(request, AirlockStatus.APPROVED)
    place.releaser.release({"request_id": request.id})
    release = single_release(place, request.id)
    assert_proved(place, release, request)
    report = verify_receipt(
        release.receipt.encode(), {f.name: f.sha256 for f in place.files(request)}, place.world.keys.trust()
    )
    assert "without review" in str([str(step) for step in report.steps])


def test_the_same_bytes_may_be_placed_twice_and_others_never(place: ReviewWorld, tmp_path):
    (tmp_path / "one").write_bytes(b"one")
    (tmp_path / "two").write_bytes(b"two")
    project = place.world.project.id
    for name in ("one", "one"):
        with (tmp_path / name).open("rb") as file:
            place.zones.place_import(project, "script.py", file)
    with (tmp_path / "two").open("rb") as file, pytest.raises(Conflict, match="already has"):
        place.zones.place_import(project, "script.py", file)
    assert (place.zones.imports(project) / "script.py").read_bytes() == b"one"
    assert list((place.zones.imports(project).parent / "inbox").iterdir()) == []
