"""A release can be recalled and a failed one tried again; receipts tell, given the signed list of recalls."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest
from sqlmodel import select

from broch_airlock.checking.deadlines import DeadlineSweeper
from broch_airlock.tables import Direction, Release
from broch_core.audit.tables import AuditPersonal, AuditRecord
from broch_core.blobs import BlobClass
from broch_core.clock import utc_now
from broch_core.errors import Conflict, Denied, NotFound
from broch_core.lifecycles import AirlockStatus
from broch_core.proof import BadSignature, Malformed, Outcome, RecallList, verify_receipt
from broch_core.store.unit import Store
from support.reviews import ReviewWorld

API = "/api/v1/airlock"
REASON = {"reason": "Table 2 shows single patients."}


def verified(place: ReviewWorld, request, recalls: bytes | None):
    with place.store.read() as session:
        release = session.exec(select(Release).where(Release.request_id == request.id)).one()
    digests = {file.name: file.sha256 for file in place.files(request)}
    return verify_receipt(
        (release.receipt or "").encode(), digests, place.world.keys.trust(), recalls=recalls
    )


def said_of_recall(report) -> tuple[Outcome, str]:
    return next((step.outcome, step.reason) for step in report.steps if step.name == "recall")


def test_a_recalled_release_is_not_handed_out_any_more(place: ReviewWorld):
    request = place.released()
    url = f"{API}/requests/{request.id}"
    download = f"{url}/files/{place.files(request)[0].id}/download"
    client, ruth = place.client(), place.world.headers("ruth")
    assert client.post(download, headers=ruth).status_code == 200
    ticket = client.post(download.replace("/download", "/tickets"), headers=ruth).json()["ticket"]
    done = client.post(f"{url}/recall", json=REASON, headers=place.world.headers("ada"))
    assert (done.status_code, done.json()["status"]) == (200, "recalled")
    assert client.post(download, headers=ruth).status_code == 409
    browser, csrf = place.browser("ruth")
    assert browser.post("/airlock/download", data={"ticket": ticket, "csrf_token": csrf}).status_code == 410
    page = browser.get(f"/airlock/requests/{request.id}").text
    assert REASON["reason"] in page
    assert "/download" not in page
    again = client.post(f"{url}/recall", json=REASON, headers=place.world.headers("ada"))
    assert again.status_code == 409


def test_a_recall_is_recorded_with_its_release_and_an_erasable_reason(place: ReviewWorld):
    request = place.recall(place.released())
    with place.store.read() as session:
        record = session.exec(select(AuditRecord).where(AuditRecord.action == "airlock:recall")).one()
        release = session.exec(select(Release)).one()
        texts = session.get_one(AuditPersonal, record.id).texts
    assert record.facts["release"] == release.id
    assert record.actor_id == place.world.people["ada"].id
    assert texts == {"reason": "Single patients."}
    assert request.status is AirlockStatus.RECALLED


def test_the_list_of_recalls_turns_a_receipt_down(place: ReviewWorld):
    kept, gone = place.released(files={"a": b"1"}), place.released(files={"b": b"2"})
    place.recall(gone)
    recalls = place.client().get(f"{API}/recalls.json")
    assert recalls.headers["content-disposition"].startswith('attachment; filename="recalls.json"')
    assert verified(place, kept, recalls.content).ok
    assert said_of_recall(verified(place, kept, recalls.content))[0] is Outcome.OK
    refused = verified(place, gone, recalls.content)
    assert not refused.ok
    assert said_of_recall(refused)[0] is Outcome.FAILED
    assert "was recalled at" in said_of_recall(refused)[1]
    unasked = verified(place, gone, None)
    assert unasked.ok
    assert said_of_recall(unasked)[0] is Outcome.NOT_CHECKED


def test_a_list_of_recalls_that_was_touched_or_is_too_old_is_no_list(place: ReviewWorld):
    early = place.overseer.recalls().encode()
    request = place.released()
    trust = place.world.keys.trust()
    assert "older than the release" in said_of_recall(verified(place, request, early))[1]
    place.recall(request)
    now = json.loads(place.overseer.recalls())
    with pytest.raises(BadSignature):
        RecallList.parse(json.dumps(now | {"payload": json.loads(early)["payload"]}).encode(), trust)
    with pytest.raises(Malformed):
        RecallList.parse(json.dumps(now | {"more": 1}).encode(), trust)
    assert len(RecallList.parse(json.dumps(now).encode(), trust).recalls) == 1


def test_a_recalled_import_leaves_the_project(place: ReviewWorld):
    request = place.released(files={"model.py": b"1", "other.py": b"2"}, direction=Direction.INGRESS)
    imports = place.zones.imports(request.project_id)
    (imports / "other.py").unlink()
    (imports / "other.py").write_bytes(b"not what was released")
    place.recall(request)
    place.outbox.run_due()
    assert [path.name for path in imports.iterdir()] == ["other.py"]
    place.overseer.take_back({"request_id": request.id})


@pytest.mark.parametrize(
    ("handle", "error"), [("ruth", Denied), ("robin", Denied), ("rita", NotFound), ("sam", NotFound)]
)
def test_only_an_admin_recalls_and_retries(place: ReviewWorld, handle: str, error: type[Exception]):
    request = place.released()
    actor = place.world.actor(handle)
    with pytest.raises(error):
        place.overseer.require(actor, request.id)
    with pytest.raises(error):
        place.overseer.retry(actor, request.id)
    with pytest.raises(Denied):
        place.overseer.list(actor, before=None, limit=5)


def test_a_failed_release_is_tried_again_when_its_bytes_are_back(place: ReviewWorld):
    request = place.approved()
    file = place.files(request)[0]
    path = place.blobs.path(request.project_id, BlobClass.HELD, file.sha256)
    away = path.with_suffix(".away")
    path.rename(away)
    place.outbox.run_due()
    assert place.request(request.id).status is AirlockStatus.FAILED
    url = f"{API}/requests/{request.id}/retry"
    ada = place.world.headers("ada")
    for _ in range(2):  # the bytes are still away: it fails again, and can be tried again
        assert place.client().post(url, headers=ada).status_code == 200
        place.outbox.run_due()
        assert place.request(request.id).status is AirlockStatus.FAILED
    away.rename(path)
    assert place.client().post(url, headers=ada).status_code == 200
    place.outbox.run_due()
    assert place.request(request.id).status is AirlockStatus.RELEASED
    assert place.client().post(url, headers=ada).status_code == 409


def test_a_release_that_stands_still_fails_and_is_tried_again(place: ReviewWorld, monkeypatch):
    request = place.approved()
    monkeypatch.setattr(place.releaser, "_place", lambda *_: (_ for _ in ()).throw(OSError(5, "I/O error")))
    place.outbox.run_due()
    monkeypatch.undo()
    stuck = place.request(request.id)
    assert stuck.status is AirlockStatus.RELEASING
    assert stuck.check_deadline is not None
    place.move(stuck, AirlockStatus.RELEASING, check_deadline=utc_now() - timedelta(seconds=1))
    sweeper = DeadlineSweeper(place.services.get(Store, place.store), None, place.world.settings)
    assert sweeper.sweep() == 1
    assert place.request(request.id).status is AirlockStatus.FAILED
    place.overseer.retry(place.world.actor("ada"), request.id)
    place.outbox.run_due()
    assert place.request(request.id).status is AirlockStatus.RELEASED
    with place.store.read() as session:
        assert len(session.exec(select(Release)).all()) == 1


def test_the_admin_page_offers_what_can_be_done_and_shows_no_content(place: ReviewWorld):
    released, failed = place.released(), place.approved(files={"secret-name.csv": b"2"})
    place.blobs.delete(failed.project_id, BlobClass.HELD, place.files(failed)[0].sha256)
    place.outbox.run_due()
    browser, csrf = place.browser("ada")
    page = browser.get("/airlock/releases").text
    assert f'action="/airlock/requests/{released.id}/recall"' in page
    assert f'action="/airlock/requests/{failed.id}/retry"' in page
    assert "Ruth" not in page
    assert "Table 2" not in page
    form = {"csrf_token": csrf, "reason": " "}
    url = f"/airlock/requests/{released.id}/recall"
    assert browser.post(url, data=form, follow_redirects=False).status_code == 303
    assert place.request(released.id).status is AirlockStatus.RELEASED
    browser.post(url, data=form | {"reason": "Why not."})
    assert place.request(released.id).status is AirlockStatus.RECALLED
    assert re.search(r"recalled", browser.get("/airlock/releases").text, re.IGNORECASE)
    ruth, _ = place.browser("ruth")
    assert ruth.get("/airlock/releases").status_code == 403


def test_lists_of_releases_go_on_page_by_page(place: ReviewWorld):
    made = [place.released(files={f"{n}.csv": bytes([n])}).id for n in range(3)]
    ada = place.world.headers("ada")
    first = place.client().get(f"{API}/releases?limit=2", headers=ada).json()
    rest = place.client().get(f"{API}/releases?limit=2&before={first['next']}", headers=ada).json()
    assert [row["id"] for row in first["items"] + rest["items"]] == made[::-1]
    assert rest["next"] is None


def test_nothing_but_a_release_is_recalled(place: ReviewWorld):
    request = place.in_review()
    with pytest.raises(Conflict, match="in review"):
        place.recall(request)
