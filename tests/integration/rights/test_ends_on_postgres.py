"""Rights that end twice at the same moment: each end is done and told once, and nobody is in another's way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlmodel import select

from broch_api.freeze.schemas import FreezeBegin
from broch_api.freeze.service import FreezeDesk
from broch_api.projects.members import MemberRegister
from broch_api.projects.service import ProjectRegister
from broch_api.workspaces.effects import WorkspaceEffects
from broch_api.workspaces.hub import HubClient
from broch_api.workspaces.premises import FolderPremises
from broch_api.workspaces.reconciler import Reconciler
from broch_api.workspaces.reports import WorkspaceReports
from broch_api.workspaces.shared import SharedDesk
from broch_core.audit.tables import AuditRecord
from broch_core.clock import utc_now
from broch_core.lifecycles import ProjectEvent, WorkspaceStatus
from broch_core.tables.people import UserSession
from broch_core.tables.projects import Membership, Project
from broch_core.tables.workspaces import Entrant, Workspace
from broch_workspaces.zones import FolderZones
from support.races import Act, held, waits
from support.worlds import World

WHY = FreezeBegin(reason="An intrusion is looked into.")


def shared(world: World) -> tuple[Workspace, Entrant]:
    """Have a shared workspace run with ruth in it."""
    with world.store.write(housekeeping=True) as change:
        change.session.get_one(Project, world.project.id).shared_workspace = True
    row = Workspace(
        project_id=world.project.id,
        person_id=None,
        status=WorkspaceStatus.RUNNING,
        opened_at=utc_now(),
        deadline_at=utc_now() + timedelta(hours=1),
        door_token_hash="d" * 64,
    )
    world.add(row)
    world.token("ruth")
    with world.store.read() as session:
        entered = session.exec(
            select(UserSession).where(UserSession.person_id == world.people["ruth"].id)
        ).one()
    stay = Entrant(workspace_id=row.id, person_id=world.people["ruth"].id, session_id=entered.id)
    world.add(stay)
    return row, stay


def membership(world: World, handle: str) -> Membership:
    with world.store.read() as session:
        return session.exec(
            select(Membership).where(
                Membership.project_id == world.project.id, Membership.person_id == world.people[handle].id
            )
        ).one()


def remove(world: World) -> object:
    register = MemberRegister(world.store)
    return register.remove(world.actor("ada"), world.project.id, membership(world, "ruth").id)


def freeze_project(world: World) -> object:
    return ProjectRegister(world.store).move(world.actor("ada"), world.project.id, ProjectEvent.FREEZE)


def freeze_all(world: World) -> object:
    return FreezeDesk(world.store).begin(world.actor("ada"), WHY)


def desk(world: World) -> SharedDesk:
    premises = FolderPremises(world.folder / "datasets", FolderZones(world.folder / "zones"))
    return SharedDesk(world.store, world.settings, premises)


@pytest.mark.parametrize("act", [remove, freeze_project, freeze_all])
@pytest.mark.parametrize("first", ["the person leaves", "the hub tells"])
def test_a_stay_that_ends_twice_at_once_does_not_undo_what_ends_it(
    world: World, act: Callable[[World], object], first: str
) -> None:
    _, stay = shared(world)
    ruth = replace(world.actor("ruth"), session_id=stay.session_id)
    leaves = {
        "the person leaves": lambda: desk(world).leave(ruth, world.project.id),
        "the hub tells": lambda: WorkspaceReports(world.store, world.settings).left(stay.principal),
    }
    with held(world, "entrant", stay.id):
        left = Act(leaves[first])
        waits(world, left, 1)
        ended = Act(lambda: act(world))
        waits(world, ended, 2)
    assert left.end() is None
    assert ended.end() is None
    with world.store.read() as session:
        assert session.get_one(Entrant, stay.id).left_at is not None
        records = session.exec(select(AuditRecord).where(AuditRecord.action == "shared:leave")).all()
    assert len(records) == 1


@pytest.mark.parametrize("what", ["own", "stay"])
def test_an_end_by_itself_and_one_by_an_admin_do_not_wait_for_each_other_for_ever(
    world: World, what: str
) -> None:
    hub = HubClient(world.folder / "nobody.sock", "token")
    premises = FolderPremises(world.folder / "datasets", FolderZones(world.folder / "zones"))
    reconciler = Reconciler(world.store, hub, WorkspaceEffects(world.store, hub, premises))
    if what == "own":
        row = Workspace(
            project_id=world.project.id,
            person_id=world.people["ruth"].id,
            status=WorkspaceStatus.RUNNING,
            opened_at=utc_now(),
            door_token_hash="d" * 64,
        )
        world.add(row)
        holds = ("workspace", row.id)
    else:
        _, stay = shared(world)
        holds = ("entrant", stay.id)
    with world.store.write(housekeeping=True) as change:
        change.session.get_one(Membership, membership(world, "ruth").id).until = utc_now()
    with held(world, *holds):
        by_itself = Act(reconciler.round)
        waits(world, by_itself, 1)
        by_hand = Act(lambda: freeze_project(world))
        waits(world, by_hand, 2)
    assert by_hand.end() is None
    assert by_itself.end() is None
    assert not reconciler.failing
    with world.store.read() as session:
        assert {row.status for row in session.exec(select(Workspace))} == {WorkspaceStatus.STOPPING}
        assert all(one.left_at is not None for one in session.exec(select(Entrant)))
