"""Steps that tests of workspaces share."""

from __future__ import annotations

from sqlmodel import select

from broch_api.workspaces.service import WorkspaceDesk
from broch_core.lifecycles import WorkspaceStatus as S
from broch_core.tables.projects import Project
from unit.runtime.runtime_fakes import HUB_HEADERS, Plane


def opened(plane: Plane) -> str:
    """Open ruth's workspace and let the hub start it; return the principal."""
    plane.get(WorkspaceDesk).open(plane.world.actor("ruth"), plane.world.project.id)
    plane.settle()
    return plane.row().principal


def running(plane: Plane) -> str:
    principal = opened(plane)
    assert plane.inside.get(f"/internal/v1/spawn-plans/{principal}", headers=HUB_HEADERS).status_code == 200
    plane.hub.run(principal)
    report(plane, "running")
    assert plane.row().status is S.RUNNING
    return principal


def report(plane: Plane, event: str, detail: str = "", start: str = "") -> dict[str, bool]:
    path = f"/internal/v1/workspaces/{plane.row().principal}/events"
    answer = plane.inside.post(
        path, json={"event": event, "detail": detail, "start": start}, headers=HUB_HEADERS
    )
    assert answer.status_code == 200, answer.text
    return answer.json()  # type: ignore[no-any-return]


def edit(plane: Plane, kind: type, **values: object) -> None:
    with plane.world.store.write(housekeeping=True) as change:
        for row in change.session.exec(select(kind)).all():
            if getattr(row, "project_id", None) in (plane.world.project.id, None) or kind is Project:
                for name, value in values.items():
                    setattr(row, name, value)
                change.session.add(row)
