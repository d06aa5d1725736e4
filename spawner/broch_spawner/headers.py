"""Every header that a browser sees from hub and workspaces (pure). A workspace has no say in it.

Source of the settings: a table of some forty techniques tried in Chromium against each layer (docs/workspaces.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

Header = tuple[str, str]

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "trailers",
        "transfer-encoding",
        "upgrade",
    }
)
"""RFC 9110, 7.6.1: for one connection only."""

PASSED = frozenset(
    {
        "content-type",
        "content-length",
        "content-encoding",
        "content-disposition",
        "content-range",
        "accept-ranges",
        "cache-control",
        "etag",
        "last-modified",
        "expires",
        "date",
        "vary",
        "allow",
        "x-jupyterhub-version",
    }
)
"""What a workspace may say. Refresh, Link, Report-To, NEL, Speculation-Rules ... fall out; `set-cookie` and `location`
are looked at one by one."""

DEAD_END = "default-src 'none'; sandbox; frame-ancestors 'none'"
"""For every answer that the proxy makes itself: a page without policy on a workspace's origin opens every way out."""

_DENIED = (
    *(
        "camera",
        "microphone",
        "geolocation",
        "payment",
        "usb",
        "serial",
        "hid",
        "display-capture",
    ),
    *("clipboard-read", "identity-credentials-get", "publickey-credentials-get"),
)

_ALWAYS: tuple[Header, ...] = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),
    ("X-DNS-Prefetch-Control", "off"),
    ("Connection-Allowlist", "(response-origin)"),
    ("Permissions-Policy", ", ".join(f"{feature}=()" for feature in _DENIED)),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Origin-Agent-Cluster", "?1"),
)


def workspace_policy(host: str, shell: str) -> str:
    """Return the Content-Security-Policy of a workspace's pages.

    Args:
        host: the workspace's own host with its port.
        shell: origin of the page that frames it.
    """
    return (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; media-src 'self' data: blob:; "
        f"connect-src 'self' ws://{host}; worker-src blob:; frame-src 'self' blob: data:; object-src 'none'; "
        "manifest-src 'self'; base-uri 'self'; form-action 'self'; "
        f"frame-ancestors 'self' {shell}"
    )


def hub_policy(shell: str) -> str:
    """Return the Content-Security-Policy of the hub's few pages (errors): no script at all."""
    return f"default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; frame-ancestors {shell}"


def own_headers() -> list[Header]:
    """Return the headers of an answer that the proxy makes itself."""
    return [*_ALWAYS, ("Content-Security-Policy", DEAD_END), ("Cache-Control", "no-store")]


def _cookie_is_host_only(value: str) -> bool:
    """Whether a Set-Cookie stays with the host that set it: no Domain attribute (RFC 6265, 5.2.3)."""
    attributes = (part.partition("=")[0].strip().lower() for part in value.split(";")[1:])
    return "domain" not in attributes


def location_stays(value: str, allowed_origins: Iterable[str]) -> bool:
    """Whether a redirect leads to a path on the same host, or to one of the allowed origins."""
    # Browsers read a backslash as a slash and drop control characters before they look.
    if "\\" in value or any(ord(char) <= 0x20 or ord(char) == 0x7F for char in value):
        return False
    parts = urlsplit(value)
    if not parts.scheme and not parts.netloc:
        return not value.startswith("//")
    return f"{parts.scheme}://{parts.netloc}".lower() in {origin.lower() for origin in allowed_origins}


def from_workspace(received: Iterable[Header], *, host: str, shell: str, hub: str) -> list[Header] | None:
    """Return what the browser sees of a workspace's headers, None when its redirect must be refused."""
    out: list[Header] = []
    for name, value in received:
        low = name.lower()
        if low == "location":
            if not location_stays(value, (f"http://{host}", hub)):
                return None
            out.append((name, value))
        elif low in PASSED or (low == "set-cookie" and _cookie_is_host_only(value)):
            out.append((name, value))
    return [*out, *_ALWAYS, ("Content-Security-Policy", workspace_policy(host, shell))]


def from_hub(received: Iterable[Header], *, shell: str) -> list[Header]:
    """Return what the browser sees of the hub's headers."""
    keep = [(name, value) for name, value in received if name.lower() in PASSED | {"set-cookie", "location"}]
    return [*keep, *_ALWAYS, ("Content-Security-Policy", hub_policy(shell))]


def to_upstream(received: Iterable[Header], *, remote: str, host: str) -> Iterator[Header]:
    """Yield the request headers for hub or workspace: nothing of the connection, and forwarding facts of our own."""
    headers = list(received)
    named = {
        part.strip().lower()
        for name, value in headers
        if name.lower() == "connection"
        for part in value.split(",")
    }
    for name, value in headers:
        low = name.lower()
        if low not in HOP_BY_HOP | named and low != "forwarded" and not low.startswith("x-forwarded-"):
            yield name, value
    yield "X-Forwarded-For", remote
    yield "X-Forwarded-Proto", "http"
    yield "X-Forwarded-Host", host
