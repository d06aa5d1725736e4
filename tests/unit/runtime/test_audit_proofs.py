"""API of the audit log for auditors: checkpoints, consistency, leaves, OCSF, erasure, rotation."""

from __future__ import annotations

import base64
import json
import threading

import pytest

from broch_api.workspaces.service import WorkspaceDesk
from broch_core.audit.record import AuditSubject
from broch_core.proof import Purpose, leaf_hash, verify_checkpoint, verify_consistency
from broch_core.proof.notes import Checkpoint, Note
from unit.runtime.runtime_fakes import Plane

BASE = "/api/v1/audit"


@pytest.fixture
def told(plane: Plane) -> Plane:
    desk = plane.get(WorkspaceDesk)
    view = desk.open(plane.world.actor("ruth"), plane.world.project.id)
    plane.world.audit_log.sequence()
    desk.stop(plane.world.actor("ada"), view.id)
    plane.world.audit_log.sequence()
    return plane


def get(plane: Plane, path: str, **query: object):
    answer = plane.api.get(f"{BASE}/{path}", params=query, headers=plane.world.headers("ada"))
    assert answer.status_code == 200, answer.text
    return answer


def post(plane: Plane, path: str, body: object = None, *, as_: str = "ada"):
    return plane.api.post(f"{BASE}/{path}", json=body, headers=plane.world.headers(as_))


def heads(plane: Plane) -> list[Checkpoint]:
    listed = get(plane, "checkpoints").json()["items"]
    keys = plane.world.keys.trust().of(Purpose.CHECKPOINT)
    return [verify_checkpoint(item["note"], plane.world.keys.origin, keys)[0] for item in listed]


def test_checkpoints_are_listed_and_each_continues_the_one_before(told: Plane):
    newer, older = heads(told)[:2]
    proof = get(told, "consistency", old=older.size, new=newer.size).json()["hashes"]
    hashes = [base64.b64decode(node) for node in proof]
    verify_consistency(older.size, newer.size, older.root, newer.root, hashes)


def test_checkpoints_come_in_pages(told: Plane):
    first = get(told, "checkpoints", limit=1).json()
    second = get(told, "checkpoints", limit=1, below=first["next"]).json()
    assert first["items"][0]["size"] > second["items"][0]["size"]


@pytest.mark.parametrize(("old", "new"), [(3, 2), (1, 10_000), (-1, 2), (0, 2**60)])
def test_sizes_that_the_log_never_had_are_refused(told: Plane, old: int, new: int):
    answer = told.api.get(
        f"{BASE}/consistency", params={"old": old, "new": new}, headers=told.world.headers("ada")
    )
    assert answer.status_code == 422


def test_leaves_are_the_bytes_that_were_hashed(told: Plane):
    size = heads(told)[0].size
    lines = get(told, "export", format="leaves").content.splitlines()
    assert len(lines) >= size
    views = {r["number"]: r for r in map(json.loads, get(told, "export").content.splitlines())}
    for number, line in enumerate(lines):
        assert leaf_hash(line).hex() == views[number]["leaf_hash"]
    assert get(told, "export", format="leaves", first=1, end=2).content.splitlines() == lines[1:2]


def test_events_for_a_siem_have_what_their_class_asks_and_no_personal_text(told: Plane):
    events = list(map(json.loads, get(told, "export", format="ocsf").content.splitlines()))
    needed = {
        "activity_id", "actor", "api", "category_uid", "class_uid", "metadata", "severity_id", "src_endpoint", "time",
        "type_uid",
    }  # fmt: skip
    assert [event["metadata"]["sequence"] for event in events] == list(range(len(events)))
    for event in events:
        assert needed <= event.keys()
        assert (event["category_uid"], event["class_uid"]) == (6, 6003)
        assert event["type_uid"] == 600300 + event["activity_id"]
    stop = next(event for event in events if event["api"]["operation"] == "workspace:stop")
    assert stop["actor"]["user"]["uid"] == told.world.people["ada"].id
    assert "A platform admin" not in json.dumps(events)
    later = get(told, "export", format="ocsf", first=1).content.splitlines()
    assert json.loads(later[0])["metadata"]["sequence"] == 1


@pytest.mark.parametrize(
    "query",
    [{"format": "leaves", "actor": "ruth"}, {"first": 3}, {"format": "ocsf", "end": 3}, {"format": "x"}],
)
def test_formats_refuse_what_they_cannot_do(told: Plane, query: dict[str, object]):
    answer = told.api.get(f"{BASE}/export", params=query, headers=told.world.headers("ada"))
    assert answer.status_code == 422


def test_erased_texts_are_gone_and_the_log_verifies_and_says_so(told: Plane):
    person = told.world.people["ada"].id
    assert any(record["personal"] for record in get(told, "records", actor="ada").json()["items"])
    erased = post(told, "erasures", {"person": person}).json()["erased"]
    assert erased > 0
    assert not any(record["personal"] for record in get(told, "records", actor="ada").json()["items"])
    told.world.audit_log.sequence()
    result = post(told, "verify").json()
    assert (result["ok"], result["erased"]) == (True, erased), result["reason"]
    assert "were erased" in result["reason"]


@pytest.mark.parametrize(
    "body", [{}, {"person": "01JD3W7Z8Q5T9XK2M4N6P8R0SV", "record": "01JD3W7Z8Q5T9XK2M4N6P8R0SV"}]
)
def test_an_erasure_names_one_thing(told: Plane, body: object):
    assert post(told, "erasures", body).status_code == 422


@pytest.mark.parametrize(
    "body", [{"person": "01JD3W7Z8Q5T9XK2M4N6P8R0SV"}, {"record": "01JD3W7Z8Q5T9XK2M4N6P8R0SV"}]
)
def test_nobody_who_does_not_exist_is_erased(told: Plane, body: object):
    assert post(told, "erasures", body).status_code == 404


def test_only_admins_erase_and_rotate(told: Plane):
    assert post(told, "erasures", {"person": told.world.people["ruth"].id}, as_="ruth").status_code == 403
    assert post(told, "keys", {"purpose": "checkpoint"}, as_="ruth").status_code == 403


def test_a_rotation_is_followed_by_a_checkpoint_of_the_new_key(told: Plane):
    answer = post(told, "keys", {"purpose": "checkpoint", "stolen": True})
    assert answer.status_code == 201
    trust = told.world.keys.trust()
    note = get(told, "checkpoint").json()["note"]
    _, signed = verify_checkpoint(note, trust.origin, trust.of(Purpose.CHECKPOINT))
    assert [key.key_id for key in signed] == [answer.json()["key_id"]]
    result = post(told, "verify").json()
    assert result["ok"], result["reason"]


def test_who_numbers_at_once_beside_the_sequencer_does_not_fail(told: Plane):
    """A rotation, a release and a deletion number what they wrote themselves, in threads of their own."""
    world, failed = told.world, []
    for number in range(20):
        with world.store.write() as change:
            change.audit(world.people["ada"].id, "test:act", AuditSubject("thing", str(number)))
        together = threading.Barrier(2)

        def run(together: threading.Barrier = together) -> None:
            together.wait()
            try:
                world.audit_log.sequence()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is shown
                failed.append(error)

        threads = [threading.Thread(target=run) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failed == []
    assert world.audit_log.verify().ok


def test_a_checkpoint_that_was_kept_is_verified_against(told: Plane):
    kept = get(told, "checkpoints").json()["items"][-1]["note"]
    result = post(told, "verify", {"checkpoint": kept}).json()
    assert result["ok"]
    assert "continues the trusted checkpoint" in result["reason"]
    size = Checkpoint.parse(Note.parse(kept).text).size
    lying = kept.replace(f"\n{size}\n", f"\n{size + 1}\n")
    result = post(told, "verify", {"checkpoint": lying}).json()
    assert not result["ok"]
    assert "cannot be used" in result["reason"]
