"""Two members in one notebook: what one types the other reads, each under their own name, and each is put out alone."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, Error, Frame, FrameLocator, Locator, Page, WebSocket, expect

from support.running import RunningBroch, client

from .conftest import SignIn
from .pages import (
    ADMIN,
    LAB_MS,
    add_person,
    add_project,
    notebook,
    open_workspace,
    put_in_zone,
    said,
    slug_of,
    stop_workspace,
)
from .test_accessibility import VENDOR, violations

LIMIT = 60.0
"""Seconds (design, rule 8)."""
_STATUS = """async path => {
  const base = location.pathname.split("/").slice(0, 3).join("/");
  const xsrf = document.cookie.split("; ").find(c => c.includes("_xsrf=")).split("_xsrf=")[1];
  try { return (await fetch(base + path, {headers: {"X-XSRFToken": xsrf}})).status; } catch { return 0; }
}"""
_ME = """async () => {
  const base = location.pathname.split("/").slice(0, 3).join("/");
  const xsrf = document.cookie.split("; ").find(c => c.includes("_xsrf=")).split("_xsrf=")[1];
  return (await (await fetch(base + "/api/me", {headers: {"X-XSRFToken": xsrf}})).json()).identity;
}"""


_TOGETHER = """async () => {
  const base = location.pathname.split("/").slice(0, 3).join("/");
  const xsrf = document.cookie.split("; ").find(c => c.includes("_xsrf=")).split("_xsrf=")[1];
  const made = await fetch(base + "/api/collaboration/session/ours.ipynb", {method: "PUT",
    headers: {"X-XSRFToken": xsrf}, body: JSON.stringify({format: "json", type: "notebook"})});
  const told = JSON.parse(document.getElementById("jupyter-config-data").textContent);
  const off = told.disabledExtensions ?? [];
  const names = Array.isArray(off) ? off : Object.keys(off).filter(name => off[name]);
  return [made.status, !names.includes("@jupyter/collaboration-extension")];
}"""


def allow(broch: RunningBroch, project_id: str, *, allowed: bool = True) -> None:
    with client(broch, ADMIN) as admin:
        said(admin.post(f"/api/v1/projects/{project_id}/shared-workspace", json={"allowed": allowed}))


def rooms(page: Page) -> list[WebSocket]:
    """Return the list that every websocket of a page is put into."""
    found: list[WebSocket] = []
    page.on("websocket", lambda socket: found.append(socket))  # noqa: PLW0108 (Playwright writes on the handler)
    return found


def is_shut_out(frame: Frame) -> bool:
    """Return whether a workspace's frame is gone, or refused what it asks for; it may go while it is asked."""
    try:
        return frame.is_detached() or frame.evaluate(_STATUS, "/api/status") in (403, 0)
    except Error:
        if not frame.is_detached():
            raise
        return True


def await_shared(page: Page) -> FrameLocator:
    lab = page.frame_locator("iframe")
    expect(lab.get_by_role("menuitem", name="Run")).to_be_visible(timeout=LAB_MS)
    return lab


def enter(page: Page, broch: RunningBroch, project_id: str) -> FrameLocator:
    """Go into the shared workspace from the project's page, and open its notebook."""
    page.goto(f"{broch.shell}/projects/{project_id}")
    page.get_by_role("link", name="Open the shared workspace").click()
    start = page.get_by_role("button", name="Start workspace")
    expect(start.or_(page.locator("iframe"))).to_be_visible()
    if start.count():
        start.click()
    lab = await_shared(page)
    lab.get_by_role("listitem", name=re.compile("ours")).dblclick(timeout=LAB_MS)
    expect(first_cell(lab)).to_be_visible(timeout=LAB_MS)
    return lab


def first_cell(lab: FrameLocator) -> Locator:
    return lab.locator(".jp-Notebook .jp-CodeCell .cm-content").first


def type_in(page: Page, lab: FrameLocator, text: str) -> None:
    first_cell(lab).click(timeout=LAB_MS)
    page.keyboard.press("Control+End")
    page.keyboard.type(text)


def inside(page: Page) -> Frame:
    return next(frame for frame in page.frames if "/user/" in frame.url)


def present(broch: RunningBroch, person: str, project_id: str) -> list[str]:
    with client(broch, slug_of(person)) as api:
        view = said(api.get(f"/api/v1/projects/{project_id}/shared-workspace"))
    return [one["display_name"] for one in view["present"]]


def remove(broch: RunningBroch, project_id: str, name: str) -> None:
    """End somebody's membership."""
    with client(broch, ADMIN) as admin:
        rows = said(admin.get(f"/api/v1/projects/{project_id}/members"))
        member = next(row["id"] for row in rows if row["person"]["display_name"] == name)
        said(admin.delete(f"/api/v1/projects/{project_id}/members/{member}"))


def await_text(file: Path, text: str) -> None:
    deadline = time.monotonic() + 20
    while text not in file.read_text():
        assert time.monotonic() < deadline, "it saves by itself"
        time.sleep(0.2)


def test_two_write_one_notebook_and_who_is_removed_is_cut_while_the_other_goes_on(
    sign_in: SignIn, broch: RunningBroch, picture: Callable[[Page, str], None]
) -> None:
    add_person(broch, "Noor Visser")
    add_person(broch, "Bram <b>de</b> Wit")
    names = ["Noor Visser", "Bram <b>de</b> Wit"]
    project_id = add_project(broch, "Four hands", names)
    put_in_zone(broch, f"{project_id}/project", "ours.ipynb", notebook("'first'"))
    file = broch.folder / "zones" / project_id / "project" / "ours.ipynb"
    noor, bram = sign_in(names[0]), sign_in(names[1])
    noor.goto(f"{broch.shell}/projects/{project_id}")
    expect(noor.get_by_text("A lead who wants a shared one asks a platform admin.")).to_be_visible()
    expect(noor.get_by_role("link", name="Open the shared workspace")).to_have_count(0)
    allow(broch, project_id)

    of_noor, of_bram = rooms(noor), rooms(bram)
    hers, his = enter(noor, broch, project_id), enter(bram, broch, project_id)
    expect(noor.get_by_text("what a cell did is the project's act")).to_be_visible()
    assert inside(noor).evaluate(_ME)["display_name"] == names[0]
    assert inside(bram).evaluate(_ME)["display_name"] == names[1]
    assert present(broch, names[0], project_id) == names
    type_in(noor, hers, " # from Noor")
    expect(first_cell(his)).to_contain_text("# from Noor", timeout=20_000)
    type_in(bram, his, ", and from Bram")
    expect(first_cell(hers)).to_contain_text("# from Noor, and from Bram", timeout=20_000)
    bram.keyboard.type("!")
    expect(hers.locator(".jp-remote-userFlag-name")).to_have_text(names[1], timeout=20_000)
    expect(noor.get_by_text(f"In it: {names[0]}, {names[1]}")).to_be_visible()
    expect(hers.get_by_text("The time for this workspace is over")).to_have_count(0)
    picture(noor, "shared")
    await_text(file, "and from Bram")

    assert any("collaboration" in one.url and not one.is_closed() for one in of_bram)
    workspace = inside(bram)
    assert workspace.evaluate(_STATUS, "/api/status") == 200
    began = time.monotonic()
    remove(broch, project_id, names[1])
    while not all(one.is_closed() for one in of_bram):
        assert time.monotonic() - began < LIMIT
        bram.wait_for_timeout(100)
    assert is_shut_out(workspace)
    assert inside(noor).evaluate(_STATUS, "/api/status") == 200
    assert any("collaboration" in one.url and not one.is_closed() for one in of_noor)
    type_in(noor, hers, " # alone")
    expect(first_cell(hers)).to_contain_text("# alone")
    assert present(broch, names[0], project_id) == [names[0]]

    # Not even by the way in: the page is not there for him any more, and the name of the workspace alone is no way.
    bram.goto(f"{broch.shell}/projects/{project_id}/shared")
    expect(bram.get_by_role("heading", name=re.compile("not found|nothing", re.IGNORECASE))).to_be_visible()

    noor.get_by_role("button", name="Leave").click()
    expect(noor.get_by_text("You left the shared workspace.")).to_be_visible()
    assert present(broch, names[0], project_id) == []
    allow(broch, project_id, allowed=False)
    expect(noor.get_by_role("link", name="Open the shared workspace")).to_have_count(0, timeout=20_000)


def test_only_the_shared_workspace_writes_together_and_its_page_keeps_the_rules(
    browser: Browser, broch: RunningBroch
) -> None:
    add_person(broch, "Lotte Smit")
    project_id = add_project(broch, "Two rooms", ["Lotte Smit"])
    put_in_zone(broch, f"{project_id}/project", "ours.ipynb", notebook("'first'"))
    allow(broch, project_id)
    context = browser.new_context(bypass_csp=True, viewport={"width": 1280, "height": 860})
    context.add_init_script(path=VENDOR / "axe.min.js")
    lotte = context.new_page()
    lotte.goto(broch.shell)
    lotte.get_by_role("button", name="Lotte Smit").click()
    lotte.get_by_role("navigation", name="Main").wait_for()
    own = open_workspace(lotte, broch, project_id)
    status, loaded = inside(lotte).evaluate(_TOGETHER)
    assert (status, loaded) == (404, False)
    expect(own.get_by_role("listitem", name=re.compile("ours"))).to_have_count(0)

    lotte.goto(f"{broch.shell}/projects/{project_id}/shared")
    assert violations(lotte) == []
    enter(lotte, broch, project_id)
    status, loaded = inside(lotte).evaluate(_TOGETHER)
    assert (status < 300, loaded) == (True, True)
    for scheme in ("light", "dark"):
        lotte.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        assert violations(lotte) == []
    lotte.goto(f"{broch.shell}/projects/{project_id}")
    expect(lotte.get_by_text("In it now: Lotte Smit.")).to_be_visible(timeout=20_000)
    assert violations(lotte) == []
    # Both run at once, and stopping one's own leaves the shared one.
    stop_workspace(broch, "Lotte Smit")
    with client(broch, slug_of("Lotte Smit")) as api:
        view = said(api.get(f"/api/v1/projects/{project_id}/shared-workspace"))
    assert view["status"] == "running"
    allow(broch, project_id, allowed=False)
    context.close()
