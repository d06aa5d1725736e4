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

TOO_MUCH_TEXT = (
    "The address or the headers of this request are too long. If this comes with every page, a page has set too many "
    "cookies: remove the cookies of this site in your browser's settings, sign in again, and open the workspace anew.\n"
)

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
        shell: origin of the page that frames it; with TLS or without, as the workspace.
    """
    socket = "wss" if shell.startswith("https:") else "ws"
    return (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; media-src 'self' data: blob:; "
        f"connect-src 'self' {socket}://{host}; worker-src blob:; frame-src 'self' blob: data:; object-src 'none'; "
        "manifest-src 'self'; base-uri 'self'; form-action 'self'; "
        f"frame-ancestors 'self' {shell}"
    )


def hub_policy(shell: str) -> str:
    """Return the Content-Security-Policy of the hub's few pages (errors): no script at all."""
    return f"default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; frame-ancestors {shell}"


def own_headers() -> list[Header]:
    """Return the headers of an answer that the proxy makes itself."""
    return [*_ALWAYS, ("Content-Security-Policy", DEAD_END), ("Cache-Control", "no-store")]


_HOST_ONLY = "__Host-"
_OURS = "__Host-broch-"
"""Before the names of the proxy's own cookies: no server behind it sees one or sets one."""
_RENAMED = "__Host-w-"
"""Before the names of cookies that were not `__Host-` cookies where they were made. Scripts still find `_xsrf` by it: Lab looks
for the name at a word's beginning."""
_KEPT_ATTRIBUTES = frozenset({"expires", "max-age", "httponly", "samesite"})


def cookie_to_browser(value: str) -> str:
    """Return a Set-Cookie as a cookie of this host alone, which no other host can set or shadow (RFC 6265bis, 4.1.3.2)."""
    pair, *attributes = value.split(";")
    name, _, content = pair.strip().partition("=")
    own = name if name.startswith(_HOST_ONLY) else _RENAMED + name
    kept = [part for part in attributes if part.partition("=")[0].strip().lower() in _KEPT_ATTRIBUTES]
    return ";".join([f"{own}={content}", *kept, " Path=/", " Secure"])


def cookies_to_upstream(value: str) -> str:
    """Return a Cookie header as the server behind knows it: what any other host could have set falls out."""
    out = []
    for part in value.split(";"):
        name, equals, content = part.strip().partition("=")
        if equals and name.startswith(_HOST_ONLY) and not name.startswith(_OURS):
            out.append(f"{name.removeprefix(_RENAMED)}={content}")
    return "; ".join(out)


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
            if not location_stays(value, (f"{urlsplit(hub).scheme}://{host}", hub)):
                return None
            out.append((name, value))
        elif low == "set-cookie":
            if not value.strip().startswith(_OURS):
                out.append((name, cookie_to_browser(value)))
        elif low in PASSED:
            out.append((name, value))
    return [*out, *_ALWAYS, ("Content-Security-Policy", workspace_policy(host, shell))]


def size_of_theirs(shown: Iterable[Header]) -> int:
    """Return how many bytes of an answer's headers a workspace chose: what is shown there is shown as well."""
    return sum(
        len(name) + len(value) + 4
        for name, value in shown
        if name != "Content-Security-Policy" and (name, value) not in _ALWAYS
    )


def from_hub(received: Iterable[Header], *, shell: str) -> list[Header]:
    """Return what the browser sees of the hub's headers."""
    keep = [
        (name, cookie_to_browser(value) if name.lower() == "set-cookie" else value)
        for name, value in received
        if name.lower() in PASSED | {"set-cookie", "location"}
    ]
    return [*keep, *_ALWAYS, ("Content-Security-Policy", hub_policy(shell))]


def _own_xsrf(headers: Iterable[Header]) -> str | None:
    """Return the token that a page of this host meant to send.

    Lab's scripts read it from the first cookie that is called `_xsrf`, which may be one that another host has set for
    all. That the page is of this host, which the token is to prove, the browser says itself (Fetch Metadata).
    """
    known = {name.lower(): value for name, value in headers}
    if known.get("sec-fetch-site") != "same-origin":
        return None
    pairs = (part.partition("=") for part in cookies_to_upstream(known.get("cookie", "")).split("; "))
    return next((value for name, _, value in pairs if name == "_xsrf"), None)


_FORWARDING = frozenset({"forwarded", "x-real-ip", "x-scheme"})
"""Beside `X-Forwarded-*`. tornado believes the last two before those (`xheaders`)."""


def to_upstream(
    received: Iterable[Header], *, remote: str, host: str, proto: str = "http"
) -> Iterator[Header]:
    """Yield the request headers for hub or workspace: nothing of the connection, and forwarding facts of our own."""
    headers = list(received)
    named = {
        part.strip().lower()
        for name, value in headers
        if name.lower() == "connection"
        for part in value.split(",")
    }
    xsrf = _own_xsrf(headers)
    for name, value in headers:
        low = name.lower()
        if low == "cookie":
            if known := cookies_to_upstream(value):
                yield name, known
        elif low == "x-xsrftoken" and xsrf is not None:
            yield name, xsrf
        elif low not in HOP_BY_HOP | named | _FORWARDING and not low.startswith("x-forwarded-"):
            yield name, value
    yield "X-Forwarded-For", remote
    yield "X-Forwarded-Proto", proto
    yield "X-Forwarded-Host", host
