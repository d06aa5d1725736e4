"""A freeze of the whole TRE and projects that begin to run at the same moment: none is missed."""

from __future__ import annotations

import pytest
from sqlmodel import select

from broch_api.freeze.schemas import FreezeBegin
from broch_api.freeze.service import FreezeDesk
from broch_api.projects.service import ProjectRegister
from broch_core.errors import Conflict
from broch_core.lifecycles import ProjectEvent, ProjectStatus
from broch_core.scope import freeze_in_force
from broch_core.tables.projects import Project
from support.races import Act, held, waits
from support.worlds import World

WHY = FreezeBegin(reason="An intrusion is looked into.")


@pytest.mark.parametrize("event", [ProjectEvent.ACTIVATE, ProjectEvent.THAW])
def test_no_project_begins_to_run_while_a_freeze_is_being_written(world: World, event: ProjectEvent) -> None:
    """The freeze has looked at the table and waits for one row; a project that it did not see comes up meanwhile."""
    admin, desk = world.actor("ada"), FreezeDesk(world.store)
    before = ProjectStatus.PLANNED if event is ProjectEvent.ACTIVATE else ProjectStatus.FROZEN
    with held(world, "project", world.project.id):
        freeze = Act(lambda: desk.begin(admin, WHY))
        waits(world, freeze, 1)
        late = world.add_project("late", "ruth", status=before)
        moved = Act(lambda: ProjectRegister(world.store).move(admin, late.id, event))
        waits(world, moved, 2)
    assert freeze.end() is None
    assert isinstance(moved.end(), Conflict)
    with world.store.read() as session:
        assert freeze_in_force(session) is not None
        active = session.exec(select(Project.slug).where(Project.status == ProjectStatus.ACTIVE)).all()
    assert active == []
    desk.end(admin)
    assert ProjectRegister(world.store).move(admin, late.id, event).status is ProjectStatus.ACTIVE


def test_a_freeze_waits_for_a_project_that_just_begins_to_run_and_takes_it_along(world: World) -> None:
    admin = world.actor("ada")
    late = world.add_project("late", "ruth", status=ProjectStatus.PLANNED)
    with held(world, "project", late.id):
        moved = Act(lambda: ProjectRegister(world.store).move(admin, late.id, ProjectEvent.ACTIVATE))
        waits(world, moved, 1)
        freeze = Act(lambda: FreezeDesk(world.store).begin(admin, WHY))
        waits(world, freeze, 2)
    assert moved.end() is None
    assert freeze.end() is None
    with world.store.read() as session:
        assert session.get_one(Project, late.id).status is ProjectStatus.FROZEN
