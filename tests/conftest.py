"""Settings of every test run."""

import pytest

from support.counts import COUNTS, NIGHTLY


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the committed matrix of routes and actors be written anew."""
    parser.addoption("--update-matrix", action="store_true", help="write docs/matrix.txt as observed")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what each expensive property was tried, and what it would be nightly."""
    if COUNTS:
        terminalreporter.section("counts of expensive properties")
        for name, (ci, nightly) in sorted(COUNTS.items()):
            terminalreporter.write_line(
                f"{name}: {nightly if NIGHTLY else ci} now (CI {ci}, --nightly {nightly})"
            )
