"""A way to render files as an ordinary user when the tests are root, and a judge of what comes out."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from broch_airlock.checks.model import Direction, FileUnderCheck
from broch_airlock.checks.sandbox import Sandbox
from broch_airlock.viewer.render import RenderedPage, render
from broch_workspaces.sandbox.account import drop_privileges
from broch_workspaces.sandbox.runtime import interpreter_folders, package_folders

T = TypeVar("T")


@dataclass
class Gallery:
    """A folder of files that are shown."""

    folder: Path

    def run(self, action: Callable[[], T]) -> T:
        """Do it in a child without root; what it returns or raises comes back."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            status = 1
            with contextlib.suppress(BaseException):
                answer: tuple[bool, Any]
                try:
                    packages = package_folders(("broch_airlock", "broch_workspaces", "broch_core"))
                    tests = Path(__file__).parents[2]
                    drop_privileges([*interpreter_folders(), *packages, tests], [self.folder])
                    answer = (True, action())
                except BaseException:  # noqa: BLE001 (a forked child reports everything and never returns)
                    answer = (False, traceback.format_exc())
                with os.fdopen(writing, "wb") as pipe:
                    pickle.dump(answer, pipe)
                status = 0
            os._exit(status)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            content = pipe.read()
        os.waitpid(child, 0)
        done, value = pickle.loads(content)
        assert done, value
        return value

    def file(self, name: str, content: bytes | Callable[[Path], None]) -> FileUnderCheck:
        """Take a file in; call it inside `run`."""
        path = Path(tempfile.mkdtemp(dir=self.folder)) / "blob"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            content(path)
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return FileUnderCheck(name, path.stat().st_size, digest, path, Direction.EGRESS)

    def show(
        self,
        name: str,
        content: bytes | Callable[[Path], None],
        page: int = 1,
        sandbox: Sandbox | None = None,
    ) -> RenderedPage:
        """Render one page of a file."""

        def action() -> RenderedPage:
            file = self.file(name, content)
            try:
                return render(file, page=page, sandbox=sandbox)
            finally:
                shutil.rmtree(file.path.parent)

        return self.run(action)


@pytest.fixture(scope="session")
def gallery() -> Iterator[Gallery]:
    folder = Path(tempfile.mkdtemp(prefix="broch-gallery-"))
    try:
        yield Gallery(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
