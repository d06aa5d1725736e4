"""Opening and stopping workspaces, with a hub on a real socket."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlmodel import select

from broch_api.workspaces.hub import HubAway, HubClient
from broch_api.workspaces.reconciler import Reconciler
from broch_api.workspaces.reports import STEP
from broch_api.workspaces.service import WorkspaceDesk
from broch_core.audit.tables import AuditRecord
from broch_core.clock import utc_now
from broch_core.errors import Conflict, NotFound
from broch_core.lifecycles import ProjectStatus, WorkspaceStatus
from broch_core.outbox.tables import OutboxEntry
from broch_core.settings import Settings
from broch_core.tables.datasets import Grant, GrantKind
from broch_core.tables.projects import Membership, Project
from broch_core.web.sessions import token_hash
from broch_workspaces.plan import SpawnPlan
from unit.runtime.runtime_fakes import HUB_HEADERS, TOKENS, Plane
from unit.runtime.runtime_steps import edit, opened, report, running

S = WorkspaceStatus


def test_a_workspace_opens_runs_and_stops(plane: Plane):
    principal = running(plane)
    desk, ruth = plane.get(WorkspaceDesk), plane.world.actor("ruth")
    view = desk.read(ruth, plane.row().id)
    assert view.url == f"http://hub.broch.localhost:8001/hub/oauth_login?next=/hub/user/{principal}/lab"
    assert view.page == f"http://broch.localhost:8000/projects/{plane.world.project.id}/workspace"
    assert view.deadline_at - utc_now() < plane.world.settings.workspace_lifetime
    desk.stop(ruth, view.id)
    assert plane.row().status is S.STOPPING
    assert plane.row().door_token_hash is None
    plane.settle()
    assert plane.row().status is S.STOPPED
    assert plane.row().message == "You stopped it."
    assert plane.hub.servers == {}
    with plane.world.store.read() as session:
        actions = session.exec(select(AuditRecord.action).order_by(AuditRecord.id)).all()
    assert [a for a in actions if a.startswith(("workspace", "hub"))] == [
        "workspace:open",
        "hub:plan",
        "hub:event",
        "workspace:stop",
        "hub:event",
    ]


def test_opening_twice_starts_once(plane: Plane):
    desk, ruth = plane.get(WorkspaceDesk), plane.world.actor("ruth")
    with ThreadPoolExecutor(4) as pool:
        views = list(pool.map(lambda _: desk.open(ruth, plane.world.project.id), range(4)))
    assert len({view.id for view in views}) == 1
    plane.settle()
    assert [c for c in plane.hub.calls if c.endswith("/server") and c.startswith("POST")] == [
        f"POST /users/{plane.row().principal}/server"
    ]


def test_only_members_of_a_running_project_open(plane: Plane):
    desk, project = plane.get(WorkspaceDesk), plane.world.project
    for handle in ("sam", "ada", "rita"):
        with pytest.raises(NotFound):
            desk.open(plane.world.actor(handle), project.id)
    for status in (ProjectStatus.FROZEN, ProjectStatus.ENDED, ProjectStatus.PLANNED):
        edit(plane, Project, status=status)
        with pytest.raises(Conflict):
            desk.open(plane.world.actor("ruth"), project.id)
    edit(plane, Project, status=ProjectStatus.ACTIVE)
    assert desk.open(plane.world.actor("ruth"), project.id).status is S.STARTING


def test_others_do_not_see_stop_or_learn_of_a_workspace(plane: Plane):
    opened(plane)
    desk = plane.get(WorkspaceDesk)
    for handle in ("robin", "sam", "rita"):
        with pytest.raises(NotFound):
            desk.read(plane.world.actor(handle), plane.row().id)
        with pytest.raises(NotFound):
            desk.stop(plane.world.actor(handle), plane.row().id)
        assert desk.list(plane.world.actor(handle), before=None, limit=10).items == []
    assert len(desk.list(plane.world.actor("ada"), before=None, limit=10).items) == 1
    desk.stop(plane.world.actor("ada"), plane.row().id)
    assert plane.row().message == "A platform admin stopped it."


def test_the_plan_gives_live_mounts_and_nothing_else(plane: Plane):
    world = plane.world
    world.grant(world.project, "gone")
    world.grant(world.project, "checked")
    with world.store.write(housekeeping=True) as change:
        rows = {g.version_id: g for g in change.session.exec(select(Grant)).all()}
        by_slug = sorted(rows.values(), key=lambda g: g.id)
        by_slug[1].revoked_at = utc_now()
        by_slug[2].kind = GrantKind.VALIDATION_ONLY
        change.session.add_all(by_slug)
        live = by_slug[0]
    principal = opened(plane)
    answer = plane.inside.get(f"/internal/v1/spawn-plans/{principal}", headers=HUB_HEADERS)
    plan = SpawnPlan.model_validate_json(answer.text)
    assert [(m.target, m.read_only) for m in plan.mounts] == [
        ("/data/cohort", True),
        ("/imports", True),
        ("/project", False),
    ]
    assert plan.mounts[0].source == str(world.folder / "datasets" / live.version_id)
    assert plane.row().door_token_hash == token_hash(plan.door_token)
    assert plane.row().grant_ids == [live.id]
    again = plane.inside.get(f"/internal/v1/spawn-plans/{principal}", headers=HUB_HEADERS).json()
    assert again["door_token"] != plan.door_token
    assert plane.row().door_token_hash == token_hash(again["door_token"])


def test_a_plan_is_given_only_to_a_start_that_was_asked_for(plane: Plane):
    principal = running(plane)
    answer = plane.inside.get(f"/internal/v1/spawn-plans/{principal}", headers=HUB_HEADERS)
    assert answer.status_code == 409
    assert "Open it" in answer.json()["detail"]
    unknown = plane.inside.get("/internal/v1/spawn-plans/w" + "a" * 25, headers=HUB_HEADERS)
    assert unknown.status_code == 404
    assert plane.inside.get("/internal/v1/spawn-plans/..%2fx", headers=HUB_HEADERS).status_code in (404, 422)


def test_a_plan_is_refused_when_a_right_ended_after_the_click(plane: Plane):
    principal = opened(plane)
    edit(plane, Membership, until=utc_now())
    answer = plane.inside.get(f"/internal/v1/spawn-plans/{principal}", headers=HUB_HEADERS)
    assert answer.status_code == 409
    assert "member" in answer.json()["detail"]
    assert plane.row().door_token_hash is None


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {TOKENS.hub}"},
        {"Authorization": "Bearer ü"},
    ],
)
def test_the_internal_api_takes_the_hubs_token_alone(plane: Plane, header: dict[str, str]):
    principal = opened(plane)
    inside = plane.inside
    encoded = {name: value.encode("latin-1") for name, value in header.items()}
    assert inside.get(f"/internal/v1/spawn-plans/{principal}", headers=encoded).status_code == 401
    body = {"event": "stopped", "detail": ""}
    assert (
        inside.post(f"/internal/v1/workspaces/{principal}/events", json=body, headers=encoded).status_code
        == 401
    )
    assert plane.row().status is S.STARTING


@pytest.mark.parametrize(
    ("state", "event", "after", "changed"),
    [
        (S.STARTING, "running", S.RUNNING, True),
        (S.STARTING, "failed", S.FAILED, True),
        (S.STARTING, "stopped", S.STOPPED, True),
        (S.RUNNING, "running", S.RUNNING, False),
        (S.RUNNING, "failed", S.FAILED, True),
        (S.RUNNING, "stopped", S.STOPPED, True),
        (S.STOPPING, "running", S.STOPPING, False),
        (S.STOPPING, "stopped", S.STOPPED, True),
        (S.STOPPING, "failed", S.STOPPED, True),
        (S.STOPPED, "running", S.STOPPED, False),
        (S.STOPPED, "stopped", S.STOPPED, False),
        (S.FAILED, "running", S.FAILED, False),
    ],
)
def test_reports_of_the_hub(plane: Plane, state: S, event: str, after: S, changed: bool):
    opened(plane)
    token = None if state in (S.STOPPED, S.FAILED, S.STOPPING) else "t"
    with plane.world.store.write(housekeeping=True) as change:
        row = change.session.merge(plane.row())
        row.status, row.door_token_hash, row.message = state, token, "before"
        change.session.add(row)
    assert report(plane, event, "said the hub") == {"changed": changed}
    assert plane.row().status is after
    if changed and after is not S.RUNNING:
        assert plane.row().door_token_hash is None
        assert plane.row().message == ("before" if state is S.STOPPING else "said the hub")


@pytest.mark.parametrize(("state", "told"), [(S.STARTING, True), (S.RUNNING, False), (S.STOPPING, False)])
def test_what_a_start_waits_for_is_told_and_moves_nothing(plane: Plane, state: S, told: bool):
    opened(plane)
    with plane.world.store.write(housekeeping=True) as change:
        row = change.session.merge(plane.row())
        row.status, row.door_token_hash, row.message = state, "t", "before"
        change.session.add(row)
    assert report(plane, "waiting", "A dataset cannot be mounted.") == {"changed": told}
    row = plane.row()
    assert (row.status, row.door_token_hash) == (state, "t")
    assert row.message == ("A dataset cannot be mounted." if told else "before")


def test_a_late_report_of_an_earlier_run_does_not_end_a_new_start(plane: Plane):
    opened(plane)
    assert report(plane, "stopped", "late") == {"changed": False}
    assert plane.row().status is S.STARTING


def test_a_report_shows_hostile_output_as_it_is_and_keeps_its_end(plane: Plane):
    running(plane)
    report(plane, "failed", "The workspace ended unexpectedly.\n" + "x" * 900 + "\u202e\x1b[31mend")
    message = plane.row().message or ""
    assert len(message) <= 500
    assert message.startswith("The workspace ended unexpectedly.\n")
    assert message.endswith("\ufffd\ufffd[31mend")


@pytest.mark.parametrize(
    "body",
    [{"event": "exploded"}, {"event": "stopped", "detail": "x" * 2001}, {"event": "stopped", "more": 1}, {}],
)
def test_a_malformed_report_changes_nothing(plane: Plane, body: dict[str, object]):
    principal = running(plane)
    path = f"/internal/v1/workspaces/{principal}/events"
    assert plane.inside.post(path, json=body, headers=HUB_HEADERS).status_code == 422
    assert plane.row().status is S.RUNNING


def test_a_late_report_of_an_earlier_start_does_not_end_the_next(plane: Plane):
    def plan() -> str:
        answer = plane.inside.get(f"/internal/v1/spawn-plans/{opened(plane)}", headers=HUB_HEADERS)
        return str(answer.json()["start"])

    first = plan()
    report(plane, "running", start=first)
    report(plane, "stopped", start=first)
    second = plan()
    assert first != second
    assert report(plane, "running", start=second) == {"changed": True}
    assert report(plane, "stopped", start=first) == {"changed": False}
    assert plane.row().status is S.RUNNING
    assert report(plane, "stopped", start=second) == {"changed": True}
    assert plane.row().status is S.STOPPED


def test_shown_bytes_add_up(plane: Plane):
    principal = running(plane)
    path = f"/internal/v1/workspaces/{principal}/shown"
    for size in (5, 1 << 40):
        assert plane.inside.post(path, json={"bytes": size}, headers=HUB_HEADERS).status_code == 200
    assert plane.inside.post(path, json={"bytes": -1}, headers=HUB_HEADERS).status_code == 422
    assert plane.row().browser_bytes == plane.row().start_bytes == 5 + (1 << 40)


def shown(plane: Plane, size: int) -> None:
    path = f"/internal/v1/workspaces/{plane.row().principal}/shown"
    assert plane.inside.post(path, json={"bytes": size}, headers=HUB_HEADERS).status_code == 200


def shown_facts(plane: Plane) -> list[tuple[object, object]]:
    """What the audit log has of bytes shown: the start's sum, and whether that was an alarm."""
    with plane.world.store.read() as session:
        records = session.exec(select(AuditRecord).order_by(AuditRecord.id)).all()
    return [(r.facts["start_bytes"], r.facts["alarm"]) for r in records if r.facts.get("event") == "shown"]


def test_shown_bytes_are_recorded_by_steps_at_the_alarm_at_the_end_and_after_it(plane: Plane):
    running(plane)
    limit = plane.get(Settings).browser_alarm_bytes
    for size in (STEP - 1, 1, 1, STEP - 2, limit - 2 * STEP + 1, 1):
        shown(plane, size)
    assert shown_facts(plane) == [(STEP, False), (limit, False), (limit + 1, True)]
    assert plane.row().alarm_at is not None
    report(plane, "stopped")
    shown(plane, 0)
    shown(plane, 5)
    with plane.world.store.read() as session:
        ends = [r.facts for r in session.exec(select(AuditRecord)).all() if r.facts.get("event") == "gone"]
    assert [facts["start_bytes"] for facts in ends] == [limit + 1]
    assert shown_facts(plane)[-1] == (limit + 6, False)


def test_a_start_that_shows_no_more_than_the_limit_raises_no_alarm_and_the_next_begins_at_zero(plane: Plane):
    running(plane)
    limit = plane.get(Settings).browser_alarm_bytes
    shown(plane, limit)
    assert plane.row().alarm_at is None
    shown(plane, 1)
    assert plane.row().alarm_at is not None
    report(plane, "stopped")
    running(plane)
    assert (plane.row().start_bytes, plane.row().alarm_at) == (0, None)
    assert plane.row().browser_bytes == limit + 1


def test_a_start_waits_for_a_hub_that_is_away(plane: Plane):
    plane.hub.down()
    plane.get(WorkspaceDesk).open(plane.world.actor("ruth"), plane.world.project.id)
    plane.settle()
    assert plane.row().status is S.STARTING
    plane.hub.up()
    with plane.world.store.write(housekeeping=True) as change:
        entry = change.session.exec(select(OutboxEntry)).one()
        assert entry.error is not None
        assert "hub" in entry.error
        entry.due_at = utc_now()
    plane.settle()
    assert set(plane.hub.servers) == {plane.row().principal}


def test_a_refused_start_has_failed_with_the_hubs_reason(plane: Plane):
    plane.hub.refuse_start = "No sandbox can be made."
    opened(plane)
    assert plane.row().status is S.FAILED
    assert plane.row().message == "No sandbox can be made."
    plane.hub.refuse_start = None
    opened(plane)
    assert plane.row().status is S.STARTING


def test_a_server_of_an_earlier_start_ends_before_a_new_one(plane: Plane):
    principal = running(plane)
    report(plane, "stopped")
    plane.hub.calls.clear()
    opened(plane)
    assert [c.split(" ")[0] for c in plane.hub.calls if c.endswith("server")] == ["DELETE", "POST"]
    assert plane.hub.servers[principal]["pending"] == "spawn"


def test_a_start_never_takes_a_server_that_is_going_for_its_own(plane: Plane):
    hub, principal = plane.get(HubClient), "w" + "a" * 25
    plane.hub.run(principal)
    hub.start(principal)
    plane.hub.servers[principal]["pending"] = "stop"
    with pytest.raises(HubAway, match="still stopping"):
        hub.start(principal)


def test_stopping_lasts_until_the_server_is_gone(plane: Plane):
    principal = running(plane)
    plane.hub.slow_stop = True
    plane.get(WorkspaceDesk).stop(plane.world.actor("ruth"), plane.row().id)
    plane.settle()
    assert plane.row().status is S.STOPPING
    del plane.hub.servers[principal]
    plane.get(Reconciler).round()
    assert plane.row().status is S.STOPPED


def test_a_stop_of_a_project_or_of_one_person_reaches_exactly_those(plane: Plane):
    desk, project = plane.get(WorkspaceDesk), plane.world.project
    handlers = plane.worker._handlers
    for handle in ("ruth", "robin"):
        desk.open(plane.world.actor(handle), project.id)
    plane.settle()
    payload = {"project_id": project.id, "person_id": plane.world.people["ruth"].id, "reason": "Right ended."}
    payload["at"] = utc_now().isoformat()
    handlers["workspace.stop"](payload)
    states = {
        v.person.handle: (v.status, v.message)
        for v in desk.list(plane.world.actor("ada"), before=None, limit=9).items
    }
    assert states == {"ruth": (S.STOPPED, "Right ended."), "robin": (S.STARTING, None)}
    handlers["workspace.stop"](payload | {"person_id": None})
    assert plane.hub.servers == {}


def test_a_hub_that_hides_servers_is_away_not_empty(plane: Plane, monkeypatch: pytest.MonkeyPatch):
    running(plane)
    monkeypatch.setattr(plane.hub, "model", lambda name: {"name": name})
    plane.get(Reconciler).round()
    assert plane.row().status is S.RUNNING
    wrong = HubClient(plane.hub.socket, "wrong")
    with pytest.raises(HubAway, match="token"):
        wrong.servers()


def test_the_hub_is_read_page_by_page(plane: Plane):
    for number in range(205):
        plane.hub.run(f"w{number:025d}")
    assert len(plane.get(HubClient).servers()) == 205
