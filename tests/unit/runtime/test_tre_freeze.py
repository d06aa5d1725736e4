"""One action that stops everything, and its undo."""

from __future__ import annotations

import pytest
from sqlmodel import select

from broch_api.freeze.schemas import FreezeBegin
from broch_api.freeze.service import FreezeDesk
from broch_api.projects.service import ProjectRegister
from broch_api.revocations.watch import RevocationWatch
from broch_api.workspaces.service import WorkspaceDesk
from broch_core.errors import Conflict, Denied
from broch_core.lifecycles import ProjectEvent, ProjectStatus, WorkspaceStatus
from broch_core.tables.projects import Project
from broch_core.tables.revocations import Revocation, TreFreeze
from support.failing_audit import AuditUnwritable, audit_failing
from unit.runtime.runtime_fakes import Plane
from unit.runtime.runtime_steps import running

WHY = FreezeBegin(reason="An intrusion is looked into.")


@pytest.fixture
def desk(plane: Plane) -> FreezeDesk:
    return plane.get(FreezeDesk)


def states(plane: Plane) -> dict[str, ProjectStatus]:
    with plane.world.store.read() as session:
        return {project.slug: project.status for project in session.exec(select(Project))}


def test_everything_that_runs_stops_and_thaws_again(plane, desk):
    admin = plane.world.actor("ada")
    plane.world.add_project("frozen-before", status=ProjectStatus.FROZEN)
    plane.world.add_project("planned", status=ProjectStatus.PLANNED)
    plane.world.add_project("over", status=ProjectStatus.ENDED)
    before = states(plane)
    running(plane)
    begun = desk.begin(admin, WHY)
    assert begun.frozen
    assert (begun.projects, begun.waiting) == (2, 2)
    assert plane.row().status is WorkspaceStatus.STOPPING
    assert plane.row().door_token_hash is None
    assert states(plane) == before | {"alpha": ProjectStatus.FROZEN, "beta": ProjectStatus.FROZEN}
    with pytest.raises(Conflict, match="frozen"):
        plane.get(WorkspaceDesk).open(plane.world.actor("ruth"), plane.world.project.id)
    plane.get(RevocationWatch).round()
    plane.settle()
    seen = desk.state(admin)
    assert (seen.waiting, seen.late) == (0, 0)
    assert seen.seconds is not None
    assert plane.hub.servers == {}
    assert not desk.end(admin).frozen
    assert states(plane) == before
    assert plane.get(WorkspaceDesk).open(plane.world.actor("ruth"), plane.world.project.id)


@pytest.mark.parametrize(
    ("status", "event"), [("planned", ProjectEvent.ACTIVATE), ("frozen", ProjectEvent.THAW)]
)
def test_no_project_begins_or_thaws_while_the_tre_is_frozen(plane, desk, status, event):
    admin = plane.world.actor("ada")
    project = plane.world.add_project("waiting", status=ProjectStatus(status))
    desk.begin(admin, WHY)
    with pytest.raises(Conflict, match="whole TRE"):
        ProjectRegister(plane.world.store).move(admin, project.id, event)
    desk.end(admin)
    assert ProjectRegister(plane.world.store).move(admin, project.id, event).status is ProjectStatus.ACTIVE


def test_it_is_for_administrators_and_for_one_freeze_at_a_time(plane, desk):
    for act in (lambda who: desk.begin(who, WHY), desk.end):
        with pytest.raises(Denied):
            act(plane.world.actor("ruth"))
    admin = plane.world.actor("ada")
    desk.begin(admin, WHY)
    with pytest.raises(Conflict, match="already"):
        desk.begin(admin, WHY)
    desk.end(admin)
    assert not desk.end(admin).frozen, "an end of nothing changes nothing"


def test_a_freeze_that_cannot_be_recorded_does_not_happen(plane, desk):
    running(plane)
    before, admin = states(plane), plane.world.actor("ada")
    with audit_failing(plane.world.store.engine) as writes:
        desk.begin(admin, WHY)
    desk.end(admin)
    assert writes.count >= 4  # the freeze, two revocations, a workspace
    with plane.world.store.read() as session:
        kept = len(session.exec(select(Revocation)).all())
    for at in range(3):
        with audit_failing(plane.world.store.engine, at), pytest.raises(AuditUnwritable):
            desk.begin(admin, WHY)
        assert states(plane) == before
        with plane.world.store.read() as session:
            assert [one.in_force for one in session.exec(select(TreFreeze))] == [None]
            assert len(session.exec(select(Revocation)).all()) == kept


def test_every_page_says_so_and_tells_the_reason_to_those_who_are_signed_in(plane, desk):
    assert desk.notice(signed_in=True) is None
    desk.begin(plane.world.actor("ada"), WHY)
    assert WHY.reason in (desk.notice(signed_in=True) or "")
    assert desk.notice(signed_in=False) is not None
    assert WHY.reason not in (desk.notice(signed_in=False) or "")
