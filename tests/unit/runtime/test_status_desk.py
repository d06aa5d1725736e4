"""Health for machines and people, and pages of workspaces."""

from __future__ import annotations

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlmodel import select

from broch_api.status import parts
from broch_api.status.parts import PartHealth, Remembered
from broch_api.workspaces.service import WorkspaceDesk
from broch_core.clock import utc_now
from broch_core.lifecycles import ProjectStatus
from broch_core.outbox.tables import OutboxEntry
from broch_core.tables.projects import Project
from broch_core.web.guard import COOKIE
from support.chart import alerted
from unit.runtime.runtime_fakes import HUB_HEADERS, Plane, make_plane


def broken() -> PartHealth:
    return PartHealth("antivirus", ok=False, why="clamd does not answer.", remedy="Run: broch doctor")


def raising() -> PartHealth:
    raise RuntimeError("secret detail")


def test_everything_well_is_ready(plane: Plane):
    answer = plane.api.get("/readyz")
    assert answer.status_code == 200
    body = answer.json()
    assert body["ready"] is True
    assert {part["name"]: part["ok"] for part in body["parts"]} == dict.fromkeys(
        ("database", "sequencer", "outbox", "revocations", "hub", "disk"), True
    )
    assert plane.api.get("/healthz").text == "ok\n"


@pytest.mark.parametrize(("part", "why"), [(broken, "clamd"), (raising, "could not be asked")])
def test_an_injected_part_that_is_down_makes_it_503(tmp_path: Path, part: parts.HealthPart, why: str):
    with make_plane(tmp_path, part) as plane:
        answer = plane.api.get("/readyz")
        assert answer.status_code == 503
        (down,) = [p for p in answer.json()["parts"] if not p["ok"]]
        assert why in down["why"]
        assert down["remedy"]
        assert "secret detail" not in answer.text
        assert plane.api.get("/healthz").status_code == 200


def test_a_hub_that_is_away_is_named(tmp_path: Path):
    with make_plane(tmp_path, hub_up=False) as plane:
        answer = plane.api.get("/readyz")
        assert answer.status_code == 503
        assert [p["name"] for p in answer.json()["parts"] if not p["ok"]] == ["hub"]


def test_a_stuck_effect_shows_but_work_goes_on(plane: Plane):
    plane.world.add(OutboxEntry(kind="nobody.knows", key="k", payload={}, stuck_at=utc_now()))
    answer = plane.api.get("/readyz")
    assert answer.status_code == 200
    (part,) = [p for p in answer.json()["parts"] if not p["ok"]]
    assert "nobody.knows" in part["why"]


def test_records_without_numbers_make_it_503(plane: Plane, monkeypatch: pytest.MonkeyPatch):
    plane.world.token("ruth")
    assert plane.api.get("/readyz").status_code == 200
    monkeypatch.setattr(parts, "OLDEST_UNNUMBERED", timedelta(0))
    assert plane.api.get("/readyz").status_code == 503
    plane.world.audit_log.sequence()
    assert plane.api.get("/readyz").status_code == 200


def test_a_full_disk_makes_it_503(plane: Plane, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(parts, "LEAST_FREE", 1 << 70)
    assert plane.api.get("/readyz").status_code == 503


def test_a_costly_part_is_asked_once_in_its_time():
    asked: list[int] = []

    def costly() -> PartHealth:
        asked.append(1)
        return PartHealth("costly", ok=True, why="")

    part = Remembered(costly, 60)
    assert part() == part()
    assert len(asked) == 1
    always = Remembered(costly, 0)
    always()
    always()
    assert len(asked) == 3


def test_a_part_that_hangs_holds_one_caller_and_the_others_are_told_so():
    go_on, begun, asked = threading.Event(), threading.Event(), []

    def hanging() -> PartHealth:
        asked.append(1)
        if len(asked) > 1:
            begun.set()
            assert go_on.wait(30)
        return PartHealth("blobs", ok=True, why="It answers.")

    part = Remembered(hanging, 0, patience=0.2)
    assert part().ok
    with ThreadPoolExecutor(8) as callers:
        first = callers.submit(part)
        assert begun.wait(30)
        others = [callers.submit(part) for _ in range(6)]
        told = [one.result(30) for one in others]
        assert {(one.name, one.ok) for one in told} == {("blobs", False)}
        assert "has not answered" in told[0].why
        assert not first.done()
        go_on.set()
        assert first.result(30).ok
    assert len(asked) == 2, "nobody queued up to ask again"


def test_an_answer_that_took_long_is_not_old_when_it_comes():
    asked = []

    def slow() -> PartHealth:
        asked.append(1)
        time.sleep(0.3)
        return PartHealth("blobs", ok=True, why="It answers.")

    part = Remembered(slow, 0.25, patience=30)
    with ThreadPoolExecutor(4) as callers:
        assert all(one.result(30).ok for one in [callers.submit(part) for _ in range(4)])
    assert len(asked) == 1


def test_a_part_without_any_answer_has_a_name_all_the_same():
    def raising_part() -> PartHealth:
        raise RuntimeError

    assert parts.name_of(Remembered(partial(raising, 1), 60)) == "raising"
    assert parts.name_of(raising_part).startswith("test_a_part_without")
    with pytest.raises(RuntimeError):
        Remembered(raising_part, 60)()


def test_metrics_are_prometheus_text_and_can_be_switched_off(plane: Plane):
    plane.get(WorkspaceDesk).open(plane.world.actor("ruth"), plane.world.project.id)
    plane.world.audit_log.sequence()
    answer = plane.api.get("/metrics")
    assert alerted(answer.text) == [
        "broch_audit_unnumbered_age_seconds",
        'broch_outbox_entries{state="stuck"}',
        "broch_part_ok",
        'broch_revocations{state="late"}',
    ]
    lines = answer.text.splitlines()
    assert all(
        re.fullmatch(r"# (HELP|TYPE) .+|[a-z_]+(\{[a-z]+=\"[a-z_]+\"\})? [0-9.e+-]+", line) for line in lines
    )
    assert 'broch_workspaces{state="starting"} 1' in lines
    assert 'broch_outbox_entries{state="pending"} 1' in lines
    assert "broch_audit_unnumbered_age_seconds 0" in lines
    assert (
        "audit_records" not in answer.text
    )  # anybody may read it, also who wants to know whether reviewers decide
    from broch_api.status.service import StatusDesk

    object.__setattr__(
        plane.get(StatusDesk), "_settings", plane.world.settings.model_copy(update={"metrics": False})
    )
    assert plane.api.get("/metrics").status_code == 404


class Browser:
    def __init__(self, plane: Plane, handle: str) -> None:
        started = plane.world.sessions.start(handle, kind="browser")
        self.client = plane.api
        self.client.cookies.set(COOKIE, started.token)
        self.client.headers.update({"Accept": "text/html", "Sec-Fetch-Site": "same-origin"})
        actor = plane.world.sessions.actor(started.token)
        assert actor is not None
        self.form = {"csrf_token": plane.world.sessions.csrf_token(actor)}


def test_the_status_page_is_for_admins(plane: Plane):
    assert Browser(plane, "ruth").client.get("/status").status_code == 403
    shown = Browser(plane, "ada").client.get("/status")
    assert "Everything is well" in shown.text


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"status": ProjectStatus.FROZEN}, "is frozen."),
        ({"status": ProjectStatus.PLANNED}, "is planned. Ask a platform admin to activate it."),
        ({"ends_on": date(2020, 1, 2), "starts_on": date(2020, 1, 1)}, "runs from 2020-01-01 to 2020-01-02"),
    ],
)
def test_a_project_that_does_not_run_offers_no_start_and_says_why(
    plane: Plane, change: dict[str, object], why: str
):
    ruth, project = Browser(plane, "ruth"), plane.world.project
    here = f"/projects/{project.id}/workspace"
    assert "Start workspace" in ruth.client.get(here).text
    assert "Open workspace" in ruth.client.get(f"{here}/card").text
    with plane.world.store.write(housekeeping=True) as unit:
        row = unit.session.get_one(Project, project.id)
        for name, value in change.items():
            setattr(row, name, value)
        unit.session.add(row)
    page, card = ruth.client.get(here).text, ruth.client.get(f"{here}/card").text
    assert "Start workspace" not in page
    assert "Open workspace" not in card
    assert why in page
    assert why in card
    assert "Back to the project" in page


def test_the_workspace_page_follows_a_start_to_its_frame(plane: Plane):
    ruth, here = Browser(plane, "ruth"), f"/projects/{plane.world.project.id}/workspace"
    assert "Start workspace" in ruth.client.get(here).text
    assert ruth.client.post(here).status_code == 403, "no CSRF token"
    assert ruth.client.post(here, data=ruth.form).headers["location"] == here
    waiting = ruth.client.get(here)
    assert f'hx-get="{here}/stage"' in waiting.text
    plane.settle()
    principal = plane.row().principal
    stage = ruth.client.get(f"{here}/stage")
    assert "Opening your workspace" in stage.text
    assert "hx-refresh" not in stage.headers
    plane.inside.get(f"/internal/v1/spawn-plans/{principal}", headers=HUB_HEADERS)
    events = f"/internal/v1/workspaces/{principal}/events"
    plane.inside.post(events, json={"event": "running"}, headers=HUB_HEADERS)
    assert ruth.client.get(f"{here}/stage").headers["hx-refresh"] == "true"
    assert "Shown" in ruth.client.get(f"{here}/watch").text
    shown = ruth.client.get(here)
    assert (
        f'src="http://hub.broch.localhost:8001/hub/oauth_login?next=/hub/user/{principal}/lab"' in shown.text
    )
    assert f'hx-get="/airlock/fragment?project={plane.world.project.id}"' in shown.text
    assert "http://*.hub.broch.localhost:8001" in shown.headers["content-security-policy"]
    plane.inside.post(
        events, json={"event": "failed", "detail": "Out of memory.\nlast line"}, headers=HUB_HEADERS
    )
    assert ruth.client.get(f"{here}/watch").headers["hx-refresh"] == "true"
    failed = ruth.client.get(here).text
    assert "Out of memory." in failed
    assert "last line" in failed
    assert "Try again" in failed
    assert "did not start" not in failed, "it ran before it failed"


def test_pages_of_a_foreign_project_are_not_found(plane: Plane):
    sam, here = Browser(plane, "sam"), f"/projects/{plane.world.project.id}/workspace"
    for path in ("", "/stage", "/watch", "/card"):
        assert sam.client.get(here + path).status_code == 404
    assert sam.client.post(here, data=sam.form).status_code == 404


def test_the_list_stops_a_workspace(plane: Plane):
    ruth = Browser(plane, "ruth")
    assert "No workspace yet" in ruth.client.get("/workspaces").text
    plane.get(WorkspaceDesk).open(plane.world.actor("ruth"), plane.world.project.id)
    row = plane.row()
    assert "Alpha" in ruth.client.get("/workspaces").text
    assert (
        Browser(plane, "robin").client.post(f"/workspaces/{row.id}/stop", data=ruth.form).status_code == 403
    )
    robin = Browser(plane, "robin")
    assert robin.client.post(f"/workspaces/{row.id}/stop", data=robin.form).status_code == 404
    assert ruth.client.post(f"/workspaces/{row.id}/stop", data=ruth.form).headers["location"] == "/workspaces"
    assert plane.row().status.value == "stopping"
    assert "Ruth" in Browser(plane, "ada").client.get("/workspaces").text


def test_the_card_shows_the_state(plane: Plane):
    ruth = Browser(plane, "ruth")
    card = f"/projects/{plane.world.project.id}/workspace/card"
    assert "Open workspace" in ruth.client.get(card).text
    plane.get(WorkspaceDesk).open(plane.world.actor("ruth"), plane.world.project.id)
    assert "Show its start" in ruth.client.get(card).text


def test_the_api_opens_reads_and_stops(plane: Plane):
    headers, api = plane.world.headers("ruth"), plane.api
    opened = api.post("/api/v1/workspaces", json={"project_id": plane.world.project.id}, headers=headers)
    assert opened.status_code == 202
    one = f"/api/v1/workspaces/{opened.json()['id']}"
    assert api.get(one, headers=headers).json()["status"] == "starting"
    assert [w["id"] for w in api.get("/api/v1/workspaces", headers=headers).json()["items"]] == [
        opened.json()["id"]
    ]
    assert api.post(f"{one}/stop", headers=plane.world.headers("sam")).status_code == 404
    assert api.post(f"{one}/stop", headers=headers).json()["status"] == "stopping"
    assert api.post(f"{one}/stop", headers=headers).status_code == 202
    with plane.world.store.read() as session:
        stops = session.exec(select(OutboxEntry).where(OutboxEntry.kind == "workspace.stop")).all()
    assert len(stops) == 1
