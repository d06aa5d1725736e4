"""A real clamd with our tiny signatures, and a way to run the supervisor as an ordinary user when the tests are root."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from broch_airlock.checks.antivirus import Antivirus
from broch_airlock.checks.clamd_config import ClamdSettings
from broch_airlock.checks.clamd_process import (
    ClamdSetup,
    find_clamd,
    prepare_clamd,
    start_clamd,
    wait_for_clamd,
)
from broch_airlock.checks.model import CheckResult, Direction, FileUnderCheck
from broch_airlock.checks.policy import Policy
from broch_airlock.checks.sandbox import Sandbox
from broch_airlock.checks.supervisor import check_files
from support.ordinary import as_ordinary, become_ordinary

T = TypeVar("T")


@dataclass
class Lab:
    """A folder, a clamd, and a way to do things as an ordinary user."""

    folder: Path
    setup: ClamdSetup
    clamd_pid: int

    def run(self, action: Callable[[], T]) -> T:
        """Do it in a child without root; what it returns or raises comes back."""
        return as_ordinary(self.folder, action)

    def file(
        self, name: str, content: bytes | Callable[[Path], None], direction: Direction
    ) -> FileUnderCheck:
        """Take a file in, as intake would; call it inside `run`."""
        path = Path(tempfile.mkdtemp(dir=self.folder)) / "blob"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            content(path)
        size = path.stat().st_size
        digest = ""
        if size < 1 << 31:
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return FileUnderCheck(name, size, digest, path, direction)

    def check(
        self,
        files: dict[str, bytes | Callable[[Path], None]],
        *,
        policy: Policy | None = None,
        antivirus: Antivirus | None = None,
        sandbox: Sandbox | None = None,
        direction: Direction = Direction.INGRESS,
    ) -> dict[str, list[CheckResult]]:
        """Check files by name."""

        def action() -> dict[str, list[CheckResult]]:
            taken = [self.file(name, content, direction) for name, content in files.items()]
            try:
                answers = check_files(taken, policy or Policy(), antivirus or self.setup.antivirus(), sandbox)
            finally:
                for file in taken:
                    shutil.rmtree(file.path.parent)
            return dict(zip(files, answers, strict=True))

        return self.run(action)


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    if find_clamd() is None:
        pytest.fail("clamd is not installed. Run: sudo apt-get install clamav-daemon")
    folder = Path(tempfile.mkdtemp(prefix="broch-lab-"))
    keeper, lab = start_lab(folder)
    try:
        yield lab
    finally:
        stop_lab(keeper)
        shutil.rmtree(folder, ignore_errors=True)


def start_lab(folder: Path, settings: ClamdSettings | None = None) -> tuple[int, Lab]:
    """Start a clamd in a child that gives up root first, and that ends clamd when it is told to end."""
    reading, writing = os.pipe()
    lab = Lab(folder, prepare_without_root(folder), 0)
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            try:
                become_ordinary(folder)
                setup = prepare_clamd(
                    folder / "clamd", folder / "run", settings=settings, system=folder / "none"
                )
                with (folder / "clamd.log").open("wb") as log:
                    process = start_clamd(setup, log=log)
                signal.signal(signal.SIGTERM, lambda *_: process.kill())
                wait_for_clamd(setup, process, 30)
                os.write(writing, pickle.dumps(process.pid))
                os.close(writing)
                process.wait()
            except BaseException:  # noqa: BLE001 (as above)
                traceback.print_exc(file=sys.__stderr__)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        started = pipe.read(64)
    assert started, "clamd did not start"
    return child, Lab(folder, lab.setup, pickle.loads(started))


def prepare_without_root(folder: Path) -> ClamdSetup:
    """Return what `prepare_clamd` will write there, without writing it."""
    from broch_airlock.checks.clamd_config import DEMO

    return ClamdSetup(
        folder / "clamd" / "clamd.conf", folder / "run" / "clamd.sock", folder / "clamd" / "database", DEMO
    )


def stop_lab(keeper: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(keeper, signal.SIGTERM)
        os.waitpid(keeper, 0)


@pytest.fixture
def own_lab() -> Iterator[Lab]:
    """A lab of its own, for tests that stop or kill clamd."""
    folder = Path(tempfile.mkdtemp(prefix="broch-lab-"))
    keeper, lab = start_lab(folder)
    try:
        yield lab
    finally:
        stop_lab(keeper)
        shutil.rmtree(folder, ignore_errors=True)
