"""Builds the inert document: everything that came from a file is escaped here, whoever read it before."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from broch_airlock.checks.model import FileUnderCheck, display
from broch_airlock.viewer.render.model import RenderedPage

_TEMPLATES = Environment(
    loader=PackageLoader("broch_airlock.viewer.render"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def failure_page(file: FileUnderCheck, reason: str) -> RenderedPage:
    """Return the page for a file that cannot be shown.

    Args:
        file: as intake recorded it.
        reason: one sentence for a person.
    """
    html = _TEMPLATES.get_template("page.html").render(
        name=display(file.name),
        kind="failure",
        facts=[("Size", f"{file.size:,} bytes"), ("SHA-256", display(file.sha256, 80))],
        notes=[],
        failure=display(reason, 1000),
        blocks=[],
    )
    return RenderedPage(html, None, "failure")
