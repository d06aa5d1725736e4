"""From the command to the first executed cell in a browser: installed, and from a fresh clone (docs/benchmarks.md)."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

from broch.demo.people import PEOPLE, PROJECTS
from broch.dev.bench import Result
from machine import free_port

NAME = "first-cell"
INSTALLED_SECONDS, CLONE_SECONDS = 12.0, 60.0
_LONGEST_SECONDS = 180.0
_ROOT = Path(__file__).parents[1]
_FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

Phases = list[tuple[str, float]]
"""What was reached, and how many seconds after the command."""


def run() -> Iterator[Result]:
    """Start Broch as a person does and wait with them; then the same from a clone with an empty home."""
    with _browser() as browser, tempfile.TemporaryDirectory(prefix="broch-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # services without root must reach the clone
        command = [sys.executable, "-P", "-m", "broch.cli.main"]
        yield from _report("installed", _first_cell(browser, command, folder / "one", {}), INSTALLED_SECONDS)
        yield from _from_clone(browser, folder)


def _from_clone(browser: Browser, folder: Path) -> Iterator[Result]:
    """Fill a cache by making one environment; then measure another clone that finds its downloads there."""
    home = folder / "home"
    home.mkdir()
    environment = {"HOME": str(home), "XDG_CACHE_HOME": str(folder / "cache")}
    (folder / "cache").mkdir()
    began = time.monotonic()
    first = _clone(folder / "first")
    _make_environment(first, environment)
    cold = time.monotonic() - began
    shutil.rmtree(first)
    shutil.rmtree(home)
    home.mkdir()
    began = time.monotonic()
    clone = _clone(folder / "clone")
    took = time.monotonic() - began
    phases = _first_cell(browser, [str(clone / "broch")], folder / "two", environment)
    yield from _report("fresh clone", [("git clone", 0.0), *phases], CLONE_SECONDS, extra=took)
    yield Result.measured("first-cell/an environment with its downloads", cold, "s")


def _report(title: str, phases: Phases, limit: float, *, extra: float = 0.0) -> Iterator[Result]:
    yield Result.at_most(f"first-cell/{title}", phases[-1][1] + extra, "s", limit)
    before = 0.0
    for phase, at in phases:
        yield Result.measured(f"first-cell/{title}: {phase}", at - before if at else extra, "s")
        before = at


def _clone(target: Path) -> Path:
    subprocess.run(["git", "clone", "--quiet", str(_ROOT), str(target)], check=True)
    return target


def _make_environment(clone: Path, environment: Mapping[str, str]) -> None:
    subprocess.run(
        [str(clone / "broch"), "--help"],
        check=True,
        env=_clean(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )


def _clean(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a person who has just cloned: nothing of this virtual environment."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("BROCH_", "PYTHON", "VIRTUAL_ENV", "UV_CACHE", "PIP_CACHE"))
    }
    return kept | dict(environment)


def _first_cell(
    browser: Browser, command: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> Phases:
    """Start Broch on an empty folder and use it until a cell has answered."""
    folder.mkdir(mode=0o711)
    port = free_port()
    console = folder / "console.log"
    with console.open("wb") as output:
        began = time.monotonic()
        process = subprocess.Popen(
            [*command, "up", "--dir", str(folder / "state"), "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            env=_clean(environment),
            start_new_session=True,
        )
    phases: Phases = []

    def reached(phase: str) -> None:
        phases.append((phase, time.monotonic() - began))

    context = browser.new_context(viewport={"width": 1280, "height": 860})
    try:
        page = context.new_page()
        page.set_default_timeout(_LONGEST_SECONDS * 1000)
        _await_page(page, port, lambda: process.poll() is None)
        reached("sign-in page")
        _use(page, reached)
    except Exception as error:
        error.add_note(console.read_text(errors="replace"))
        raise
    finally:
        context.close()
        _end(process)
    return phases


def _await_page(page: Page, port: int, alive: Callable[[], bool]) -> None:
    """Load the sign-in page as soon as somebody listens; asking a socket costs the machine nothing."""
    deadline = time.monotonic() + _LONGEST_SECONDS
    while time.monotonic() < deadline and alive():
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.05)
        else:
            page.goto(f"http://broch.localhost:{port}/sign-in")
            return
    raise RuntimeError("broch up ended, or did not listen in time")


def _use(page: Page, reached: Callable[[str], None]) -> None:
    """Sign in, open the workspace, make a notebook, run `1+1` in it by keyboard."""
    page.get_by_role("button", name=PEOPLE[0].name).click()
    page.get_by_role("navigation").get_by_role("link", name="Projects").click()
    page.get_by_role("link", name=PROJECTS[0].name).first.click()
    page.get_by_role("button", name="Open workspace").click()
    reached("signed in, workspace asked for")
    lab = page.frame_locator("iframe")
    launcher = lab.locator(".jp-LauncherCard").filter(has_text="Python 3").first
    launcher.wait_for()
    reached("notebook editor in the browser")
    launcher.click()
    editor = lab.locator(".jp-Notebook .jp-CodeCell .cm-content").first
    editor.click()
    page.keyboard.type("1+1")
    expect(editor).to_have_text("1+1")
    # Before the kernel answers, the editor drops the wish to run a cell; people see its state in the same place.
    lab.get_by_text(re.compile(r"\| Idle")).wait_for()
    page.keyboard.press("Shift+Enter")
    answer = lab.locator(".jp-OutputArea-executeResult .jp-OutputArea-output").first
    expect(answer).to_have_text("2", timeout=_LONGEST_SECONDS * 1000)
    reached("first cell")


@contextmanager
def _browser() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        raise RuntimeError("Chromium is not installed. On Debian: apt-get install chromium")
    flags = (
        [*_FLAGS, "--no-sandbox"] if os.geteuid() == 0 else [*_FLAGS]
    )  # Chromium's own sandbox refuses root
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        yield browser
        browser.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it as Ctrl-C would; insist after half a minute."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
