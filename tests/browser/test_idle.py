"""An idle workspace in a browser: its page warns and saves, the person keeps it, and nothing typed is lost."""

from __future__ import annotations

import json
import re
import time
from datetime import timedelta
from zoneinfo import ZoneInfo

from playwright.sync_api import expect

from broch_core.clock import utc_now
from support.running import RunningBroch, client

from .conftest import SignIn
from .pages import (
    ADMIN,
    add_person,
    add_project,
    await_lab,
    notebook,
    open_workspace,
    put_in_zone,
    said,
    slug_of,
    stop_workspace,
)
from .test_lab_keeps import await_text, complaints, write_in_first_cell

MINUTE_MS = 60_000
DOCMANAGER = ".jupyter/lab/user-settings/@jupyterlab/docmanager-extension"


def test_what_was_typed_is_there_again_after_an_idle_stop(sign_in: SignIn, broch: RunningBroch) -> None:
    person = add_person(broch, "Ines Duarte")
    project_id = add_project(broch, "Left alone", ["Ines Duarte"])
    with client(broch, ADMIN) as admin:
        said(admin.post(f"/api/v1/projects/{project_id}/idle-stop", json={"minutes": 1}))
    home = f"{project_id}/home/{person}"
    put_in_zone(broch, home, "work.ipynb", notebook("'first'"))
    # Without Lab's own saving, so that it is the warning that saves.
    put_in_zone(
        broch, f"{home}/{DOCMANAGER}", "plugin.jupyterlab-settings", json.dumps({"autosave": False}).encode()
    )
    file = broch.folder / "zones" / home / "work.ipynb"
    ines = sign_in("Ines Duarte")
    found = complaints(ines)
    lab = open_workspace(ines, broch, project_id)
    write_in_first_cell(ines, lab, "work", " # typed, never saved")
    assert "never saved" not in file.read_text()

    # What the server would say five minutes before the deadline; the server's clock is an hour behind the browser's.
    server = utc_now() - timedelta(hours=1)
    told = {
        "now": server.isoformat(),
        "idle_stop_at": None,
        "idle_seconds": 0,
        "warn_seconds": 0,
        "deadline_at": (server + timedelta(seconds=290)).isoformat(),
        "every_seconds": 1,
    }
    ines.route("**/broch/notices", lambda route: route.fulfill(json=told))
    deadline = lab.get_by_role("alert").filter(
        has_text="The time for this workspace is over in 5 minutes, at"
    )
    expect(deadline).to_be_visible(timeout=MINUTE_MS)
    said_at = re.search(r"at (\d\d:\d\d) (?:GMT|BST)", deadline.inner_text())
    assert said_at is not None
    london = (utc_now() + timedelta(seconds=290)).astimezone(ZoneInfo("Europe/London"))
    assert said_at[1] in {f"{london + timedelta(seconds=off):%H:%M}" for off in (-60, 0)}
    await_text(file, "# typed, never saved", 10)
    ines.unroute("**/broch/notices")
    expect(deadline).to_have_count(0)
    write_in_first_cell(ines, lab, "work", ", twice")

    # Half a minute later Lab warns, and so does the page around it.
    warning = lab.get_by_role("alert").filter(has_text="Nothing has happened here for a while")
    expect(warning).to_be_visible(timeout=MINUTE_MS)
    await_text(file, "# typed, never saved, twice", 10)
    expect(ines.locator("#idle-notice")).to_contain_text("It stops in", timeout=20_000)
    lab.get_by_role("button", name="Keep it").click()
    kept = time.monotonic()
    expect(warning).to_have_count(0)
    expect(ines.locator("#idle-notice")).to_have_text("", timeout=25_000)
    write_in_first_cell(ines, lab, "work", " # and again")
    assert found == []

    expect(ines.get_by_text("It was idle for 1 minute. Your files are kept.")).to_be_visible(
        timeout=2 * MINUTE_MS
    )
    assert time.monotonic() - kept > 55
    with client(broch, slug_of("Ines Duarte")) as api:
        (row,) = said(api.get("/api/v1/workspaces"))["items"]
    assert row["message"] == "It was idle for 1 minute. Your files are kept."

    ines.get_by_role("button", name="Start workspace").click()
    lab = await_lab(ines)
    lab.get_by_role("listitem", name="work.ipynb").dblclick()
    expect(lab.locator(".jp-Notebook .jp-CodeCell .cm-content").first).to_contain_text(
        "# typed, never saved, twice # and again", timeout=MINUTE_MS
    )
    stop_workspace(broch, "Ines Duarte")
