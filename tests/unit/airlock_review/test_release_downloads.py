"""Downloads by ticket, receipts, public keys."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from sqlmodel import select, update

from broch_airlock.release.answers import disposition
from broch_airlock.release.downloads import DownloadDesk
from broch_airlock.tables import Direction, Ticket
from broch_core.audit.tables import AuditRecord
from broch_core.blobs import BlobClass
from broch_core.clock import utc_now
from broch_core.lifecycles import ProjectStatus
from broch_core.proof import TrustFile, verify_receipt
from broch_core.tables.revocations import TreFreeze
from support.reviews import ReviewWorld

API = "/api/v1/airlock"
DATA = b"a,b\n1,2\n"


@pytest.fixture
def released(place: ReviewWorld):
    request = place.released()
    return request, place.files(request)[0]


def files_url(released) -> str:
    request, file = released
    return f"{API}/requests/{request.id}/files/{file.id}"


def test_a_ticket_gives_the_bytes_once_to_its_own_session(place: ReviewWorld, released):
    browser, csrf = place.browser("ruth")
    made = browser.post(f"{files_url(released)}/tickets", headers={"X-CSRF-Token": csrf})
    assert made.status_code == 201
    ticket = made.json()["ticket"]
    form = {"ticket": ticket, "csrf_token": csrf}
    stranger, other_csrf = place.browser("ruth")
    assert stranger.post("/airlock/download", data=form | {"csrf_token": other_csrf}).status_code == 410
    answer = browser.post("/airlock/download", data=form)
    assert (answer.status_code, answer.content) == (200, DATA)
    assert (
        answer.headers["content-disposition"]
        == "attachment; filename=\"table.csv\"; filename*=UTF-8''table.csv"
    )
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert browser.post("/airlock/download", data=form).status_code == 410


def test_an_expired_ticket_is_gone(place: ReviewWorld, released):
    browser, csrf = place.browser("ruth")
    ticket = browser.post(f"{files_url(released)}/tickets", headers={"X-CSRF-Token": csrf}).json()["ticket"]
    with place.store.read() as session:
        assert session.exec(select(Ticket)).one().token_hash != ticket
    place.services[DownloadDesk]._settings = place.world.settings.model_copy(
        update={"ticket_lifetime": timedelta(seconds=-1)}
    )
    late = browser.post(f"{files_url(released)}/tickets", headers={"X-CSRF-Token": csrf}).json()["ticket"]
    assert browser.post("/airlock/download", data={"ticket": late, "csrf_token": csrf}).status_code == 410
    assert browser.post("/airlock/download", data={"ticket": ticket, "csrf_token": csrf}).status_code == 200


def test_a_ticket_of_somebody_else_or_of_nobody_is_gone_and_stays_good_for_its_owner(
    place: ReviewWorld, released
):
    ruth, csrf = place.browser("ruth")
    robin, others = place.browser("robin")
    ticket = ruth.post(f"{files_url(released)}/tickets", headers={"X-CSRF-Token": csrf}).json()["ticket"]
    refused = [
        robin.post("/airlock/download", data={"ticket": ticket, "csrf_token": others}),
        ruth.post("/airlock/download", data={"ticket": ticket[:-1] + "!", "csrf_token": csrf}),
        ruth.post("/airlock/download", data={"ticket": "x" * 43, "csrf_token": csrf}),
    ]
    assert [answer.status_code for answer in refused] == [410] * 3
    assert all("remedy" in answer.text or "again" in answer.text for answer in refused)
    answer = ruth.post("/airlock/download", data={"ticket": ticket, "csrf_token": csrf})
    assert (answer.status_code, answer.content) == (200, DATA)


def test_the_button_downloads_without_scripts_and_each_time_is_recorded(place: ReviewWorld, released):
    request, file = released
    browser, csrf = place.browser("robin")
    for _ in range(2):
        answer = browser.post(
            f"/airlock/requests/{request.id}/files/{file.id}/download", data={"csrf_token": csrf}
        )
        assert answer.content == DATA
    with place.store.read() as session:
        used = [
            r
            for r in session.exec(select(AuditRecord).where(AuditRecord.action == "airlock:download"))
            if r.facts["ticket"] == "used"
        ]
    assert len(used) == 2


def test_the_command_line_downloads_in_one_call(place: ReviewWorld, released):
    answer = place.client().post(f"{files_url(released)}/download", headers=place.world.headers("ruth"))
    assert (answer.status_code, answer.content) == (200, DATA)


@pytest.mark.parametrize(("handle", "status"), [("sam", 404), ("rita", 404), ("ada", 404), ("robin", 200)])
def test_members_alone_download(place: ReviewWorld, released, handle: str, status: int):
    answer = place.client().post(f"{files_url(released)}/download", headers=place.world.headers(handle))
    assert answer.status_code == status


def test_what_came_in_does_not_go_out(place: ReviewWorld):
    request = place.released(direction=Direction.INGRESS)
    url = f"{API}/requests/{request.id}/files/{place.files(request)[0].id}"
    answer = place.client().post(f"{url}/download", headers=place.world.headers("ruth"))
    assert answer.status_code == 409
    assert "/imports" in answer.json()["detail"]


def test_nothing_is_downloaded_before_the_release(place: ReviewWorld):
    request = place.approved()
    url = f"{API}/requests/{request.id}"
    headers = place.world.headers("ruth")
    file = place.files(request)[0]
    assert place.client().post(f"{url}/files/{file.id}/tickets", headers=headers).status_code == 409
    assert place.client().get(f"{url}/receipt", headers=headers).status_code == 409


def test_altered_released_bytes_break_the_connection_instead_of_arriving(place: ReviewWorld, released):
    request, file = released
    path = place.blobs.path(request.project_id, BlobClass.RELEASED, file.sha256)
    path.chmod(0o600)
    path.write_bytes(b"x" * len(DATA))
    download = place.services[DownloadDesk].download(
        place.world.actor("ruth").__class__(
            **{**vars(place.world.actor("ruth")), "session_id": session_of(place)}
        ),
        request.id,
        file.id,
    )
    with pytest.raises(OSError, match="not those"):
        b"".join(download.pieces())


def session_of(place: ReviewWorld) -> str:
    return place.world.sessions.start("ruth", kind="cli").session_id


def test_receipt_and_keys_verify_offline(place: ReviewWorld, released):
    request, file = released
    client = place.client()
    receipt = client.get(f"{API}/requests/{request.id}/receipt", headers=place.world.headers("rita"))
    assert receipt.headers["content-disposition"].startswith('attachment; filename="receipt.json"')
    trust = client.get(f"{API}/trust.json")
    assert json.loads(trust.content)["origin"] == place.world.audit_log.origin
    report = verify_receipt(receipt.content, {"table.csv": file.sha256}, TrustFile.parse(trust.content))
    assert report.ok
    assert place.world.people["rita"].handle not in receipt.text


@pytest.mark.parametrize(
    ("name", "plain"),
    [("a.csv", "a.csv"), ('q"\\;%.csv', "q____.csv"), ("größe.csv", "gr__e.csv"), ("日本", "__")],
)
def test_file_names_travel_in_both_forms(name: str, plain: str):
    header = disposition(name)
    assert f'filename="{plain}"' in header
    header.encode("ascii")


def test_a_ticket_row_cannot_be_used_again_even_by_hand(place: ReviewWorld, released):
    place.client().post(f"{files_url(released)}/download", headers=place.world.headers("ruth"))
    with pytest.raises(Exception, match="used once"), place.store.write(housekeeping=True) as change:
        change.session.exec(update(Ticket).values(used_at=None, expires_at=utc_now()))


def test_nothing_is_downloaded_while_the_whole_tre_is_frozen_not_even_of_a_project_that_ended(
    place: ReviewWorld, released
):
    browser, csrf = place.browser("ruth")
    url, shown = f"{files_url(released)}/tickets", {"X-CSRF-Token": csrf}
    project = place.world.project.model_copy(update={"status": ProjectStatus.ENDED})
    with place.store.write(housekeeping=True) as change:
        change.session.merge(project)
    ticket = browser.post(url, headers=shown)
    assert ticket.status_code == 201
    freeze = TreFreeze(reason="An intrusion.", begun_by=place.world.people["rita"].id)
    place.world.add(freeze)
    refused = browser.post(url, headers=shown)
    assert refused.status_code == 409
    assert "whole TRE" in refused.text
    form = {"ticket": ticket.json()["ticket"], "csrf_token": csrf}
    assert browser.post("/airlock/download", data=form).status_code == 409
