"""What the renderer answers. Standard library only: the sandboxed side imports this package too."""

from __future__ import annotations

from dataclasses import dataclass

VIEWER_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox"
"""Content-Security-Policy that every rendered page needs; the route appends `frame-ancestors`."""


@dataclass(frozen=True)
class RenderedPage:
    """One page of one file as an inert HTML document, all parts inlined: no script, link, form or reference."""

    html: str
    pages: int | None
    """How many pages the file has; None when it is too large to count them, or could not be shown."""
    kind: str
    """`text`, `table`, `json`, `notebook`, `image`, `data`, `empty` or `failure`."""
