"""Projects of the matrix that share a workspace: none allowed, none opened yet, and one with the author in it."""

from __future__ import annotations

from datetime import timedelta

from broch_core.clock import utc_now
from broch_core.lifecycles import WorkspaceStatus
from broch_core.tables.projects import Project
from broch_core.tables.workspaces import Entrant, Workspace
from support.surface import Surface


def add_shared(surface: Surface) -> None:
    """Make them, and remember the principal of the author's stay."""
    world = surface.world
    found = surface.things["shared"] = {}
    for name in ("refused", "allowed", "running"):
        project = world.add_project(f"shared-{name}", "ruth", "robin")
        with world.store.write(housekeeping=True) as change:
            change.session.get_one(Project, project.id).shared_workspace = name != "refused"
        found[name] = {"project_id": project.id}
    row = Workspace(
        project_id=found["running"]["project_id"],
        status=WorkspaceStatus.RUNNING,
        opened_at=utc_now() - timedelta(minutes=1),
        deadline_at=utc_now() + timedelta(hours=8),
    )
    world.add(row)
    author = world.sessions.actor(surface.visitors["author"].cookie or "")
    assert author is not None
    assert author.session_id is not None
    stay = Entrant(workspace_id=row.id, person_id=author.person_id, session_id=author.session_id)
    world.add(stay)
    found["running"] |= {"principal": stay.principal}
