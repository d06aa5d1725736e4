"""The way through the intake on PostgreSQL, with writers side by side."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from broch_core.blobs import BlobClass
from broch_core.lifecycles import AirlockEvent, AirlockStatus
from support import postgres
from support.intake import API, Intake, make_intake


@pytest.fixture(scope="module")
def cluster() -> Iterator[postgres.Cluster]:
    with postgres.cluster() as cluster:
        yield cluster


@pytest.fixture
def intake(tmp_path: Path, cluster: postgres.Cluster) -> Intake:
    return make_intake(tmp_path, cluster.fresh())


def at_once(calls: list) -> list[int]:
    codes: list[int] = []
    threads = [threading.Thread(target=lambda call=call: codes.append(call().status_code)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(codes)


def test_a_request_goes_in_is_returned_and_goes_in_again(intake: Intake) -> None:
    draft = intake.draft()
    url = intake.begin_upload(draft, "a.py", 6).headers["location"]
    assert intake.patch(url, 0, b"prin").status_code == 204
    assert intake.patch(url, 4, b"t()").status_code == 413
    assert intake.patch(url, 4, b"()").status_code == 204
    assert intake.put(draft, "b.py", b"b").status_code == 201
    assert intake.submit(draft).status_code == 200
    intake.outbox.run_due()
    assert intake.status(draft) is AirlockStatus.IN_REVIEW
    intake.move(draft, AirlockEvent.RETURN)
    assert intake.put(draft, "b.py", b"better").status_code == 201
    assert intake.submit(draft).json()["turn"] == 2
    intake.outbox.run_due()
    assert intake.status(draft) is AirlockStatus.IN_REVIEW
    assert intake.kept(BlobClass.HELD, b"better")
    assert not intake.kept(BlobClass.HELD, b"b")


def test_of_many_submissions_at_once_one_wins(intake: Intake) -> None:
    draft = intake.draft()
    intake.put(draft, "a.py", b"a")
    assert at_once([lambda: intake.submit(draft)] * 4) == [200, 409, 409, 409]


def test_files_sent_at_once_do_not_pass_the_limit(intake: Intake) -> None:
    draft = intake.draft()
    intake.of("ruth")
    codes = at_once([lambda n=n: intake.put(draft, f"f{n}.py", b"%d" % n) for n in range(8)])
    assert codes == [201] * 5 + [413] * 3
    assert intake.read(draft)["files"] == 5


def test_drafts_made_at_once_do_not_pass_the_quota(intake: Intake) -> None:
    body, headers = {"project_id": intake.world.project.id}, intake.of("ruth")
    calls = [lambda: intake.client.post(f"{API}/requests", json=body, headers=headers)] * 6
    assert at_once(calls) == [201] * 3 + [429] * 3


def test_a_name_asked_for_twice_at_once_is_given_once(intake: Intake) -> None:
    drafts = [intake.draft(), intake.draft()]
    for draft in drafts:
        intake.put(draft, "lib.py", draft.encode())
    assert at_once([lambda d=d: intake.submit(d) for d in drafts]) == [200, 409]
