"""Retention: bytes go when the time of their class is over, never before, never those of others; proof stays."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broch_airlock.release.downloads import DownloadDesk
from broch_airlock.retention.policy import RESTING, retention
from broch_airlock.retention.service import CertificateDesk
from broch_airlock.tables import AirlockBytes, AirlockRequest, Direction
from broch_core import faults
from broch_core.blobs import BlobClass
from broch_core.clock import utc_now
from broch_core.errors import Conflict, Gone, NotFound
from broch_core.lifecycles import AirlockStatus as Status
from broch_core.settings import Settings
from support.counts import count
from support.retention import age, assert_deleted, at_rest, classes_of, deletion, end_retention, eraser
from support.reviews import ReviewWorld

DATA = b"age,count\n40,12\n"
SHA256 = hashlib.sha256(DATA).hexdigest()
OPEN = sorted(set(Status) - set(RESTING) - {Status.WITHDRAWN, Status.REJECTED})
DAY = timedelta(days=1)


def test_every_state_is_at_rest_or_under_way_or_over() -> None:
    assert set(RESTING) | set(OPEN) | {Status.WITHDRAWN, Status.REJECTED} == set(Status)
    assert set(RESTING.values()) == set(BlobClass)


@pytest.mark.parametrize("status", RESTING)
def test_bytes_go_when_their_time_is_over_and_leave_a_certificate(place: ReviewWorld, status: Status) -> None:
    request = at_rest(place, status, DATA)
    assert RESTING[status] in classes_of(place, SHA256)
    age(place, request)
    assert end_retention(place) == 1
    assert_deleted(place, request)
    after = place.request(request.id).status
    assert after is (Status.WITHDRAWN if status in {Status.DRAFT, Status.RETURNED} else status)
    assert [file.sha256 for file in place.files(request)] == [SHA256]
    assert end_retention(place) == 0


@pytest.mark.parametrize("status", RESTING)
def test_bytes_stay_until_their_time_is_over(place: ReviewWorld, status: Status) -> None:
    request = at_rest(place, status, DATA)
    kept = retention(place.world.settings)[RESTING[status]]
    age(place, request, kept - timedelta(minutes=5))
    assert end_retention(place) == 0
    assert RESTING[status] in classes_of(place, SHA256)
    assert place.request(request.id).status is status


@pytest.mark.parametrize("status", OPEN)
def test_bytes_of_an_open_request_are_never_deleted(place: ReviewWorld, status: Status) -> None:
    request = place.approved(files={"table.csv": DATA}) if status is Status.APPROVED else None
    if status is Status.RELEASING:
        request = place.approved(files={"table.csv": DATA})
        place.releaser._begin(request.id)
    request = request or at_rest(place, status, DATA)
    age(place, request)
    assert eraser(place).sweep() == 0
    assert BlobClass.HELD in classes_of(place, SHA256)


def test_a_draft_that_got_files_yesterday_is_not_forgotten(place: ReviewWorld) -> None:
    request = at_rest(place, Status.DRAFT, DATA)
    age(place, request)
    with place.store.write(housekeeping=True) as change:
        file = place.files(request)[0]
        other = "ab" * 32
        change.session.add(
            AirlockBytes(file_id=file.id, sha256=other, turn=1, size=1, added_at=utc_now() - DAY)
        )
    assert end_retention(place) == 0
    assert place.request(request.id).status is Status.DRAFT


def test_an_empty_draft_is_withdrawn_without_a_certificate(place: ReviewWorld) -> None:
    author = place.world.people["ruth"].id
    request = AirlockRequest(project_id=place.world.project.id, direction=Direction.INGRESS, author_id=author)
    place.world.add(request)
    age(place, request)
    assert end_retention(place) == 1
    assert place.request(request.id).status is Status.WITHDRAWN
    assert deletion(place, request) is None


def test_bytes_that_another_request_holds_stay_for_it(place: ReviewWorld) -> None:
    """The same bytes under two requests: one inode, but each request's own right to it."""
    old = at_rest(place, Status.QUARANTINED, DATA)
    young = at_rest(place, Status.QUARANTINED, DATA)
    age(place, old)
    assert end_retention(place) == 0, "nothing of it could go: it waits for the other"
    assert classes_of(place, SHA256) == {BlobClass.QUARANTINED}
    age(place, young)
    assert end_retention(place) == 2
    assert_deleted(place, old)
    assert_deleted(place, young)


def test_what_is_shared_is_named_as_kept_and_the_rest_goes(place: ReviewWorld) -> None:
    old = at_rest(place, Status.RELEASED, DATA)
    both = place.released(files={"a.csv": b"alone", "b.csv": DATA})
    age(place, both)
    assert end_retention(place) == 1
    assert_deleted(place, both, kept=1)
    assert classes_of(place, SHA256) == {BlobClass.RELEASED}
    certificate = place.services[CertificateDesk].certificate(place.world.actor("ruth"), both.id)
    [leaf_file] = json.loads(json.loads(certificate)["leaf"])["facts"]["files"]
    assert leaf_file["sha256"] == hashlib.sha256(b"alone").hexdigest()
    age(place, old)
    end_retention(place)
    assert_deleted(place, old)


def test_projects_do_not_keep_bytes_for_each_other(place: ReviewWorld) -> None:
    ours = at_rest(place, Status.FAILED, DATA)
    with place.blobs.writer("0" * 26, 1 << 20) as writer:
        writer.write(DATA)
        writer.commit(BlobClass.HELD)
    age(place, ours)
    end_retention(place)
    assert_deleted(place, ours)
    assert place.blobs.path("0" * 26, BlobClass.HELD, SHA256).exists()


@pytest.mark.parametrize("point", ["retention.deleted", "retention.recorded", "store.changed"])
def test_a_sweep_that_is_cut_off_ends_when_it_runs_again(place: ReviewWorld, point: str) -> None:
    request = at_rest(place, Status.QUARANTINED, DATA)
    age(place, request)
    eraser(place).sweep()
    found = deletion(place, request)
    assert found is not None

    def cut(name: str) -> None:
        if name == point:
            raise KeyboardInterrupt

    faults.arm(cut)
    try:
        with pytest.raises(KeyboardInterrupt):
            eraser(place).erase({"deletion_id": found.id})
    finally:
        faults.arm(None)
    for _ in range(2):
        eraser(place).erase({"deletion_id": found.id})
    assert_deleted(place, request)


def test_what_was_deleted_is_neither_downloaded_nor_released_again(place: ReviewWorld) -> None:
    released = at_rest(place, Status.RELEASED, DATA)
    failed = at_rest(place, Status.FAILED, b"other")
    ruth, desk = place.world.sessions.actor(place.world.token("ruth")), place.services[DownloadDesk]
    assert ruth is not None
    assert b"".join(desk.download(ruth, released.id, place.files(released)[0].id).pieces()) == DATA
    for request in (released, failed):
        age(place, request)
    end_retention(place)
    with pytest.raises(Gone, match="retention"):
        desk.download(ruth, released.id, place.files(released)[0].id)
    assert desk.receipt(ruth, released.id)
    with pytest.raises(Conflict, match="cannot be released"):
        place.overseer.retry(place.world.actor("ada"), failed.id)


def test_the_certificate_is_for_those_who_may_read_the_request(place: ReviewWorld) -> None:
    request = at_rest(place, Status.RELEASED, DATA)
    desk = place.services[CertificateDesk]
    with pytest.raises(Conflict, match="no deletion certificate"):
        desk.certificate(place.world.actor("ruth"), request.id)
    age(place, request)
    end_retention(place)
    for who in ("ruth", "robin", "rosa"):
        assert "application/vnd.broch.deletion" in desk.certificate(place.world.actor(who), request.id)
    with pytest.raises(NotFound):
        desk.certificate(place.world.actor("sam"), request.id)


def test_pages_say_when_files_will_go_and_that_they_went(place: ReviewWorld) -> None:
    request = at_rest(place, Status.RELEASED, DATA)
    browser, _ = place.browser("ruth")
    page = f"/airlock/requests/{request.id}"
    assert "Download them before." in browser.get(page).text
    age(place, request, place.world.settings.retention_released - 3 * DAY)
    assert "Deleted soon" in browser.get(page).text
    age(place, request)
    eraser(place).sweep()
    assert "are being deleted" in browser.get(page).text
    place.outbox.run_due()
    shown = browser.get(page).text
    assert "are deleted" in shown
    assert "/download" not in shown
    saved = browser.get(f"{page}/certificate")
    assert saved.headers["content-disposition"].startswith('attachment; filename="certificate.json"')
    answer = place.client().get(f"/api/v1{page}", headers=place.world.headers("ruth")).json()["retention"]
    assert answer["certified"]
    assert answer["deletes_at"] is None


def test_settings_say_how_long(tmp_path: Path) -> None:
    chosen = Settings(folder=tmp_path, retention_held=timedelta(days=7))
    assert retention(chosen)[BlobClass.HELD] == timedelta(days=7)


STATES = st.sampled_from([*RESTING, Status.CHECKING, Status.IN_REVIEW])


@given(
    requests=st.lists(
        st.tuples(STATES, st.lists(st.integers(0, 3), min_size=1, max_size=3, unique=True), st.booleans()),
        min_size=1,
        max_size=5,
    )
)
@settings(
    max_examples=count("retention of random requests that share bytes", ci=8, nightly=500),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
def test_no_request_loses_bytes_before_its_time(
    tmp_path_factory: pytest.TempPathFactory, requests: list[tuple[Status, list[int], bool]]
) -> None:
    place = ReviewWorld(tmp_path_factory.mktemp("retention"))
    made = []
    for status, numbers, old in requests:
        files = {f"{n}.csv": b"bytes %d" % n for n in numbers}
        if status is Status.RELEASED:
            request = place.released(files=files)
        elif status is Status.RECALLED:
            request = place.recall(place.released(files=files))
        else:
            first, *rest = files.items()
            request = (
                at_rest(place, status, first[1], name=first[0]) if not rest else _many(place, status, files)
            )
        if old:
            age(place, request)
        made.append((request, files, old and status in RESTING))
    for _ in range(2):
        end_retention(place)
    kept = {data for _, files, over in made if not over for data in files.values()}
    for request, files, over in made:
        found = deletion(place, request)
        assert found is None or over
        for data in files.values():
            lies = classes_of(place, hashlib.sha256(data).hexdigest())
            if not over:
                assert lies, (request.status, data)
            elif data not in kept:
                assert lies == set(), (request.status, data)
    place.store.engine.dispose()


def _many(place: ReviewWorld, status: Status, files: dict[str, bytes]) -> object:
    names = list(files)
    request = at_rest(place, Status.DRAFT, files[names[0]], name=names[0])
    for name in names[1:]:
        file = place.give(request, name, files[name])
        place.shelves.shelve(request.project_id, [file.sha256], RESTING.get(status, BlobClass.HELD))
    first = place.files(request)[0]
    place.shelves.shelve(
        request.project_id, [f.sha256 for f in place.files(request)], RESTING.get(status, BlobClass.HELD)
    )
    if status is not Status.DRAFT:
        place.move(request, status, submitted_at=utc_now())
    place.shelves.tidy(request.project_id, first.sha256)
    return place.request(request.id)
