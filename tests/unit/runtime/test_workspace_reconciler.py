"""The reconciler: what the table says and what the hub has are brought together."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlmodel import select

from broch_api.workspaces.effects import WorkspaceEffects
from broch_api.workspaces.hub import HubClient
from broch_api.workspaces.reconciler import START_LIMIT, Reconciler
from broch_api.workspaces.service import WorkspaceDesk
from broch_core.audit.tables import AuditRecord
from broch_core.clock import utc_now
from broch_core.lifecycles import ProjectStatus, VersionStatus, WorkspaceStatus
from broch_core.outbox.worker import TemporaryError
from broch_core.revocations import RevocationCause
from broch_core.tables.datasets import DatasetVersion, Grant
from broch_core.tables.projects import Membership, Project
from broch_core.tables.revocations import Revocation
from broch_core.tables.workspaces import Workspace
from unit.runtime.runtime_fakes import HUB_HEADERS, Plane
from unit.runtime.runtime_steps import edit, opened, report, running

S = WorkspaceStatus


def test_a_server_that_vanished_makes_its_workspace_stopped(plane: Plane):
    principal = running(plane)
    plane.get(Reconciler).round()
    assert plane.row().status is S.RUNNING
    del plane.hub.servers[principal]
    plane.get(Reconciler).round()
    assert plane.row().status is S.STOPPED
    assert "unexpectedly" in (plane.row().message or "")
    assert plane.row().door_token_hash is None


def test_nothing_is_judged_while_the_hub_is_away(plane: Plane):
    running(plane)
    plane.hub.down()
    plane.get(Reconciler).round()
    assert plane.row().status is S.RUNNING
    assert plane.get(Reconciler).hub_seen_at is None


@pytest.mark.parametrize(
    ("kind", "values", "why"),
    [
        (Membership, {"until": utc_now() - timedelta(seconds=1)}, "member"),
        (Project, {"status": ProjectStatus.FROZEN}, "frozen"),
        (Project, {"ends_on": (utc_now() - timedelta(days=1)).date()}, "over"),
        (Grant, {"revoked_at": utc_now()}, "data"),
        (Grant, {"until": (utc_now() - timedelta(days=1)).date()}, "data"),
        (DatasetVersion, {"status": VersionStatus.SUSPENDED}, "data"),
    ],
)
@pytest.mark.parametrize("hub_up", [True, False])
def test_a_right_that_ends_stops_the_workspace(
    plane: Plane, kind: type, values: dict[str, object], why: str, hub_up: bool
):
    running(plane)
    plane.get(Reconciler).round()
    assert plane.row().status is S.RUNNING
    edit(plane, kind, **values)
    if not hub_up:
        plane.hub.down()
    plane.get(Reconciler).round()
    assert plane.row().door_token_hash is None
    assert why in (plane.row().message or "")
    plane.settle()
    assert plane.row().status is (S.STOPPED if hub_up else S.STOPPING)


def test_an_overdue_workspace_stops_by_the_hand_of_the_system(plane: Plane):
    running(plane)
    with plane.world.store.write(housekeeping=True) as change:
        row = change.session.merge(plane.row())
        row.deadline_at = utc_now()
        change.session.add(row)
    plane.get(Reconciler).round()
    plane.settle()
    assert plane.row().status is S.STOPPED
    with plane.world.store.read() as session:
        record = session.exec(select(AuditRecord).where(AuditRecord.action == "workspace:stop")).one()
    assert record.actor_id == "system"


def test_a_start_that_takes_too_long_has_failed(plane: Plane):
    opened(plane)
    plane.get(Reconciler).round()
    assert plane.row().status is S.STARTING
    with plane.world.store.write(housekeeping=True) as change:
        row = change.session.merge(plane.row())
        row.opened_at = utc_now() - START_LIMIT - timedelta(seconds=1)
        change.session.add(row)
    plane.get(Reconciler).round()
    assert plane.row().status is S.FAILED
    assert plane.hub.servers == {}


@pytest.mark.parametrize(
    ("pending", "status"), [("spawn", S.STARTING), ("check", S.STARTING), (None, S.FAILED)]
)
def test_a_start_that_the_hub_has_in_hand_is_the_hubs_to_give_up(plane: Plane, pending, status):
    principal = opened(plane)
    plane.inside.get(f"/internal/v1/spawn-plans/{principal}", headers=HUB_HEADERS)
    plane.hub.run(principal, ready=False)
    plane.hub.servers[principal]["pending"] = pending
    with plane.world.store.write(housekeeping=True) as change:
        row = change.session.merge(plane.row())
        row.opened_at = utc_now() - 10 * START_LIMIT
        change.session.add(row)
    plane.get(Reconciler).round()
    assert plane.row().status is status


def test_a_lost_report_of_a_ready_server_is_made_up_for(plane: Plane):
    principal = opened(plane)
    plane.hub.run(principal)
    plane.get(Reconciler).round()
    assert plane.row().status is S.STARTING, "without a plan it is a server from before"
    plane.inside.get(f"/internal/v1/spawn-plans/{principal}", headers=HUB_HEADERS)
    plane.get(Reconciler).round()
    assert plane.row().status is S.RUNNING


def test_servers_of_nobody_and_of_stopped_workspaces_are_stopped(plane: Plane):
    principal = running(plane)
    plane.hub.run("w" + "z" * 25)
    plane.get(Reconciler).round()
    assert set(plane.hub.servers) == {principal}
    report(plane, "stopped")
    plane.get(Reconciler).round()
    assert plane.hub.servers == {}


def test_the_thread_stops_an_expired_workspace_and_ends(plane: Plane):
    running(plane)
    quick = Reconciler(
        plane.world.store, plane.get(HubClient), plane.get(Reconciler)._effects, every_seconds=0.02
    )
    edit(plane, Project, status=ProjectStatus.FROZEN)
    quick.start()
    for _ in range(200):
        if plane.row().status is S.STOPPED:
            break
        quick._stopping.wait(0.02)
    quick.stop()
    assert plane.row().status is S.STOPPED
    assert plane.hub.servers == {}
    assert not quick._thread.is_alive()


def test_effects_that_come_late_do_nothing(plane: Plane):
    running(plane)
    start = plane.worker._handlers["workspace.start"]
    plane.hub.calls.clear()
    start({"workspace_id": plane.row().id, "version": 2})
    start({"workspace_id": "01JD3W7Z8Q5T9XK2M4N6P8R0SV", "version": 1})
    assert plane.hub.calls == []
    plane.hub.down()
    plane.get(WorkspaceDesk).stop(plane.world.actor("ruth"), plane.row().id)
    with pytest.raises(TemporaryError):
        plane.worker._handlers["workspace.stop"]({"workspace_id": plane.row().id, "reason": "x"})


@pytest.mark.parametrize("whole_project", [True, False])
def test_a_stop_that_is_retried_late_leaves_the_next_start_alone(plane: Plane, whole_project: bool):
    running(plane)
    before = utc_now().isoformat()
    plane.get(WorkspaceDesk).stop(plane.world.actor("ruth"), plane.row().id)
    plane.settle()
    assert plane.row().status is S.STOPPED
    running(plane)
    row = plane.row()
    payload = {"project_id": row.project_id, "at": before} if whole_project else {"workspace_id": row.id}
    plane.worker._handlers["workspace.stop"](payload | {"reason": "An earlier start was stopped."})
    assert plane.row().status is S.RUNNING
    assert row.principal in plane.hub.servers


def test_a_workspace_that_cannot_be_judged_keeps_no_other_from_its_end(plane: Plane):
    running(plane)
    world = plane.world
    beta = world.add_project("gamma", "ruth")
    broken = Workspace(
        id="0" * 26,
        project_id=beta.id,
        person_id=world.people["ruth"].id,
        status=S.RUNNING,
        opened_at=utc_now(),
        grant_ids=[["not", "a name"]],
    )
    world.add(broken)
    edit(plane, Membership, until=utc_now() - timedelta(seconds=1))
    reconciler = plane.get(Reconciler)
    reconciler.round()
    with world.store.read() as session:
        other = session.exec(select(Workspace).where(Workspace.id != broken.id)).one()
        cause = session.exec(select(Revocation.cause)).one()
    assert (other.status, cause) == (S.STOPPED, RevocationCause.MEMBER_EXPIRED)
    assert reconciler.failing == {broken.id}
    parts = {part["name"]: part for part in plane.api.get("/readyz").json()["parts"]}
    assert broken.id in parts["revocations"]["why"]


def test_rights_end_in_time_beside_a_hub_that_is_slow_to_stop_strays(plane: Plane):
    running(plane)
    effects = plane.get(WorkspaceEffects)
    reconciler = Reconciler(plane.world.store, plane.get(HubClient), effects, stray_seconds=0.3)
    strays = {f"w{number:025d}" for number in range(12)}
    for name in strays:
        plane.hub.run(name)
    plane.hub.seconds = 0.05
    reconciler.round()
    assert 0 < len(strays & plane.hub.servers.keys()) < len(strays)
    edit(plane, Membership, until=utc_now() - timedelta(seconds=1))
    reconciler.round()
    assert plane.row().door_token_hash is None
    for _ in range(8):
        reconciler.round()
    assert strays.isdisjoint(plane.hub.servers), "each comes in its turn"
