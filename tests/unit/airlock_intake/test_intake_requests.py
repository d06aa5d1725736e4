"""Drafts, submission, withdrawal, comments."""

import hashlib
import threading

import pytest
from sqlmodel import col, select

from broch_airlock.requests.steps import STEPS, steps
from broch_airlock.tables import AirlockBytes, AirlockFile, ImportedName
from broch_core.audit.tables import AuditRecord
from broch_core.blobs import BlobClass
from broch_core.clock import utc_now
from broch_core.ids import new_id
from broch_core.lifecycles import AIRLOCK, AirlockEvent, AirlockStatus
from broch_core.outbox.tables import OutboxEntry
from support.intake import API, Intake


def entries(intake: Intake, kind: str) -> list[dict]:
    with intake.world.store.read() as session:
        return [entry.payload for entry in session.exec(select(OutboxEntry).where(OutboxEntry.kind == kind))]


def test_a_person_confirms_and_the_checks_begin(intake: Intake) -> None:
    draft = intake.draft()
    intake.put(draft, "a.py", b"print()")
    answer = intake.submit(draft)
    assert answer.status_code == 200, answer.text
    view = answer.json()
    assert (view["status"], view["turn"], view["purpose"]) == ("submitted", 1, "Table 2")
    assert view["file_list"][0]["verdict"] == "pending"
    assert [event["status"] for event in view["timeline"]] == ["draft", "submitted"]
    assert view["timeline"][0]["by"] == "Ruth"
    assert entries(intake, "airlock.check") == [{"request_id": draft, "turn": 1}]


def test_stale_digests_are_refused(intake: Intake) -> None:
    draft = intake.draft()
    intake.put(draft, "a.py", b"seen")
    [seen] = intake.read(draft)["file_list"]
    intake.put(draft, "a.py", b"changed behind")
    confirmed = [{"file_id": seen["id"], "sha256": seen["sha256"]}]
    stale = intake.submit(draft, files=confirmed)
    assert stale.status_code == 409
    assert "not those that you confirmed" in stale.json()["detail"]
    assert intake.status(draft) is AirlockStatus.DRAFT
    assert intake.submit(draft).status_code == 200


@pytest.mark.parametrize("change", ["missing", "extra", "twice", "none"])
def test_what_is_confirmed_is_exactly_what_is_there(intake: Intake, change: str) -> None:
    draft = intake.draft()
    intake.put(draft, "a.py", b"a")
    intake.put(draft, "b.py", b"b")
    files = [{"file_id": f["id"], "sha256": f["sha256"]} for f in intake.read(draft)["file_list"]]
    wrong = {
        "missing": files[:1],
        "extra": [*files, {"file_id": new_id(), "sha256": "0" * 64}],
        "twice": [*files, files[0]],
        "none": [],
    }[change]
    assert intake.submit(draft, files=wrong).status_code == 409
    assert intake.submit(draft, files=files).status_code == 200


def test_an_empty_request_is_not_submitted(intake: Intake) -> None:
    answer = intake.submit(intake.draft())
    assert answer.status_code == 409
    assert "no files" in answer.json()["detail"]


def test_of_two_submissions_at_once_one_is_refused(intake: Intake) -> None:
    draft = intake.draft()
    intake.put(draft, "a.py", b"a")
    intake.of("ruth")
    codes: list[int] = []
    threads = [
        threading.Thread(target=lambda: codes.append(intake.submit(draft).status_code)) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [200, 409]
    assert len(entries(intake, "airlock.check")) == 1


def test_a_purpose_is_needed_and_control_characters_are_not_taken(intake: Intake) -> None:
    draft = intake.draft()
    intake.put(draft, "a.py", b"a")
    assert intake.submit(draft, purpose=" ").status_code == 422
    assert intake.submit(draft, purpose="a\u202eb").status_code == 422
    assert intake.submit(draft, description="a\0b").status_code == 422
    assert intake.submit(draft, extra=1).status_code == 422
    assert intake.submit(draft, description="two\nlines").status_code == 200


def test_files_do_not_change_after_submission(intake: Intake) -> None:
    draft = intake.draft()
    intake.put(draft, "a.py", b"a")
    file_id = intake.read(draft)["file_list"][0]["id"]
    intake.submit(draft)
    assert intake.put(draft, "a.py", b"b").status_code == 409
    assert intake.begin_upload(draft, "b.py", 1).status_code == 409
    removed = intake.client.delete(f"{API}/requests/{draft}/files/{file_id}", headers=intake.of("ruth"))
    assert removed.status_code == 409


def test_an_upload_that_ends_after_submission_does_not_slip_in(intake: Intake) -> None:
    draft = intake.draft()
    intake.put(draft, "a.py", b"a")
    url = intake.begin_upload(draft, "late.py", 4).headers["location"]
    intake.submit(draft)
    assert intake.patch(url, 0, b"late").status_code == 409
    assert [file["name"] for file in intake.read(draft)["file_list"]] == ["a.py"]
    assert not intake.kept(BlobClass.DRAFT, b"late")


def test_a_file_of_a_draft_can_be_removed(intake: Intake) -> None:
    draft = intake.draft()
    intake.put(draft, "a.py", b"a")
    url = intake.begin_upload(draft, "b.py", 1).headers["location"]
    intake.patch(url, 0, b"b")
    for file in intake.read(draft)["file_list"]:
        answer = intake.client.delete(f"{API}/requests/{draft}/files/{file['id']}", headers=intake.of("ruth"))
        assert answer.status_code == 200
    assert intake.read(draft)["file_list"] == []
    assert not intake.kept(BlobClass.DRAFT, b"a")
    assert intake.put(draft, "a.py", b"a").status_code == 201


def test_drafts_are_few(intake: Intake) -> None:
    drafts = [intake.draft() for _ in range(3)]
    body = {"project_id": intake.world.project.id}
    answer = intake.client.post(f"{API}/requests", json=body, headers=intake.of("ruth"))
    assert (answer.status_code, answer.json()["type"].rsplit("/", 1)[1]) == (429, "too-many")
    assert intake.client.post(f"{API}/requests", json=body, headers=intake.of("robin")).status_code == 201
    intake.client.post(f"{API}/requests/{drafts[0]}/withdraw", headers=intake.of("ruth"))
    assert intake.client.post(f"{API}/requests", json=body, headers=intake.of("ruth")).status_code == 201


def test_egress_is_not_drafted_from_outside(intake: Intake) -> None:
    body = {"project_id": intake.world.project.id, "direction": "egress"}
    assert intake.client.post(f"{API}/requests", json=body, headers=intake.of("ruth")).status_code == 422


def test_bytes_from_outside_do_not_get_into_an_egress_draft(intake: Intake) -> None:
    draft = intake.egress()
    answer = intake.put(draft, "table2.csv", b"swapped outside")
    assert (answer.status_code, answer.json()["type"].rsplit("/", 1)[1]) == (403, "denied")
    assert intake.begin_upload(draft, "b.csv", 1).status_code == 403
    assert intake.read(draft)["file_list"][0]["sha256"] == hashlib.sha256(b"a,b\n1,2\n").hexdigest()


def test_submitting_egress_needs_the_asset_owners_permission(intake: Intake) -> None:
    allowed, refused = intake.egress(handle="ruth"), intake.egress(handle="robin")
    answer = intake.submit(refused, "robin")
    assert answer.status_code == 403
    assert "asset owner" in answer.json()["detail"]
    assert intake.read(refused, "robin")["may_submit"] is False
    assert intake.submit(allowed).status_code == 200


def test_a_name_in_imports_is_taken_from_submission_on(intake: Intake) -> None:
    first, second = intake.draft(), intake.draft("robin")
    intake.put(first, "lib.py", b"first")
    intake.put(second, "lib.py", b"second", "robin")
    assert intake.submit(first).status_code == 200
    refused = intake.submit(second, "robin")
    assert refused.status_code == 409
    assert "lib.py" in refused.json()["detail"]
    intake.client.post(f"{API}/requests/{first}/withdraw", headers=intake.of("ruth"))
    assert intake.submit(second, "robin").status_code == 200


def test_a_name_that_was_placed_is_never_given_again(intake: Intake) -> None:
    first, second = intake.draft(), intake.draft()
    intake.put(first, "lib.py", b"first")
    intake.put(second, "lib.py", b"second")
    intake.submit(first)
    with intake.world.store.write(housekeeping=True) as change:
        taken = change.session.exec(select(ImportedName)).one()
        taken.placed_at = utc_now()
        change.session.add(taken)
    intake.client.post(f"{API}/requests/{first}/withdraw", headers=intake.of("ruth"))
    assert intake.submit(second).status_code == 409


def test_a_withdrawn_request_loses_its_bytes_but_keeps_its_digests(intake: Intake) -> None:
    draft = intake.draft()
    intake.put(draft, "a.py", b"a")
    intake.submit(draft)
    answer = intake.client.post(f"{API}/requests/{draft}/withdraw", headers=intake.of("ruth"))
    assert answer.json()["status"] == "withdrawn"
    intake.outbox.run_due()
    assert not intake.kept(BlobClass.DRAFT, b"a")
    assert intake.read(draft)["file_list"][0]["sha256"] == hashlib.sha256(b"a").hexdigest()
    again = intake.client.post(f"{API}/requests/{draft}/withdraw", headers=intake.of("ruth"))
    assert again.status_code == 409


def test_only_the_author_submits_and_withdraws(intake: Intake) -> None:
    draft = intake.draft()
    intake.put(draft, "a.py", b"a")
    files = [{"file_id": f["id"], "sha256": f["sha256"]} for f in intake.read(draft)["file_list"]]
    for handle, expected in (("robin", 403), ("sam", 404), ("rita", 404), ("ada", 404)):
        headers = intake.of(handle)
        body = {"purpose": "x", "files": files}
        assert (
            intake.client.post(f"{API}/requests/{draft}/submit", json=body, headers=headers).status_code
            == expected
        )
        assert intake.client.post(f"{API}/requests/{draft}/withdraw", headers=headers).status_code == expected
    assert intake.status(draft) is AirlockStatus.DRAFT


def returned(intake: Intake) -> str:
    """A request of two files that reviewers have returned."""
    draft = intake.draft()
    intake.put(draft, "keep.py", b"keep")
    intake.put(draft, "fix.py", b"fix")
    intake.submit(draft)
    intake.outbox.run_due()
    assert intake.status(draft) is AirlockStatus.IN_REVIEW
    intake.move(draft, AirlockEvent.RETURN)
    return draft


def test_a_returned_request_is_submitted_again_in_its_next_turn(intake: Intake) -> None:
    draft = returned(intake)
    assert intake.put(draft, "fix.py", b"fixed").status_code == 201
    assert intake.put(draft, "new.py", b"new").status_code == 201
    assert intake.submit(draft).json()["turn"] == 2
    turns = {file["name"]: file["turn"] for file in intake.read(draft)["file_list"]}
    assert turns == {"keep.py": 1, "fix.py": 2, "new.py": 2}
    intake.outbox.run_due()
    assert intake.status(draft) is AirlockStatus.IN_REVIEW
    for data in (b"keep", b"fixed", b"new"):
        assert intake.kept(BlobClass.HELD, data)
        assert not intake.kept(BlobClass.DRAFT, data)
    assert not intake.kept(BlobClass.HELD, b"fix")
    with intake.world.store.read() as session:
        fix = session.exec(select(AirlockFile).where(AirlockFile.name == "fix.py")).one()
        history = session.exec(
            select(AirlockBytes.turn, AirlockBytes.sha256).where(AirlockBytes.file_id == fix.id)
        ).all()
    assert sorted(history) == [
        (1, hashlib.sha256(b"fix").hexdigest()),
        (2, hashlib.sha256(b"fixed").hexdigest()),
    ]


def test_bytes_that_come_back_are_the_unchanged_ones(intake: Intake) -> None:
    draft = returned(intake)
    intake.put(draft, "fix.py", b"fixed")
    intake.put(draft, "fix.py", b"fix")
    [fix] = [file for file in intake.read(draft)["file_list"] if file["name"] == "fix.py"]
    assert fix["turn"] == 1


def test_a_file_that_was_submitted_stays_and_a_new_one_may_go(intake: Intake) -> None:
    draft = returned(intake)
    intake.put(draft, "new.py", b"new")
    intake.put(draft, "fix.py", b"fixed")
    files = {file["name"]: file for file in intake.read(draft)["file_list"]}
    assert {name: file["removable"] for name, file in files.items()} == {
        "keep.py": False,
        "fix.py": False,
        "new.py": True,
    }
    for name, expected in (("keep.py", 409), ("fix.py", 409), ("new.py", 200)):
        url = f"{API}/requests/{draft}/files/{files[name]['id']}"
        assert intake.client.delete(url, headers=intake.of("ruth")).status_code == expected


def test_lists_show_ones_projects_newest_first_in_pages(intake: Intake) -> None:
    made = [intake.draft(), intake.draft("robin"), intake.draft()]
    headers = intake.of("ruth")
    first = intake.client.get(f"{API}/requests?limit=2", headers=headers).json()
    second = intake.client.get(f"{API}/requests?limit=2&before={first['next']}", headers=headers).json()
    assert [item["id"] for item in first["items"] + second["items"]] == made[::-1]
    assert second["next"] is None
    for handle in ("sam", "rita", "ada"):
        assert intake.client.get(f"{API}/requests", headers=intake.of(handle)).json()["items"] == []


def test_lists_are_filtered(intake: Intake) -> None:
    ingress, egress = intake.draft(), intake.egress()
    headers = intake.of("ruth")

    def ids(query: str) -> list[str]:
        answer = intake.client.get(f"{API}/requests?{query}", headers=headers)
        return [item["id"] for item in answer.json()["items"]]

    assert ids("direction=ingress") == [ingress]
    assert ids("direction=egress") == [egress]
    assert ids("status=submitted") == []
    assert len(ids("status=draft")) == 2
    assert ids(f"project_id={new_id()}") == []
    assert len(ids(f"project_id={intake.world.project.id}")) == 2


def test_foreign_and_impossible_ids_look_alike(intake: Intake) -> None:
    draft = intake.draft()
    foreign = intake.client.get(f"{API}/requests/{draft}", headers=intake.of("sam"))
    nothing = intake.client.get(f"{API}/requests/{new_id()}", headers=intake.of("sam"))
    malformed = intake.client.get(f"{API}/requests/nonsense", headers=intake.of("sam"))
    assert foreign.status_code == nothing.status_code == malformed.status_code == 404
    assert foreign.json() == nothing.json() == malformed.json()
    assert intake.client.get(f"{API}/requests/{draft}").status_code == 401


def test_comments_name_members_and_hide_reviewers(intake: Intake) -> None:
    draft = intake.draft()
    intake.put(draft, "a.py", b"a")
    url = f"{API}/requests/{draft}/comments"
    assert intake.client.post(url, json={"text": "hi"}, headers=intake.of("rita")).status_code == 404
    intake.submit(draft)
    assert intake.client.post(url, json={"text": "hi"}, headers=intake.of("rita")).status_code == 404
    intake.outbox.run_due()
    assert (
        intake.client.post(url, json={"text": "Which table?"}, headers=intake.of("rita")).status_code == 201
    )
    assert intake.client.post(url, json={"text": "Table 2."}, headers=intake.of("robin")).status_code == 201
    assert intake.client.post(url, json={"text": ""}, headers=intake.of("robin")).status_code == 422
    assert intake.client.post(url, json={"text": "x"}, headers=intake.of("sam")).status_code == 404
    # That a reviewer said something would tell the others that they looked.
    assert [(c["by"], c["own"]) for c in intake.read(draft)["comments"]] == [("Robin", False)]
    assert [c["by"] for c in intake.read(draft, "ravi")["comments"]] == ["Robin"]
    assert [(c["by"], c["own"]) for c in intake.read(draft, "rita")["comments"]] == [
        ("A reviewer", True),
        ("Robin", False),
    ]


def test_the_timeline_is_made_of_moves_alone(intake: Intake) -> None:
    draft = intake.draft()
    intake.put(draft, "a.py", b"a")
    intake.submit(draft)
    with intake.world.store.write() as change:
        from broch_airlock.facts import find_request, subject_of
        from broch_core.scope import EVERYTHING

        request = find_request(change.session, EVERYTHING, draft)
        change.audit(
            intake.world.people["rita"].id,
            "airlock:file-decide",
            subject_of(request),
            facts={"opinion": "reject"},
        )
    assert [event["status"] for event in intake.read(draft)["timeline"]] == ["draft", "submitted"]


def test_every_change_left_a_record_without_names(intake: Intake) -> None:
    draft = intake.draft(purpose="Secret purpose")
    intake.put(draft, "patient-names.csv", b"a")
    intake.submit(draft)
    with intake.world.store.read() as session:
        records = session.exec(
            select(AuditRecord).where(AuditRecord.subject_id == draft).order_by(col(AuditRecord.at))
        ).all()
    assert [record.action for record in records] == ["airlock:create", "airlock:upload", "airlock:submit"]
    assert "patient" not in str([record.facts for record in records])
    assert "Secret" not in str([record.facts for record in records])


def test_every_state_has_its_place_among_the_steps() -> None:
    assert set(STEPS) == set(AIRLOCK.states())
    for state in AIRLOCK.states():
        assert len(steps(state)) == 5
