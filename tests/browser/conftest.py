"""Chromium of the system, driven by Playwright, against a whole Broch that the session starts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect

from support.running import RunningBroch, running_broch

FLAGS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PICTURES = Path(__file__).parents[2] / "docs" / "pictures"


@pytest.fixture(scope="session")
def broch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBroch]:
    with running_broch(tmp_path_factory.mktemp("broch")) as running:
        yield running


@pytest.fixture(scope="session")
def browser(playwright: Playwright) -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.fail("Chromium is not installed. On Debian: apt-get install chromium")
    flags = [*FLAGS, "--no-sandbox"] if os.geteuid() == 0 else FLAGS  # Chromium's own sandbox refuses root
    expect.set_options(timeout=20_000)  # the default of 5 s is too short on a machine that others load
    running = playwright.chromium.launch(executable_path=path, args=flags)
    yield running
    running.close()


SignIn = Callable[[str], Page]


@pytest.fixture
def sign_in(browser: Browser, broch: RunningBroch) -> Iterator[SignIn]:
    """Return a function that signs somebody in in a browser context of their own, through the page."""
    with ExitStack() as contexts:

        def enter(name: str) -> Page:
            context: BrowserContext = browser.new_context(
                viewport={"width": 1280, "height": 860},
                accept_downloads=True,
                locale="en-GB",
                timezone_id="Europe/London",
            )
            contexts.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(30_000)
            page.goto(broch.shell)
            page.get_by_role("button", name=name).click()
            page.get_by_role("heading", name="Who are you today?").wait_for(state="detached")
            return page

        yield enter


@pytest.fixture(scope="session")
def picture() -> Callable[[Page, str], None]:
    """Return a function that keeps a screenshot for the documents, when asked to (BROCH_PICTURES=1)."""

    def keep(page: Page, name: str) -> None:
        if os.environ.get("BROCH_PICTURES") == "1":
            page.screenshot(path=PICTURES / f"{name}.png")

    return keep
