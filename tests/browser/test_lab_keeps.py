"""Lab stays usable: a large file saves, work is kept by itself, also when the hub with its proxy is killed."""

from __future__ import annotations

import re
import time
from pathlib import Path

import nbformat
from playwright.sync_api import FrameLocator, Page, expect

from integration.up.up_acts import await_ready, kill, services
from support.running import RunningBroch

from .conftest import SignIn
from .pages import (
    LAB_MS,
    add_person,
    add_project,
    await_lab,
    notebook,
    open_workspace,
    put_in_zone,
    stop_workspace,
)

LARGE = 60 << 20
SAVED_SECONDS = 60
"""Lab saves by itself every 30 s (`lab_files.SETTINGS`), counted from the last save."""


def complaints(page: Page) -> list[str]:
    """Return the list that every error in a page's console is put into."""
    found: list[str] = []
    page.on("console", lambda message: message.type == "error" and found.append(message.text))
    page.on("pageerror", lambda error: found.append(str(error)))
    return found


def write_in_first_cell(page: Page, lab: FrameLocator, name: str, text: str) -> None:
    """Open a notebook of the home folder, unless it is open, and write at the end of its first cell by keyboard."""
    if lab.get_by_role("tab", name=re.compile(name)).count() == 0:
        lab.get_by_role("listitem", name=re.compile(name)).dblclick()
    editor = lab.locator(".jp-Notebook .jp-CodeCell .cm-content").first
    editor.click(timeout=LAB_MS)
    page.keyboard.press("Control+End")
    page.keyboard.type(text)
    expect(editor).to_contain_text(text)


def await_text(file: Path, text: str, seconds: float = SAVED_SECONDS) -> None:
    """Wait until a file outside has a text."""
    deadline = time.monotonic() + seconds
    while text not in file.read_text(encoding="utf-8"):
        assert time.monotonic() < deadline, f"{file.name} was not saved"
        time.sleep(0.3)


def await_size(file: Path, size: int) -> None:
    """Wait until a file is larger, and grows no more: Jupyter writes it in its place, piece by piece."""
    before = -1
    deadline = time.monotonic() + SAVED_SECONDS
    while (now := file.stat().st_size) <= size or now != before:
        assert time.monotonic() < deadline, f"{file.name} has only {now} bytes"
        before = now
        time.sleep(0.5)


def test_a_large_notebook_opens_and_saves(sign_in: SignIn, broch: RunningBroch) -> None:
    person = add_person(broch, "Tove Larsen")
    project_id = add_project(broch, "Heavy load", ["Tove Larsen"])
    large = nbformat.reads(notebook("'first'").decode(), as_version=4)
    large.metadata["ballast"] = "x" * LARGE
    put_in_zone(broch, f"{project_id}/home/{person}", "large.ipynb", nbformat.writes(large).encode())
    file = broch.folder / "zones" / project_id / "home" / person / "large.ipynb"
    tove = sign_in("Tove Larsen")
    found = complaints(tove)
    lab = open_workspace(tove, broch, project_id)
    write_in_first_cell(tove, lab, "large", " # and saved")
    tove.keyboard.press("Control+s")
    await_text(file, "# and saved")
    await_size(file, LARGE)
    assert nbformat.reads(file.read_text(), as_version=4).metadata["ballast"] == "x" * LARGE
    assert found == []
    stop_workspace(broch, "Tove Larsen")


def test_the_shell_around_lab_says_what_matters_and_work_saves_itself_through_a_killed_hub(
    sign_in: SignIn, broch: RunningBroch
) -> None:
    person = add_person(broch, "Emeka Nwosu")
    project_id = add_project(broch, "Cut short", ["Emeka Nwosu"])
    put_in_zone(broch, f"{project_id}/home/{person}", "work.ipynb", notebook("'first'"))
    file = broch.folder / "zones" / project_id / "home" / person / "work.ipynb"
    emeka = sign_in("Emeka Nwosu")
    found = complaints(emeka)
    lab = open_workspace(emeka, broch, project_id)

    bar = emeka.locator("header.shell-bar")
    expect(bar.get_by_role("link", name="Cut short")).to_be_visible()
    expect(bar.get_by_text("Time left")).to_be_visible()
    expect(bar.get_by_role("link", name="Airlock", exact=True)).to_be_visible()
    expect(bar.get_by_text("Airlock of this project")).to_be_visible()
    expect(bar.get_by_role("button", name="Stop")).to_be_visible()
    expect(bar.locator("[data-shown]")).to_have_text(re.compile(r"Shown \d.*B"))
    lab.get_by_role("menuitem", name="File", exact=True).click()
    expect(lab.get_by_role("menuitem", name=re.compile("Save Notebook As|New"))).not_to_have_count(0)
    for outside in ("Log Out", "Hub Control Panel", "Download"):
        expect(lab.get_by_role("menuitem", name=outside)).to_have_count(0)
    emeka.keyboard.press("Escape")

    write_in_first_cell(emeka, lab, "work", " # nobody pressed save")
    await_text(file, "# nobody pressed save")
    assert found == []

    kill(services(broch)["hub"])
    expect(emeka.get_by_role("heading", name="This workspace is not running")).to_be_visible(timeout=60_000)
    await_ready(broch)
    found.clear()  # the page complains of the connection that was cut: that is what happened
    emeka.get_by_role("button", name="Start workspace").click()
    lab = await_lab(emeka)
    write_in_first_cell(emeka, lab, "work", " # and again")
    await_text(file, "# and again")
    assert "# nobody pressed save" in file.read_text()
    assert found == []
    stop_workspace(broch, "Emeka Nwosu")
