"""Renders one file: starts the sandbox, listens to it, and believes nothing that it says."""

from __future__ import annotations

from broch_airlock.checks.model import FileUnderCheck
from broch_airlock.checks.sandbox import Sandbox
from broch_airlock.viewer.render.model import RenderedPage
from broch_airlock.viewer.render.page import failure_page


def render_file(file: FileUnderCheck, page: int, sandbox: Sandbox | None = None) -> RenderedPage:
    """Return one page of a file; see `render`."""
    del page, sandbox
    return failure_page(file, "Files of this kind are not shown.")
