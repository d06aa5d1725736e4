"""Every page for everybody: axe-core's rules of WCAG 2.2 AA, light and dark; small screens; keyboard; less motion."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from broch_airlock.checks.clamd_config import eicar
from support.running import RunningBroch, client

from .pages import (
    add_person,
    add_project,
    decide,
    let_export,
    put_in_zone,
    said,
    slug_of,
    submit_ingress,
)

VENDOR = Path(__file__).with_name("vendor")
TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
NARROW = {"width": 360, "height": 740}
WIDE = {"width": 1280, "height": 860}
LEAD = "Maren Oduya"
KEYS_TO_ACTION = 60
"""Presses of Tab within which a page's main action must come."""


class House:
    """One project with requests in many states, and the addresses of the pages that show them."""

    def __init__(self, broch: RunningBroch) -> None:
        person = add_person(broch, LEAD)
        self.project = add_project(broch, "Bright rooms", [LEAD])
        let_export(broch, self.project, person)
        put_in_zone(broch, f"{self.project}/project", "means.csv", b"a,b\n1,2\n")
        table = b"group,people\nyounger,120\nolder,95\n"
        self.in_review = submit_ingress(broch, LEAD, self.project, {"codes.csv": table}, "Codes to look at")
        self.released = submit_ingress(broch, LEAD, self.project, {"units.csv": table}, "Units that came in")
        self.returned = submit_ingress(broch, LEAD, self.project, {"names.csv": table}, "Names, sent back")
        self.quarantined = submit_ingress(broch, LEAD, self.project, {"tool.txt": eicar()}, "A tool")
        for reviewer in ("ruth", "tomasz"):
            decide(broch, reviewer, self.released)
            decide(broch, reviewer, self.returned, "changes_requested", "Which names are these?")
        with client(broch, slug_of(LEAD)) as api:
            body = {"project_id": self.project, "purpose": "Not yet submitted"}
            self.draft = said(api.post("/api/v1/airlock/requests", json=body))["id"]
        with client(broch, "sunniva") as admin:
            lock = {"filename": "requirements.txt", "content": "numpy==2.3.5", "why": "For everybody."}
            said(admin.post("/api/v1/packages/lock-files", json=lock))
            self.package = said(admin.get("/api/v1/packages"))["items"][0]["id"]
            address = {"slug": "genes", "url": "https://example.org/g.tsv", "largest": 500, "why": "Names."}
            said(admin.post(f"/api/v1/projects/{self.project}/resources", json=address))
        with client(broch, "sunniva") as admin:  # a right that ended is shown on two pages
            said(admin.post(f"/api/v1/projects/{self.project}/freeze"))
            said(admin.post(f"/api/v1/projects/{self.project}/thaw"))
        with client(broch, "idris") as owner:
            self.dataset = said(owner.get("/api/v1/datasets"))["items"][-1]["id"]
            self.version = said(owner.get(f"/api/v1/datasets/{self.dataset}"))["versions"][0]["id"]

    def pages(self) -> dict[str, Sequence[str]]:
        """Return who looks at which pages."""
        own = "/airlock/requests/"
        return {
            LEAD: (
                "/",
                "/projects",
                f"/projects/{self.project}",
                f"/projects/{self.project}/packages",
                f"/projects/{self.project}/workspace",
                "/workspaces",
                "/datasets",
                "/airlock",
                "/airlock/new",
                f"/airlock/zones/{self.project}",
                own + self.draft,
                own + self.in_review,
                own + self.released,
                own + self.returned,
                own + self.quarantined,
                "/status",
                "/no/such/page",
            ),
            "Ruth Wanjiru": ("/", "/airlock/review", f"/airlock/review/{self.in_review}"),
            "Sunniva Rao": (
                "/",
                f"/projects/{self.project}",
                "/projects/new",
                "/people",
                "/packages",
                "/packages/new",
                f"/packages/new?project_id={self.project}",
                f"/packages/{self.package}",
                f"/projects/{self.project}/packages",
                "/audit",
                "/workspaces",
                "/status",
            ),
            "Mei Fairweather": (
                "/datasets/new",
                f"/datasets/{self.dataset}",
                f"/datasets/{self.dataset}/versions/{self.version}",
            ),
            "Idris Castellano": (f"/datasets/{self.dataset}",),
        }


@pytest.fixture(scope="module")
def house(broch: RunningBroch) -> House:
    return House(broch)


@pytest.fixture
def visitor(browser: Browser, broch: RunningBroch) -> Iterator[Page]:
    """Return a page that takes axe-core: our policy refuses scripts that are not our own."""
    context = browser.new_context(bypass_csp=True, viewport=WIDE, reduced_motion="reduce")
    context.add_init_script(path=VENDOR / "axe.min.js")
    page = context.new_page()
    yield page
    context.close()


def enter(page: Page, broch: RunningBroch, name: str) -> None:
    """Sign in as somebody, whoever it was before."""
    page.context.clear_cookies()
    page.goto(broch.shell)
    page.get_by_role("button", name=name).click()
    page.get_by_role("navigation", name="Main").wait_for()


def violations(page: Page) -> list[str]:
    """Return what axe-core has against the page as it stands."""
    found: dict[str, Any] = page.evaluate(
        "tags => axe.run(document, {runOnly: tags, resultTypes: ['violations'], iframes: false})", list(TAGS)
    )
    return [
        f"{one['id']} ({one['impact']}): {node['html'][:160]} | {node['failureSummary'][:300]}"
        for one in found["violations"]
        for node in one["nodes"]
    ]


def test_axe_core_is_the_copy_that_the_table_names() -> None:
    file = VENDOR / "axe.min.js"
    assert hashlib.sha256(file.read_bytes()).hexdigest() in (VENDOR / "README.md").read_text()


def test_axe_finds_a_fault_that_is_there(visitor: Page, broch: RunningBroch) -> None:
    visitor.goto(broch.shell)
    assert violations(visitor) == []
    visitor.evaluate("document.querySelector('main').append(document.createElement('input'), new Image())")
    assert [line.split()[0] for line in violations(visitor)] == ["image-alt", "label"]


def test_every_page_keeps_the_rules_in_light_and_dark(
    visitor: Page, broch: RunningBroch, house: House
) -> None:
    faults = []
    for name, paths in house.pages().items():
        enter(visitor, broch, name)
        for path in paths:
            visitor.goto(broch.shell + path)
            for scheme in ("light", "dark"):
                visitor.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                faults += [f"{name} {path} {scheme}: {fault}" for fault in violations(visitor)]
    assert not faults, "\n".join(faults)


def test_no_page_scrolls_sideways_on_a_small_screen(visitor: Page, broch: RunningBroch, house: House) -> None:
    visitor.set_viewport_size(NARROW)
    visitor.goto(broch.shell)
    wide = []
    for name, paths in house.pages().items():
        enter(visitor, broch, name)
        for path in paths:
            visitor.goto(broch.shell + path)
            width = visitor.evaluate("document.documentElement.scrollWidth")
            if width > NARROW["width"]:
                wide.append(f"{name} {path}: {width}")
    assert wide == []


def test_main_actions_are_reached_by_tab_and_their_focus_is_seen(
    visitor: Page, broch: RunningBroch, house: House
) -> None:
    enter(visitor, broch, LEAD)
    for path, role, action in (
        (f"/projects/{house.project}", "button", "Open workspace"),
        ("/airlock", "link", "Bring files in"),
        ("/airlock/new", "button", "Go on to the files"),
        (f"/airlock/requests/{house.draft}", "button", "Withdraw"),
        (f"/airlock/requests/{house.returned}", "button", "Submit"),
    ):
        visitor.goto(broch.shell + path)
        visitor.keyboard.press("Tab")
        expect(visitor.get_by_role("link", name="Skip to the content")).to_be_focused()
        visitor.keyboard.press("Enter")
        target = visitor.get_by_role(role, name=action, exact=True).first  # type: ignore[arg-type]
        for _ in range(KEYS_TO_ACTION):
            if target.evaluate("element => element === document.activeElement"):
                break
            visitor.keyboard.press("Tab")
        expect(target).to_be_focused()
        outline = target.evaluate("element => getComputedStyle(element).outlineWidth")
        assert float(outline.removesuffix("px")) >= 2, (path, outline)
    # A dialog takes the focus, gives it back, and Escape closes it.
    visitor.goto(f"{broch.shell}/airlock/requests/{house.draft}")
    opener = visitor.get_by_role("button", name="Withdraw").first
    opener.focus()
    visitor.keyboard.press("Enter")
    dialog = visitor.get_by_role("dialog", name="Withdraw this request?")
    expect(dialog).to_be_visible()
    assert dialog.evaluate("dialog => dialog.contains(document.activeElement)")
    assert violations(visitor) == []
    visitor.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(opener).to_be_focused()


MOVING = """() => [...document.querySelectorAll("*")].filter(e => {
  const s = getComputedStyle(e);
  const seconds = t => Math.max(...t.split(",").map(parseFloat));
  return seconds(s.transitionDuration) > 0.05 || (s.animationName !== "none" && seconds(s.animationDuration) > 0.05);
}).map(e => e.className || e.tagName)"""


def test_nothing_moves_for_people_who_asked_for_less_motion(
    visitor: Page, broch: RunningBroch, house: House
) -> None:
    enter(visitor, broch, LEAD)
    visitor.goto(f"{broch.shell}/projects/{house.project}")
    assert visitor.evaluate(MOVING) == []
    visitor.emulate_media(reduced_motion="no-preference")
    assert visitor.evaluate(MOVING) != []
