"""Files under review as inert pages: parsed in a sandbox to bounded data, turned into HTML outside of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broch_airlock.viewer.render.model import VIEWER_POLICY, RenderedPage

if TYPE_CHECKING:
    from broch_airlock.checks.model import FileUnderCheck
    from broch_airlock.checks.sandbox import Sandbox

__all__ = ["VIEWER_POLICY", "RenderedPage", "render"]


def render(file: FileUnderCheck, *, page: int = 1, sandbox: Sandbox | None = None) -> RenderedPage:
    """Return one page of a file as inert HTML.

    Never raises for what is in the file, nor for a sandbox that fails: the answer is then a page that says why and
    shows name, size and digest. Blocks for at most `supervisor.SECONDS`; call it from a thread that lives until it
    returns.

    Args:
        file: as intake recorded it; bytes that have another digest are not shown.
        page: from 1 up; pages that do not exist are answered by a page that says so.
        sandbox: how the sandboxed side is started; bubblewrap by default.
    """
    # Not at the top: the sandboxed side imports this package, and has neither use nor room for the supervisor.
    from broch_airlock.viewer.render.supervisor import render_file  # noqa: PLC0415

    return render_file(file, page, sandbox)
