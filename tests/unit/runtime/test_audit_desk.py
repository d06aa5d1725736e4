"""API and page of the audit log."""

from __future__ import annotations

import base64
import json
from datetime import timedelta

import pytest
from sqlmodel import text

from broch_api.workspaces.service import WorkspaceDesk
from broch_core.clock import utc_now
from broch_core.proof import leaf_hash
from broch_core.web.guard import COOKIE
from unit.runtime.runtime_fakes import Plane

BASE = "/api/v1/audit"
PAGE = {"Accept": "text/html"}


@pytest.fixture
def told(plane: Plane) -> Plane:
    desk = plane.get(WorkspaceDesk)
    view = desk.open(plane.world.actor("ruth"), plane.world.project.id)
    desk.stop(plane.world.actor("ada"), view.id)
    plane.world.sessions.start("robin", kind="cli")
    return plane


def records(plane: Plane, **query: object) -> list[dict[str, object]]:
    answer = plane.api.get(f"{BASE}/records", params=query, headers=plane.world.headers("ada"))
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("query", "actions"),
    [
        ({"actor": "ruth"}, ["workspace:open"]),
        ({"actor": "robin"}, ["session:start"]),
        ({"action": "workspace:stop"}, ["workspace:stop"]),
        ({"project": "alpha"}, ["workspace:stop", "workspace:open"]),
        ({"project": "beta"}, []),
        ({"outcome": "denied"}, []),
        ({"actor": "ruth", "until": "2020-01-01"}, []),
        ({"actor": "ruth", "since": "2020-01-01T00:00:00Z"}, ["workspace:open"]),
    ],
)
def test_records_are_filtered(told: Plane, query: dict[str, object], actions: list[str]):
    assert [record["action"] for record in records(told, **query)] == actions


def test_records_join_handles_slugs_and_personal_texts(told: Plane):
    (stop,) = records(told, action="workspace:stop")
    assert (stop["actor_handle"], stop["project_slug"]) == ("ada", "alpha")
    assert stop["personal"] == {"reason": "A platform admin stopped it."}


def test_ids_of_actor_and_project_work_like_names(told: Plane):
    ruth, project = told.world.people["ruth"].id, told.world.project.id
    assert records(told, actor=ruth) == records(told, actor="ruth")
    assert records(told, project=project) == records(told, project="alpha")


def test_pages_follow_each_other_without_gap(told: Plane):
    headers = told.world.headers("ada")
    seen: list[str] = []
    before = None
    while True:
        query = {"limit": 1, **({"before": before} if before else {})}
        page = told.api.get(f"{BASE}/records", params=query, headers=headers).json()
        seen += [record["id"] for record in page["items"]]
        before = page["next"]
        if before is None:
            break
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == len(set(seen)) >= 4


@pytest.mark.parametrize(
    "query",
    [{"outcome": "maybe"}, {"since": "yesterday"}, {"actor": "a\x00"}, {"actor": "x" * 61}, {"limit": 0}],
)
def test_a_bad_filter_is_422(told: Plane, query: dict[str, object]):
    answer = told.api.get(f"{BASE}/records", params=query, headers=told.world.headers("ada"))
    assert answer.status_code == 422


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/records"),
        ("GET", "/checkpoint"),
        ("GET", "/export"),
        ("POST", "/verify"),
        ("GET", "/records/01JD3W7Z8Q5T9XK2M4N6P8R0SV/proof"),
    ],
)
def test_only_admins_read_the_log(told: Plane, method: str, path: str):
    for handle in ("ruth", "rita", "owen", "stella"):
        answer = told.api.request(method, BASE + path, headers=told.world.headers(handle))
        assert answer.status_code == 403
    assert told.api.request(method, BASE + path).status_code == 401


def test_a_proof_holds_together(told: Plane):
    (opened,) = records(told, actor="ruth")
    path, headers = f"{BASE}/records/{opened['id']}/proof", told.world.headers("ada")
    early = told.api.get(path, headers=headers)
    assert early.status_code == 409
    told.world.audit_log.sequence()
    proof = told.api.get(path, headers=headers).json()
    (opened,) = records(told, actor="ruth")
    leaf = base64.b64decode(proof["leaf"])
    assert json.loads(leaf)["id"] == opened["id"]
    assert leaf_hash(leaf).hex() == opened["leaf_hash"]
    assert proof["index"] == opened["number"]
    assert proof["checkpoint"] == told.api.get(f"{BASE}/checkpoint", headers=headers).json()["note"]
    assert (
        told.api.get(f"{BASE}/records/01JD3W7Z8Q5T9XK2M4N6P8R0SV/proof", headers=headers).status_code == 404
    )


def test_verify_says_yes_and_after_tampering_no(told: Plane):
    told.world.audit_log.sequence()
    headers = told.world.headers("ada")
    good = told.api.post(f"{BASE}/verify", headers=headers).json()
    assert good["ok"] is True
    with told.world.store.engine.connect() as connection:
        raw = connection.connection.driver_connection
        assert raw is not None
        raw.set_authorizer(None)
        connection.execute(text("DROP TRIGGER audit_record_fixed"))
        connection.execute(
            text("UPDATE audit_record SET actor_id = 'somebody' WHERE action = 'workspace:open'")
        )
        connection.commit()
    bad = told.api.post(f"{BASE}/verify", headers=headers).json()
    assert bad["ok"] is False
    assert bad["first_bad"] == records(told, action="workspace:open")[0]["id"]
    assert [r["facts"]["ok"] for r in records(told, action="audit:verify")] == [False, True]  # type: ignore[index]


def test_an_export_has_every_record_and_is_one(told: Plane, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("broch_api.audit.exporting._PIECE", 2)
    answer = told.api.get(f"{BASE}/export", headers=told.world.headers("ada"))
    assert answer.headers["content-type"].startswith("application/jsonl")
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["id"] for line in lines] == [record["id"] for record in records(told, limit=200)][1:]
    assert lines[0]["action"] == "audit:read"
    assert lines[0]["facts"] == {"export": "records"}
    few = told.api.get(f"{BASE}/export", params={"actor": "ruth"}, headers=told.world.headers("ada"))
    assert len(few.text.splitlines()) == 1


def admin_page(plane: Plane, path: str, method: str = "GET") -> str:
    started = plane.world.sessions.start("ada", kind="browser")
    client = plane.api
    client.cookies.set(COOKIE, started.token)
    actor = plane.world.sessions.actor(started.token)
    assert actor is not None
    form = {"csrf_token": plane.world.sessions.csrf_token(actor)} if method == "POST" else None
    headers = PAGE | {"Sec-Fetch-Site": "same-origin"}
    answer = client.request(method, path, data=form, headers=headers)
    assert answer.status_code in (200, 422), answer.text
    return answer.text


def test_the_page_filters_keeps_input_and_names_errors(told: Plane):
    shown = admin_page(told, "/audit?actor=ruth&action=&project=&outcome=allowed")
    assert "workspace:open" in shown
    assert 'value="ruth"' in shown
    wrong = admin_page(told, "/audit?since=then")
    assert "Give a day" in wrong
    assert 'value="then"' in wrong
    assert "No record fits" in admin_page(told, "/audit?actor=nobody")


def test_the_page_verifies(told: Plane):
    told.world.audit_log.sequence()
    assert "The history is as it was signed" in admin_page(told, "/audit/verify", "POST")


def test_the_chart_counts_by_hour(told: Plane):
    from broch_api.audit.service import AuditDesk

    hours = told.get(AuditDesk).per_hour(told.world.actor("ada"))
    assert len(hours) == 24
    begun = utc_now() - timedelta(minutes=1)
    assert sum(count for _, count in hours[-2 if begun.hour != utc_now().hour else -1 :]) >= 3
    assert sum(count for _, count in hours[:-2]) == 0
