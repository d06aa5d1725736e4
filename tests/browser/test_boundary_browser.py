"""Whether a browser enforces Connection-Allowlist is seen at sign-in, and the project says what happens without it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from playwright.sync_api import Browser, Page, expect

from support.boundary_rig import Rig, rig
from support.running import RunningBroch

from .conftest import FLAGS, SignIn
from .pages import add_person, add_project, await_lab, stop_workspace

PERSON = "Linnea Berg"
REFUSED = "This browser may not show this workspace"


@pytest.fixture(scope="module")
def outside(browser: Browser, broch: RunningBroch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rig(tmp_path_factory.mktemp("rig"), (broch.port, broch.port + 1), browser, FLAGS) as made:
        yield made


@pytest.fixture
def enter(outside: Rig, broch: RunningBroch) -> Iterator[Callable[[str, str], Page]]:
    """Return a function that signs in with a browser that knows the header (`on`) or does not, and opens the workspace."""
    with ExitStack() as open_until_the_end:

        def go(wall: str, project_id: str) -> Page:
            outside.wall(wall)
            context = open_until_the_end.enter_context(outside.profile(f"{wall} {outside.mark()}"))
            page = context.pages[0]
            page.set_default_timeout(30_000)
            page.goto(broch.shell)
            page.get_by_role("button", name=PERSON).click()
            page.get_by_role("heading", name="Who are you today?").wait_for(state="detached")
            page.goto(f"{broch.shell}/projects/{project_id}")
            page.get_by_role("button", name="Open workspace").or_(
                page.get_by_role("link", name="Enter workspace")
            ).click()
            return page

        yield go


def test_a_project_warns_refuses_or_lets_in_a_browser_without_the_allow_list(
    enter: Callable[[str, str], Page], sign_in: SignIn, broch: RunningBroch
) -> None:
    add_person(broch, PERSON)
    project_id = add_project(broch, "Which browser", [PERSON])
    modern, old = enter("on", project_id), enter("no allow-list", project_id)
    warning = "Warning about this browser"
    for page in (modern, old):
        await_lab(page)
    expect(modern.get_by_role("complementary", name=warning)).to_have_count(0)
    expect(old.get_by_role("complementary", name=warning)).to_contain_text(
        "does not know Connection-Allowlist"
    )

    sunniva = sign_in("Sunniva Rao")
    sunniva.goto(f"{broch.shell}/projects/{project_id}")
    expect(sunniva.get_by_text("opens workspaces with a warning")).to_be_visible()
    sunniva.get_by_text("Change what browsers may do").click()
    sunniva.get_by_label("Browsers without Connection-Allowlist").select_option("refuse")
    sunniva.get_by_role("button", name="Save").click()
    expect(sunniva.get_by_text("open only in a browser that was seen")).to_be_visible()

    # What was open has stopped; the old browser stays out of what the modern one has started.
    expect(old.get_by_role("heading", name=REFUSED)).to_be_visible(timeout=60_000)
    expect(modern.get_by_role("heading", name="This workspace is not running")).to_be_visible(timeout=60_000)
    modern.get_by_role("button", name="Start workspace").click()
    await_lab(modern)
    old.reload()
    expect(old.get_by_role("heading", name=REFUSED)).to_be_visible()
    expect(old.locator("iframe")).to_have_count(0)
    stop_workspace(broch, PERSON)
