"""How the viewer shows a file: rendered in a sandbox of its own."""

from __future__ import annotations

from pathlib import Path

from broch_airlock.checks.model import Direction, FileUnderCheck
from broch_airlock.checks.sandbox import Sandbox
from broch_airlock.viewer.render import render


class SandboxRenderer:
    """Renders files to one inert HTML document each."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def render(self, path: Path, name: str, sha256: str, *, page: int) -> str:
        """Return the document of one page of a file."""
        file = FileUnderCheck(name, path.stat().st_size, sha256, path, Direction.EGRESS)
        return render(file, page=page, sandbox=self._sandbox).html
