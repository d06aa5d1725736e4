"""Pytest plugin: says what failed before pytest began, just above its closing line, and how long all took."""

import json
import os
import time

import pytest

NOTES = "BROCH_TEST_NOTES"
"""Environment variable: JSON list of sentences; any makes the run fail."""
STARTED = "BROCH_TEST_STARTED"
"""Environment variable: seconds since the epoch when the whole run began."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the notes where nobody overlooks them."""
    notes = json.loads(os.environ.get(NOTES, "[]"))
    if notes:
        terminalreporter.section("NOT PASSED, whatever the line below says", red=True, bold=True)
        for note in notes:
            terminalreporter.write_line(note, red=True)
    started = os.environ.get(STARTED)
    if started:
        terminalreporter.write_line(f"./broch test: {time.time() - float(started):.0f} s in all")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run when there are notes."""
    if json.loads(os.environ.get(NOTES, "[]")) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
