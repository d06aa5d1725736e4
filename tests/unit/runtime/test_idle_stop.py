"""How long a workspace may be idle: what the platform and a project say, what the plan carries, what its page says."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError
from sqlmodel import select

from broch_api.projects.schemas import IdleStopChoice
from broch_api.projects.service import ProjectRegister
from broch_api.workspaces.planning import SpawnPlanner
from broch_api.workspaces.reports import start_of
from broch_api.workspaces.rights import idle_seconds
from broch_api.workspaces.service import WorkspaceDesk
from broch_core.audit.tables import AuditRecord
from broch_core.clock import utc_now
from broch_core.errors import Denied, NotFound
from broch_core.lifecycles import WorkspaceStatus
from broch_core.web.guard import COOKIE
from unit.runtime.runtime_fakes import HUB_HEADERS, Plane

HOUR, TEN = timedelta(hours=1), timedelta(minutes=10)


@pytest.mark.parametrize(
    ("usual", "project", "expected"),
    [
        (HOUR, None, (3600, 600)),
        (HOUR, 120, (7200, 600)),
        (HOUR, 1, (60, 30)),
        (HOUR, 0, (0, 0)),
        (timedelta(0), None, (0, 0)),
        (timedelta(0), 5, (300, 150)),
    ],
)
def test_a_project_differs_from_the_platform_and_a_warning_takes_half_at_most(
    usual: timedelta, project: int | None, expected: tuple[int, int]
) -> None:
    assert idle_seconds(usual, TEN, project) == expected


def running(plane: Plane) -> tuple[str, str]:
    """Have a workspace running; return its principal and what names its start."""
    plane.get(WorkspaceDesk).open(plane.world.actor("ruth"), plane.world.project.id)
    principal = plane.row().principal
    plane.get(SpawnPlanner).plan(principal)
    start = start_of(plane.row().door_token_hash or "")
    report(plane, principal, "events", {"event": "running", "start": start})
    return principal, start


def report(plane: Plane, principal: str, call: str, body: dict[str, Any]) -> bool:
    path = f"/internal/v1/workspaces/{principal}/{call}"
    answer = plane.inside.post(path, json=body, headers=HUB_HEADERS)
    assert answer.status_code == 200, answer.text
    return bool(answer.json()["changed"])


def bar(plane: Plane) -> str:
    """What the bar around the notebook is told."""
    browser = plane.api
    browser.cookies.set(COOKIE, plane.world.sessions.start("ruth", kind="browser", confined=True).token)
    return browser.get(f"/projects/{plane.world.project.id}/workspace/watch").text


def test_the_plan_carries_what_the_project_says(plane: Plane) -> None:
    ada, project = plane.world.actor("ada"), plane.world.project.id
    ProjectRegister(plane.world.store).choose_idle_stop(ada, project, 30)
    plane.get(WorkspaceDesk).open(plane.world.actor("ruth"), project)
    plan = plane.get(SpawnPlanner).plan(plane.row().principal)
    assert (plan.idle_seconds, plan.warn_seconds) == (1800, 600)
    with plane.world.store.read() as session:
        query = select(AuditRecord.facts).where(AuditRecord.action == "project:idle-stop")
        assert session.exec(query).all() == [{"from": None, "to": 30}]


def test_only_an_admin_says_how_long(plane: Plane) -> None:
    register, project = ProjectRegister(plane.world.store), plane.world.project.id
    with pytest.raises(Denied):
        register.choose_idle_stop(plane.world.actor("ruth"), project, 0)
    with pytest.raises(NotFound):
        register.choose_idle_stop(plane.world.actor("sam"), project, 0)
    register.choose_idle_stop(plane.world.actor("ada"), project, 0)


@pytest.mark.parametrize("minutes", ["-1", "43201", "1.5", "an hour", ""])
def test_minutes_that_are_none_are_refused(minutes: str) -> None:
    with pytest.raises(ValidationError):
        IdleStopChoice.model_validate({"minutes": minutes})
    with pytest.raises(ValidationError):
        IdleStopChoice.model_validate({})


@pytest.mark.parametrize(("given", "taken"), [("45", 45), (0, 0), (None, None)])
def test_minutes_may_be_none_and_unset(given: object, taken: int | None) -> None:
    assert IdleStopChoice.model_validate({"minutes": given}).minutes == taken


def test_a_warning_is_shown_around_the_notebook_and_goes_when_something_goes_on(plane: Plane) -> None:
    principal, start = running(plane)
    assert "It stops in" not in bar(plane)
    stop_at = utc_now() + TEN
    body = {"stop_at": stop_at.isoformat(), "start": start}
    assert report(plane, principal, "idle", body)
    assert not report(plane, principal, "idle", body)
    assert "It stops in" in bar(plane)
    assert plane.row().idle_stop_at == stop_at
    assert report(plane, principal, "idle", {"stop_at": None, "start": start})
    assert "It stops in" not in bar(plane)


def test_a_warning_of_another_start_is_void(plane: Plane) -> None:
    principal, start = running(plane)
    soon = (utc_now() + TEN).isoformat()
    assert not report(plane, principal, "idle", {"stop_at": soon, "start": "0" * 16})
    report(plane, principal, "idle", {"stop_at": soon, "start": start})
    told = "It was idle for 1 hour. Your files are kept."
    report(plane, principal, "events", {"event": "stopped", "detail": told, "start": start})
    row = plane.row()
    assert (row.status, row.message, row.idle_stop_at) == (WorkspaceStatus.STOPPED, told, None)
    assert not report(plane, principal, "idle", {"stop_at": soon, "start": start})


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"stop_at": "soon", "start": "0"},
        {"stop_at": "2026-11-29T12:00:00", "start": "0"},
        {"stop_at": None},
        {"stop_at": None, "start": ""},
    ],
)
def test_a_report_that_makes_no_sense_changes_nothing(plane: Plane, body: dict[str, Any]) -> None:
    principal, _ = running(plane)
    path = f"/internal/v1/workspaces/{principal}/idle"
    assert plane.inside.post(path, json=body, headers=HUB_HEADERS).status_code == 422
    assert plane.inside.post(path, json={"stop_at": None, "start": "0"}).status_code == 401
    assert plane.row().idle_stop_at is None
