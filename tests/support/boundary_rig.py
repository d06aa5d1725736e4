"""Chromium in namespaces of the test's own, with an internet that writes down what arrives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext

from support import boundary_namespace

START_SECONDS = 30


@dataclass(frozen=True)
class Arrival:
    """Something that came out."""

    kind: str
    """`dns` (the name alone), `http` (a connection, with all it carries) or `udp`."""
    name: str
    """The name that was asked for; for `udp` the port."""


@dataclass
class Rig:
    """A browser that has internet, and the internet."""

    like: Browser
    """A running browser, whose driver starts more of its kind."""
    flags: Sequence[str]
    folder: Path

    @contextmanager
    def profile(self, name: str) -> Iterator[BrowserContext]:
        """Run the browser with a fresh profile as a person has it: the private mode of tests does not preconnect."""
        context = self.like.browser_type.launch_persistent_context(
            tempfile.mkdtemp(prefix=f"profile {name} ", dir=self.folder),
            executable_path=self.folder / "chromium",
            args=[*self.flags, "--no-sandbox"],
            ignore_default_args=["--disable-background-networking"],  # it would switch preconnect off too
            viewport={"width": 1280, "height": 860},
        )
        try:
            yield context
        finally:
            context.close()

    def wall(self, state: str) -> None:
        """Say what of the wall new connections meet: a key of `boundary_namespace.WALLS`."""
        assert state in boundary_namespace.WALLS
        (self.folder / "wall").write_text(state)

    def mark(self) -> int:
        """Return where the log of arrivals ends now."""
        return (self.folder / "arrived").stat().st_size

    def since(self, mark: int) -> list[Arrival]:
        """Return what arrived after a mark."""
        text = (self.folder / "arrived").read_bytes()[mark:].decode()
        return [Arrival(line["kind"], line["name"]) for line in map(json.loads, text.splitlines())]


@contextmanager
def rig(folder: Path, ports: Sequence[int], like: Browser, flags: Sequence[str]) -> Iterator[Rig]:
    """Make the namespaces, and browsers in them when asked to.

    Args:
        folder: for sockets and logs.
        ports: of 127.0.0.1 that are also there inside.
        like: a running browser, whose program is started once more.
        flags: of the browser.
    """
    (folder / "wall").write_text("on")
    (folder / "arrived").touch()
    outside = subprocess.Popen(
        [sys.executable, boundary_namespace.__file__, "outside", str(folder), *map(str, ports)],
        stdin=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not (folder / "ready").exists() or not (folder / "ready").read_text():
            assert outside.poll() is None, "no namespaces for the browser: they need root or user namespaces"
            assert time.monotonic() < deadline, "the namespaces are not ready"
            time.sleep(0.05)
        pid = (folder / "ready").read_text()
        user = "" if os.geteuid() == 0 else f"--user=/proc/{pid}/ns/user --preserve-credentials "
        program = folder / "chromium"
        program.write_text(
            f"#!/bin/sh\nexec nsenter {user}--net=/proc/{pid}/ns/net --mount=/proc/{pid}/ns/mnt "
            'chromium "$@"\n'
        )
        program.chmod(0o755)
        yield Rig(like, flags, folder)
    finally:
        (folder / "ready").unlink(missing_ok=True)
        outside.terminate()
        outside.wait()
