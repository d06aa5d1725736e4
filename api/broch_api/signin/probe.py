"""A page that may connect to nothing, not even to us: a browser in which it still can does not know the header."""

from __future__ import annotations

import base64
import hashlib

from fastapi.responses import HTMLResponse

_SCRIPT = (
    "fetch('/healthz', {cache: 'no-store'}).then(() => 'no', () => 'yes')"
    ".then((said) => parent.postMessage(said, location.origin))"
)
_HASH = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
_HEADERS = {
    "Connection-Allowlist": "()",
    "Content-Security-Policy": (
        f"default-src 'none'; script-src 'sha256-{_HASH}'; connect-src 'self'; frame-ancestors 'self'"
    ),
    "X-Frame-Options": "SAMEORIGIN",
    "Cache-Control": "no-store",
}

ANSWERS = {"yes": True, "no": False}
"""What the sign-in form says of it; anything else means that nothing was seen."""


def probe_page() -> HTMLResponse:
    """Return the page. It tells the page around it `yes` (enforced) or `no`."""
    return HTMLResponse(f"<!doctype html><title>Probe</title><script>{_SCRIPT}</script>", headers=_HEADERS)
