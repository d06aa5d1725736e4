"""The control plane's side of zones on a real store: what is said, who may ask, what a report changes."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from sqlmodel import select

from broch_api.zones import service
from broch_api.zones.service import ZoneRegister
from broch_api.zones.specs import ZoneDefaults
from broch_core.audit.tables import AuditRecord
from broch_core.clock import utc_now
from broch_core.errors import Conflict, NotFound
from broch_core.lifecycles import ProjectStatus, WorkspaceStatus
from broch_core.tables.datasets import DatasetVersion, Grant, GrantKind
from broch_core.tables.projects import Project
from broch_core.tables.workspaces import Workspace
from broch_core.tables.zones import DeliveryOp, Zone, ZoneDelivery
from broch_workspaces.cluster.sources import parse_source
from broch_workspaces.cluster.spec import Quota, ZonePhase, ZoneReport, ZoneState
from support.failing_audit import AuditUnwritable, audit_failing
from support.worlds import World, make_world


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


@pytest.fixture
def register(world: World) -> ZoneRegister:
    source = parse_source({"type": "host-path", "path": "/srv/datasets"})
    defaults = ZoneDefaults(
        store=source, quota=Quota(), home_bytes=1 << 30, project_bytes=1 << 30, imports_bytes=1 << 30
    )
    return ZoneRegister(world.store, defaults)


def change_project(world: World, **values: object) -> None:
    with world.store.write(housekeeping=True) as change:
        row = change.session.get_one(Project, world.project.id)
        for name, value in values.items():
            setattr(row, name, value)
        change.session.add(row)


def ready(register: ZoneRegister, project_id: str, **values: object) -> bool:
    digest = register.spec(project_id).digest()
    return register.report(project_id, ZoneReport(**({"digest": digest, "phase": ZonePhase.READY} | values)))


def test_members_and_granted_versions_are_in_the_zone_of_their_project_alone(
    world: World, register: ZoneRegister
):
    specs = {spec.project_id: spec for spec in register.specs().items}
    alpha = specs.pop(world.project.id)
    assert {home.person_id for home in alpha.homes} == {world.people[name].id for name in ("ruth", "robin")}
    assert len(alpha.data) == 1
    (beta,) = specs.values()
    assert beta.data == ()
    assert [home.person_id for home in beta.homes] == [world.people["sam"].id]


def test_a_validation_only_grant_is_never_mounted(world: World, register: ZoneRegister):
    assert len(register.spec(world.project.id).data) == 1
    with world.store.write(housekeeping=True) as change:
        grant = change.session.exec(select(Grant)).one()
        grant.kind = GrantKind.VALIDATION_ONLY
        change.session.add(grant)
    assert register.spec(world.project.id).data == ()


@pytest.mark.parametrize("how", ["revoked", "over", "suspended"])
def test_a_grant_that_ended_is_mounted_no_more(world: World, register: ZoneRegister, how: str):
    with world.store.write(housekeeping=True) as change:
        grant = change.session.exec(select(Grant)).one()
        version = change.session.get_one(DatasetVersion, grant.version_id)
        if how == "revoked":
            grant.revoked_at = utc_now()
        elif how == "over":
            grant.until = utc_now().date() - timedelta(days=1)
        else:
            version.status = "suspended"
        change.session.add_all([grant, version])
    assert register.spec(world.project.id).data == ()


@pytest.mark.parametrize(
    ("status", "held"),
    [
        (WorkspaceStatus.STARTING, True),
        (WorkspaceStatus.RUNNING, True),
        (WorkspaceStatus.STOPPING, True),
        (WorkspaceStatus.STOPPED, False),
        (WorkspaceStatus.FAILED, False),
    ],
)
def test_a_zone_that_ended_waits_for_workspaces_that_the_hub_has_not_seen_gone(
    world: World, register: ZoneRegister, status: WorkspaceStatus, held: bool
):
    person = world.people["ruth"].id
    world.add(
        Workspace(project_id=world.project.id, person_id=person, principal="w" + "a" * 25, status=status)
    )
    assert not register.spec(world.project.id).held
    change_project(world, status=ProjectStatus.ENDED)
    assert register.spec(world.project.id).held is held


def test_who_waits_is_told_of_a_change_at_once_and_of_nothing_at_the_end(
    world: World, register: ZoneRegister, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(service, "_LOOK_SECONDS", 60.0)
    before = register.specs()
    began = time.monotonic()
    unchanged = register.wait(before.digest, 0.3)
    assert unchanged.digest == before.digest
    assert before.items
    assert not unchanged.items, "all of it again, for nothing"
    assert time.monotonic() - began >= 0.3
    threading.Timer(0.2, lambda: change_project(world, status=ProjectStatus.FROZEN)).start()
    after = register.wait(before.digest, 20)
    assert after.digest != before.digest, "woken, not found at the next look"
    assert next(s for s in after.items if s.project_id == world.project.id).state is ZoneState.FROZEN


def test_a_workspace_waits_until_the_zone_is_what_it_shall_be_now(world: World, register: ZoneRegister):
    project = world.project.id
    assert register.lacks(project) is not None
    assert ready(register, project)
    assert register.lacks(project) is None
    world.add_person("nia")
    with world.store.write(housekeeping=True) as change:
        grant = change.session.exec(select(Grant)).one()
        grant.revoked_at = utc_now()
        change.session.add(grant)
    assert register.lacks(project) is not None  # ready, but for what it was
    ready(register, project)
    assert register.lacks(project) is None


def test_a_zone_that_cannot_be_made_says_why(world: World, register: ZoneRegister):
    ready(register, world.project.id, phase=ZonePhase.FAILED, message="The storage class 'x' does not exist.")
    with pytest.raises(Conflict, match="storage class"):
        register.lacks(world.project.id)


def test_administrators_see_which_zone_cannot_be_made_and_why(world: World, register: ZoneRegister):
    ready(register, world.project.id)
    assert register.overview() == ({"ready": 1}, [])
    ready(register, world.project.id, phase=ZonePhase.FAILED, message="The storage is full.")
    assert register.overview() == ({"failed": 1}, ["alpha: The storage is full."])
    ready(register, world.project.id, phase=ZonePhase.MAKING, message="It waits for its volumes.")
    assert register.overview() == ({"making": 1}, [])
    ready(register, world.project.id, message="There is no room for an import.")
    assert register.overview() == ({"ready": 1}, ["alpha: There is no room for an import."])


def test_a_report_is_recorded_once(world: World, register: ZoneRegister):
    def records() -> int:
        with world.store.read() as session:
            return len(session.exec(select(AuditRecord).where(AuditRecord.action == "zone:report")).all())

    assert ready(register, world.project.id)
    assert records() == 1
    assert not ready(register, world.project.id)
    assert records() == 1


def test_deliveries_are_done_or_failed_once_and_of_their_own_project_alone(
    world: World, register: ZoneRegister
):
    with world.store.read() as session:
        beta = session.exec(select(Project).where(Project.slug == "beta")).one().id

    def entered(project: str) -> ZoneDelivery:
        row = ZoneDelivery(project_id=project, op=DeliveryOp.PLACE, name="a", sha256="0" * 64, size=1)
        world.add(row)
        return row

    done, failed, foreign = entered(world.project.id), entered(world.project.id), entered(beta)
    named = {row.id for row in register.spec(world.project.id).deliveries}
    assert named == {done.id, failed.id}
    assert ready(
        register,
        world.project.id,
        delivered=(done.id, foreign.id),
        undelivered={failed.id: "The name is taken."},
    )
    with world.store.read() as session:
        rows = {row.id: row for row in session.exec(select(ZoneDelivery))}
    assert rows[done.id].done_at is not None
    assert rows[failed.id].failure == "The name is taken."
    assert rows[foreign.id].done_at is None
    assert rows[foreign.id].failure is None
    assert not ready(register, world.project.id, delivered=(done.id, failed.id))
    assert register.spec(world.project.id).deliveries == ()


def test_a_report_that_cannot_be_recorded_changes_nothing(world: World, register: ZoneRegister):
    row = ZoneDelivery(project_id=world.project.id, op=DeliveryOp.PLACE, name="a", sha256="0" * 64, size=1)
    world.add(row)
    for at in range(2):  # the record of the phase, and that of the delivery
        with audit_failing(world.store.engine, at), pytest.raises(AuditUnwritable):
            ready(register, world.project.id, delivered=(row.id,))
        with world.store.read() as session:
            assert session.exec(select(Zone)).all() == []
            assert session.get_one(ZoneDelivery, row.id).done_at is None
    assert ready(register, world.project.id, delivered=(row.id,))


def test_a_zone_that_ended_is_named_until_it_is_gone(world: World, register: ZoneRegister):
    change_project(world, status=ProjectStatus.ENDED)
    assert register.spec(world.project.id).state is ZoneState.ENDED
    assert world.project.id in {spec.project_id for spec in register.specs().items}
    ready(register, world.project.id, phase=ZonePhase.GONE)
    assert world.project.id not in {spec.project_id for spec in register.specs().items}


def test_a_zone_that_is_there_again_after_its_end_is_named_again(world: World, register: ZoneRegister):
    change_project(world, status=ProjectStatus.ENDED)
    ready(register, world.project.id, phase=ZonePhase.GONE)
    before = register.specs()
    # What the controller says of a zone that nobody lists: a cluster was restored from before.
    report = ZoneReport(digest="", phase=ZonePhase.ENDING, message="Its zone is there again.")
    assert register.report(world.project.id, report)
    assert not register.report(world.project.id, report)
    after = register.specs()
    assert after.digest != before.digest
    (again,) = [spec for spec in after.items if spec.project_id == world.project.id]
    assert (again.state, again.data) == (ZoneState.ENDED, ())


def test_a_report_on_an_unknown_project_changes_nothing(world: World, register: ZoneRegister):
    with pytest.raises(NotFound):
        register.report("0" * 26, ZoneReport(digest="", phase=ZonePhase.READY))
    with world.store.read() as session:
        assert session.exec(select(Zone)).all() == []
