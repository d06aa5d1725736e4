"""Pytest plugin: says what failed before pytest began, just above its closing line, and what takes long.

Where tests run in lanes (`broch.dev.lanes`), dots of two processes say nothing: it tells each file once it is through.
"""

import json
import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterable

import pytest

NOTES = "BROCH_TEST_NOTES"
"""Environment variable: JSON list of sentences; any makes the run fail."""
STARTED = "BROCH_TEST_STARTED"
"""Environment variable: seconds since the epoch when the whole run began."""
SLOWEST = 25
"""How many files of tests are told with their time."""
_took: defaultdict[str, float] = defaultdict(float)


def _elapsed() -> float:
    return time.time() - float(os.environ.get(STARTED) or time.time())


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count what each file takes, with its fixtures: what all of them wait for is told at the first that asks."""
    _took[report.nodeid.partition("::")[0]] += report.duration


def pytest_configure(config: pytest.Config) -> None:
    """Tell files instead of dots where other processes run the tests."""
    if config.getoption("numprocesses", None):
        config.pluginmanager.register(_Files(config), "broch-files")


class _Files:
    """Tells each file of tests when its last test is through, and each failure at once."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._left: Counter[str] = Counter()
        self._results: defaultdict[str, Counter[str]] = defaultdict(Counter)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Iterable[str]) -> None:
        """Learn how many tests a file has; every process finds the same."""
        self._left = Counter(name.partition("::")[0] for name in ids)

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Print no letters."""
        if report.failed:
            return ("failed" if report.when == "call" else "error"), "", ""
        return (report.outcome, "", "") if report.when == "call" or report.skipped else None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Tell a failure, and a file that is through."""
        name = report.nodeid.partition("::")[0]
        if report.failed:
            self._line(f"FAILED ({report.when}) {report.nodeid}")
        if report.when == "call" or not report.passed:
            self._results[name][report.outcome] += 1
        if report.when == "teardown":
            self._left[name] -= 1
            if not self._left[name]:
                told = ", ".join(
                    f"{count} {outcome}" for outcome, count in sorted(self._results[name].items())
                )
                self._line(f"{name}  {told}  {_took[name]:.1f} s")

    def _line(self, text: str) -> None:
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.ensure_newline()
            reporter.write_line(f"{_elapsed():6.0f} s  {text}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the notes where nobody overlooks them."""
    notes = json.loads(os.environ.get(NOTES, "[]"))
    if notes:
        terminalreporter.section("NOT PASSED, whatever the line below says", red=True, bold=True)
        for note in notes:
            terminalreporter.write_line(note, red=True)
    if len(_took) > 1:
        layers: defaultdict[str, float] = defaultdict(float)
        for name, seconds in _took.items():
            layers["/".join(name.split("/")[:2])] += seconds
        terminalreporter.section("files of tests that take longest")
        terminalreporter.write_line(", ".join(f"{name}: {took:.0f} s" for name, took in layers.items()))
        for name, seconds in sorted(_took.items(), key=lambda one: -one[1])[:SLOWEST]:
            terminalreporter.write_line(f"{seconds:6.0f} s  {name}")
    if os.environ.get(STARTED):
        terminalreporter.write_line(f"./broch test: {_elapsed():.0f} s in all")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run when there are notes."""
    if json.loads(os.environ.get(NOTES, "[]")) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
