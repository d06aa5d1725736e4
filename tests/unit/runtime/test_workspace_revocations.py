"""Rights that end, followed to their end: at the hub, at the door, by what the controller saw, late, and after a crash."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlmodel import select

from broch_api.datasets.grants import GrantDesk
from broch_api.projects.members import MemberRegister
from broch_api.projects.service import ProjectRegister
from broch_api.revocations.service import RevocationDesk
from broch_api.revocations.watch import RevocationWatch
from broch_api.workspaces.hub import HubClient
from broch_api.workspaces.reconciler import Reconciler
from broch_api.zones.service import ZoneRegister
from broch_api.zones.specs import ZoneDefaults
from broch_core.audit.tables import AuditRecord
from broch_core.clock import utc_now
from broch_core.errors import NotFound
from broch_core.lifecycles import ProjectEvent, WorkspaceStatus
from broch_core.revocations import RevocationCause
from broch_core.tables.datasets import Grant
from broch_core.tables.projects import Membership
from broch_core.tables.revocations import Revocation
from broch_workspaces.cluster.manifests import data_volume_name
from broch_workspaces.cluster.sources import parse_source
from broch_workspaces.cluster.spec import Quota, ZonePhase, ZoneReport, data_claim, home_claim
from support.failing_audit import audit_failing
from unit.runtime.runtime_fakes import Plane
from unit.runtime.runtime_steps import edit, opened, running


def remove_ruth(plane: Plane) -> None:
    with plane.world.store.read() as session:
        row = session.exec(
            select(Membership).where(
                Membership.project_id == plane.world.project.id,
                Membership.person_id == plane.world.people["ruth"].id,
            )
        ).one()
    MemberRegister(plane.world.store).remove(plane.world.actor("ada"), plane.world.project.id, row.id)


def freeze(plane: Plane) -> None:
    ProjectRegister(plane.world.store).move(
        plane.world.actor("ada"), plane.world.project.id, ProjectEvent.FREEZE
    )


def revoke_grant(plane: Plane) -> None:
    with plane.world.store.read() as session:
        grant = session.exec(select(Grant)).one()
    GrantDesk(plane.world.store).revoke(plane.world.actor("owen"), grant.id)


def revocation(plane: Plane) -> Revocation:
    with plane.world.store.read() as session:
        return session.exec(select(Revocation)).one()


def actions(plane: Plane) -> list[str]:
    with plane.world.store.read() as session:
        return [
            row.action
            for row in session.exec(select(AuditRecord).order_by(AuditRecord.id))
            if row.action.startswith("revocation:")
        ]


def older(plane: Plane, seconds: float) -> None:
    """Let time go by."""
    edit(plane, Revocation, begun_at=revocation(plane).begun_at - timedelta(seconds=seconds))


@pytest.fixture
def watch(plane: Plane) -> RevocationWatch:
    return plane.get(RevocationWatch)


@pytest.mark.parametrize(
    ("act", "cause"),
    [
        (remove_ruth, RevocationCause.MEMBER_REMOVED),
        (freeze, RevocationCause.PROJECT_FROZEN),
        (revoke_grant, RevocationCause.GRANT_REVOKED),
    ],
)
def test_a_right_that_ends_takes_the_door_with_it_in_the_same_transaction(plane, watch, act, cause):
    running(plane)
    act(plane)
    row = plane.row()
    assert row.status is WorkspaceStatus.STOPPING
    assert row.door_token_hash is None
    found = revocation(plane)
    assert found.cause is cause
    assert found.rights_at == found.begun_at
    assert [start["principal"] for start in found.starts] == [row.principal]
    assert found.hub_at is None
    watch.round()
    found = revocation(plane)
    assert found.hub_at is not None
    assert found.tokens_at is not None
    assert found.done_at is not None
    assert found.late_at is None
    assert plane.hub.servers == {}
    assert plane.hub.users == set(), "with the hub's user go its sign-ins and tokens"
    assert actions(plane) == ["revocation:begin", "revocation:confirm"]


@pytest.mark.parametrize(
    ("kind", "values", "cause"),
    [
        (Membership, {"until": utc_now() - timedelta(seconds=1)}, RevocationCause.MEMBER_EXPIRED),
        (Grant, {"until": (utc_now() - timedelta(days=1)).date()}, RevocationCause.GRANT_EXPIRED),
    ],
)
def test_a_right_that_runs_out_is_revoked_by_the_system(plane, watch, kind, values, cause):
    running(plane)
    with plane.world.store.read() as session:
        version = session.exec(select(Grant.version_id)).one()
    edit(plane, kind, **values)
    plane.get(Reconciler).round()
    found = revocation(plane)
    assert found.cause is cause
    assert found.actor_id == "system"
    assert found.person_id == plane.world.people["ruth"].id
    assert found.version_ids == ([version] if cause is RevocationCause.GRANT_EXPIRED else [])
    watch.round()
    assert revocation(plane).done_at is not None


def test_a_dead_hub_makes_it_late_and_it_goes_on_when_the_hub_is_back(plane, watch):
    running(plane)
    plane.hub.down()
    remove_ruth(plane)
    watch.round()
    found = revocation(plane)
    assert found.hub_at is None
    assert found.tokens_at is not None, "the door is closed, whoever is away"
    older(plane, 61)
    for _ in range(3):
        watch.round()
    assert revocation(plane).late_at is not None
    assert actions(plane).count("revocation:late") == 1
    plane.hub.up()
    watch.round()
    found = revocation(plane)
    assert found.done_at is not None
    assert found.late_at is not None, "that it was late is not forgotten"


def test_whoever_takes_over_after_a_crash_goes_on_from_the_rows(plane, watch):
    running(plane)
    plane.hub.slow_stop = True
    freeze(plane)
    watch.round()
    assert revocation(plane).hub_at is None
    plane.hub.slow_stop = False
    plane.hub.servers.clear()
    again = RevocationWatch(plane.world.store, plane.get(HubClient), on_cluster=False)
    assert again.round() == 1
    assert revocation(plane).done_at is not None
    assert again.round() == 0


def test_a_step_that_cannot_be_recorded_is_not_confirmed(plane, watch):
    running(plane)
    freeze(plane)
    with audit_failing(plane.world.store.engine, every=True) as writes:
        assert watch.round() == 0
    assert writes.count
    assert watch.failing == {revocation(plane).id: "AuditUnwritable"}
    assert revocation(plane).hub_at is None
    watch.round()
    assert revocation(plane).hub_at is not None
    assert not watch.failing


def test_a_start_by_a_right_of_today_is_left_alone(plane, watch):
    running(plane)
    plane.hub.down()
    freeze(plane)
    plane.hub.up()
    plane.settle()
    ProjectRegister(plane.world.store).move(
        plane.world.actor("ada"), plane.world.project.id, ProjectEvent.THAW
    )
    principal = running(plane)
    watch.round()
    assert revocation(plane).done_at is not None
    assert plane.row().status is WorkspaceStatus.RUNNING
    assert principal in plane.hub.servers


# on a cluster


@pytest.fixture
def register(plane: Plane) -> ZoneRegister:
    source = parse_source({"type": "host-path", "path": "/srv/datasets"})
    sizes = {"home_bytes": 1, "project_bytes": 1, "imports_bytes": 1}
    return ZoneRegister(plane.world.store, ZoneDefaults(store=source, quota=Quota(), **sizes))


@pytest.fixture
def far_watch(plane: Plane) -> RevocationWatch:
    return RevocationWatch(plane.world.store, plane.get(HubClient), on_cluster=True)


def saw(register: ZoneRegister, project: str, pods=(), volumes=(), after=None) -> bool:
    spec = register.spec(project)
    known = spec.revocations if after is None else after
    return register.report(
        project,
        ZoneReport(
            digest=spec.digest(), phase=ZonePhase.READY, after=known, pods=dict(pods), volumes=tuple(volumes)
        ),
    )


def test_pods_and_volumes_are_gone_when_the_controller_saw_it_after_it_knew(plane, register, far_watch):
    running(plane)
    pod, project = plane.row().door_token_hash, plane.world.project.id
    assert register.spec(project).starts == (pod,)
    with plane.world.store.read() as session:
        version = session.exec(select(Grant.version_id)).one()
    before = register.spec(project).revocations
    revoke_grant(plane)
    spec = register.spec(project)
    assert spec.starts == ()
    assert spec.revocations == (revocation(plane).id,)
    saw(register, project, after=before)  # on its way when the right ended: it knows nothing of it
    assert revocation(plane).pods_at is None
    data = data_claim(version)
    saw(register, project, {pod: (data,)}, [data])
    assert revocation(plane).pods_at is None
    saw(register, project, {}, [data_volume_name(project, version)])
    found = revocation(plane)
    assert found.pods_at is not None
    assert found.volumes_at is None
    assert saw(register, project)
    assert not saw(register, project, after=spec.revocations), "a second report changes nothing"
    assert revocation(plane).volumes_at is not None
    assert register.spec(project).revocations == ()
    far_watch.round()
    found = revocation(plane)
    assert found.hub_at is not None
    assert found.tokens_at is None, "the gateway may believe the token for ten seconds more"
    edit(plane, Revocation, pods_at=found.pods_at - timedelta(seconds=10))
    far_watch.round()
    assert revocation(plane).done_at is not None


def test_a_home_is_free_when_only_starts_of_today_mount_it(plane, register):
    running(plane)
    project, home = plane.world.project.id, home_claim(plane.world.people["ruth"].id)
    remove_ruth(plane)
    saw(register, project, {"e" * 64: (home,)})
    assert revocation(plane).volumes_at is None
    assert revocation(plane).pods_at is None, "whatever mounts the home is the person's"
    saw(register, project, {"e" * 64: ("project",)})
    assert revocation(plane).volumes_at is not None
    assert revocation(plane).pods_at is not None


def test_a_start_under_way_counts_once_the_hub_makes_no_pod_any_more(plane, register, far_watch):
    opened(plane)
    freeze(plane)
    assert revocation(plane).starts[0]["status"] == "starting"
    saw(register, plane.world.project.id)
    assert revocation(plane).pods_at is None
    far_watch.round()
    assert revocation(plane).hub_at is not None
    saw(register, plane.world.project.id)
    assert revocation(plane).pods_at is not None


def test_a_report_of_another_project_confirms_nothing(plane, register):
    running(plane)
    freeze(plane)
    with plane.world.store.read() as session:
        other = next(
            one.project_id
            for one in session.exec(select(Membership))
            if one.project_id != plane.world.project.id
        )
    saw(register, other, after=(revocation(plane).id,))
    assert revocation(plane).pods_at is None


def test_what_the_controller_saw_and_cannot_be_recorded_is_not_confirmed(plane, register):
    running(plane)
    freeze(plane)
    saw(register, plane.world.project.id, {"e" * 64: ()})
    with audit_failing(plane.world.store.engine, every=True) as writes:
        assert not saw(register, plane.world.project.id)
    assert writes.count
    assert revocation(plane).pods_at is None
    saw(register, plane.world.project.id)
    assert revocation(plane).pods_at is not None


def test_a_zone_that_is_gone_is_asked_for_until_its_pods_were_seen_gone(plane, register):
    running(plane)
    project = plane.world.project.id
    ProjectRegister(plane.world.store).move(plane.world.actor("ada"), project, ProjectEvent.END)
    digest = register.spec(project).digest()
    register.report(project, ZoneReport(digest=digest, phase=ZonePhase.GONE))
    assert project in {spec.project_id for spec in register.specs().items}
    saw(register, project)
    register.report(project, ZoneReport(digest=digest, phase=ZonePhase.GONE))
    assert project not in {spec.project_id for spec in register.specs().items}


# shown


def told(plane: Plane, who: str = "robin") -> list[str]:
    found = plane.get(RevocationDesk).of_project(plane.world.actor(who), plane.world.project.id)
    return [view.told for view in found]


def test_members_read_how_far_the_end_of_a_right_is(plane, watch):
    running(plane)
    plane.hub.down()
    freeze(plane)
    watch.round()
    (found,) = told(plane)
    assert found.startswith("Tokens dead after 0")
    assert "Not seen yet: notebook server and its sign-ins gone." in found
    older(plane, 61)
    watch.round()
    assert "takes too long" in told(plane)[0]
    plane.hub.up()
    watch.round()
    assert "It took too long." in told(plane)[0]
    with pytest.raises(NotFound):
        told(plane, "sam")


def test_where_nothing_ran_it_says_so(plane, watch):
    freeze(plane)
    watch.round()
    assert told(plane) == ["Nothing ran."]


def test_what_is_late_is_a_part_of_the_status_and_a_metric(plane, watch):
    running(plane)
    plane.hub.down()
    freeze(plane)
    older(plane, 61)
    watch.round()
    parts = {part["name"]: part for part in plane.api.get("/readyz").json()["parts"]}
    assert not parts["revocations"]["ok"]
    assert not parts["revocations"]["needed"]
    assert 'broch_revocations{state="late"} 1' in plane.api.get("/metrics").text
    plane.hub.up()
    watch.round()
    parts = {part["name"]: part for part in plane.api.get("/readyz").json()["parts"]}
    assert parts["revocations"]["ok"]
    assert 'broch_revocations{state="late"} 0' in plane.api.get("/metrics").text
