"""Settings of every test run."""

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings
from playwright.sync_api import Playwright, sync_playwright

from support.counts import COUNTS, NIGHTLY

# How long one example takes says more of the machine than of the code.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the committed matrix of routes and actors, and golden files, be written anew."""
    parser.addoption("--update-matrix", action="store_true", help="write docs/matrix.txt as observed")
    parser.addoption("--update-golden", action="store_true", help="write golden files of manifests as built")


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    """Return the driver of browsers: one for the whole run, for a second one refuses to start beside it."""
    with sync_playwright() as running:
        yield running


def pytest_collection_finish() -> None:
    """Keep what all tests share out of the garbage collector's way: a fifth of the time would go to it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand the counts to the process that prints them, where tests run in others."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["counts"] = COUNTS


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what another process counted."""
    COUNTS.update(getattr(node, "workeroutput", {}).get("counts", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what each expensive property was tried, and what it would be nightly."""
    if COUNTS:
        terminalreporter.section("counts of expensive properties")
        for name, (ci, nightly) in sorted(COUNTS.items()):
            terminalreporter.write_line(
                f"{name}: {nightly if NIGHTLY else ci} now (CI {ci}, --nightly {nightly})"
            )
