"""A workspace in the browser: stop, start again, two tabs, sign-out, freeze, and a console without complaints."""

from __future__ import annotations

import re
import time

from playwright.sync_api import Page, WebSocket, expect

from support.running import RunningBroch, client

from .conftest import SignIn
from .pages import (
    LAB_MS,
    add_person,
    add_project,
    await_lab,
    notebook,
    open_workspace,
    put_in_zone,
    run_all,
    said,
    slug_of,
    stop_workspace,
)

FREEZE_SECONDS = 60
SIGN_OUT_MS = 60_000
STOP_SECONDS = 30


def sockets(page: Page) -> list[WebSocket]:
    """Return the list that every websocket of a page is put into."""
    found: list[WebSocket] = []
    page.on("websocket", lambda socket: found.append(socket))  # noqa: PLW0108 (Playwright writes on the handler)
    return found


def await_closed(page: Page, opened: list[WebSocket], seconds: float) -> None:
    """Wait until every websocket of a page is closed."""
    deadline = time.monotonic() + seconds
    while not all(socket.is_closed() for socket in opened):
        assert time.monotonic() < deadline, "a websocket is still open"
        page.wait_for_timeout(200)


def await_status(broch: RunningBroch, person: str, wanted: str) -> None:
    """Wait until somebody's only workspace has a state."""
    deadline = time.monotonic() + STOP_SECONDS
    with client(broch, slug_of(person)) as api:
        while (status := said(api.get("/api/v1/workspaces"))["items"][0]["status"]) != wanted:
            assert time.monotonic() < deadline, f"still {status}"
            time.sleep(0.2)


def test_a_stopped_workspace_starts_again_with_its_files_and_ends_with_the_sign_out(
    sign_in: SignIn, broch: RunningBroch
) -> None:
    person = add_person(broch, "Kofi Mensah")
    project_id = add_project(broch, "Long nights", ["Kofi Mensah"])
    cells = (
        "from pathlib import Path\nPath('kept.txt').write_text('still here')\nprint(Path('kept.txt').read_text())",
    )
    put_in_zone(broch, f"{project_id}/home/{person}", "work.ipynb", notebook(*cells))
    kofi = sign_in("Kofi Mensah")
    lab = open_workspace(kofi, broch, project_id)
    run_all(lab, "work")
    expect(lab.locator(".jp-OutputArea-output").filter(has_text="still here")).to_be_visible(timeout=LAB_MS)

    # The question can be answered with no.
    kofi.get_by_role("button", name="Stop", exact=True).click()
    asked = kofi.get_by_role("dialog", name="Stop this workspace?")
    asked.get_by_role("button", name="Cancel").click()
    expect(asked).to_be_hidden()
    expect(lab.get_by_role("menuitem", name="Run")).to_be_visible()
    kofi.get_by_role("button", name="Stop", exact=True).click()
    asked.get_by_role("button", name="Stop workspace").click()
    expect(kofi.get_by_role("row", name=re.compile("Long nights"))).to_be_visible()
    await_status(broch, "Kofi Mensah", "stopped")

    lab = open_workspace(kofi, broch, project_id)
    expect(lab.get_by_role("listitem", name=re.compile("kept.txt"))).to_be_visible()
    address = kofi.url
    second = kofi.context.new_page()
    second.goto(address)
    await_lab(second)
    expect(lab.get_by_role("menuitem", name="Run")).to_be_visible()
    workspace = next(frame.url for frame in second.frames if "/lab" in frame.url)

    kofi.goto(f"{broch.shell}/projects/{project_id}")
    kofi.locator("details[data-menu] summary").click()
    kofi.get_by_role("button", name="Sign out").click()
    expect(kofi.get_by_role("heading", name="Who are you today?")).to_be_visible()
    for path in (f"projects/{project_id}", f"projects/{project_id}/workspace", "airlock", "workspaces"):
        kofi.goto(f"{broch.shell}/{path}")
        expect(kofi.get_by_role("heading", name="Who are you today?")).to_be_visible()
    expect(second.get_by_role("heading", name="Who are you today?")).to_be_visible(timeout=SIGN_OUT_MS)
    kofi.goto(workspace)
    expect(kofi.get_by_role("menuitem", name="Run")).to_have_count(0)
    stop_workspace(broch, "Kofi Mensah")


def test_a_freeze_cuts_a_workspace_and_a_thaw_lets_it_start_again(
    sign_in: SignIn, broch: RunningBroch
) -> None:
    add_person(broch, "Yara Haddou")
    project_id = add_project(broch, "Thin ice", ["Yara Haddou"])
    yara = sign_in("Yara Haddou")
    opened = sockets(yara)
    open_workspace(yara, broch, project_id)
    yara.wait_for_timeout(500)
    assert opened
    assert not all(socket.is_closed() for socket in opened)

    sunniva = sign_in("Sunniva Rao")
    sunniva.goto(f"{broch.shell}/projects/{project_id}")
    sunniva.get_by_role("button", name="Freeze").first.click()
    sunniva.get_by_role("dialog", name="Freeze this project?").get_by_role("button", name="Freeze").click()
    expect(sunniva.get_by_text("This project is frozen")).to_be_visible()
    frozen = time.monotonic()
    await_closed(yara, opened, FREEZE_SECONDS)
    expect(yara.get_by_role("heading", name="This workspace is not running")).to_be_visible(
        timeout=max(1, FREEZE_SECONDS - (time.monotonic() - frozen)) * 1000
    )
    yara.goto(f"{broch.shell}/projects/{project_id}")
    expect(yara.get_by_text("This project is frozen")).to_be_visible()
    expect(yara.get_by_role("button", name="Open workspace")).to_have_count(0)

    sunniva.get_by_role("button", name="Thaw", exact=True).click()
    expect(sunniva.get_by_text("This project is frozen")).to_have_count(0)
    await_status(broch, "Yara Haddou", "stopped")
    open_workspace(yara, broch, project_id)
    stop_workspace(broch, "Yara Haddou")


def test_lab_runs_a_terminal_and_a_widget_without_complaints_of_our_making(
    sign_in: SignIn, broch: RunningBroch
) -> None:
    person = add_person(broch, "Tove Lindqvist")
    project_id = add_project(broch, "Sliding scale", ["Tove Lindqvist"])
    cells = (
        "import ipywidgets\nslider = ipywidgets.IntSlider(value=7, min=0, max=10, description='Bins')\nslider",
    )
    put_in_zone(broch, f"{project_id}/home/{person}", "slide.ipynb", notebook(*cells))
    tove = sign_in("Tove Lindqvist")
    complaints: list[str] = []
    tove.on("console", lambda message: message.type == "error" and complaints.append(message.text))
    tove.on("pageerror", lambda error: complaints.append(str(error)))
    lab = open_workspace(tove, broch, project_id)
    lab.locator(".jp-LauncherCard").filter(has_text="Terminal").click()
    screen = lab.locator(".jp-Terminal textarea")
    expect(screen).to_be_attached(timeout=LAB_MS)
    tove.wait_for_timeout(1500)
    screen.press_sequentially("ls /imports > typed.txt")
    screen.press("Enter")
    expect(lab.get_by_role("listitem", name=re.compile("typed.txt"))).to_be_visible(timeout=20_000)
    run_all(lab, "slide")
    slider = lab.locator(".widget-slider").filter(has_text="Bins").get_by_role("slider")
    expect(slider).to_be_visible(timeout=LAB_MS)
    slider.press("ArrowRight")
    expect(lab.locator(".widget-readout")).to_have_text("8")
    assert complaints == []
    stop_workspace(broch, "Tove Lindqvist")
