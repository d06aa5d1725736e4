"""A way to render files as an ordinary user when the tests are root, and a judge of what comes out."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from broch_airlock.checks.model import Direction, FileUnderCheck
from broch_airlock.checks.sandbox import Sandbox
from broch_airlock.viewer.render import RenderedPage, render
from support.ordinary import as_ordinary

T = TypeVar("T")


@dataclass
class Gallery:
    """A folder of files that are shown."""

    folder: Path

    def run(self, action: Callable[[], T]) -> T:
        """Do it in a child without root; what it returns or raises comes back."""
        return as_ordinary(self.folder, action)

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
