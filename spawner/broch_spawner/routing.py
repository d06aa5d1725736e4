"""Which server answers a request, by host and path (pure). Nothing falls through to the hub."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote

HUB_PATHS = (
    "/hub/login",
    "/hub/oauth_login",
    "/hub/oauth_callback",
    "/hub/logout",
    "/hub/api/oauth2/authorize",
    "/hub/health",
)
"""All that a browser needs of the hub: signing in. Token page, home, spawn and the rest of the API stay inside. And what
probes of a cluster ask, which says nothing but that the hub is there."""
HUB_FOLDERS = ("/hub/static/", "/hub/error/")

_DOWNLOADS = ("files", "nbconvert")
DOWNLOAD_TEXT = "Files leave a workspace through the airlock only: run `airlock submit FILE` in a terminal.\n"
OUTSIDE_TEXT = "A workspace is shown inside Broch's own page only. Open it from your project's page.\n"
FOREIGN_TEXT = "Only the page of this workspace may ask for this.\n"
_DOCUMENTS = frozenset({"document", "frame", "embed", "object", "fencedframe", "iframe"})
FRAGMENT_TEXT = "An address on its way to a server has no '#'.\n"
STOPPED_TEXT = "This workspace is not running. Open it from your project's page.\n"


@dataclass(frozen=True)
class Route:
    """One entry of the hub's routing table."""

    spec: str
    """`host/path/` of a workspace, or `/` for the hub."""
    target: str
    is_hub: bool


@dataclass(frozen=True)
class Forward:
    """Pass the request on."""

    target: str
    is_hub: bool


@dataclass(frozen=True)
class Refusal:
    """Answer it here."""

    status: int
    text: str


@dataclass(frozen=True)
class Redirect:
    """Send the browser to the workspace's own host."""

    host: str
    """Host name without port."""
    path: str


def split_host(header: str) -> str:
    """Return the host name of a Host header in lower case, without its port."""
    name, _, port = header.lower().rpartition(":")
    return name if name and port.isdigit() else header.lower()


def _decoded(path: str) -> str:
    """Return the path as the most generous server would read it: decoded until it stays the same, dots resolved."""
    for _ in range(5):
        decoded = unquote(path)
        if decoded == path:
            break
        path = decoded
    plain = posixpath.normpath("/" + re.sub(r"[\\/]+", "/", path).lstrip("/"))
    return plain + "/" if path.endswith("/") and plain != "/" else plain


def decide(
    host: str,
    path: str,
    request_headers: Mapping[str, str],
    routes: Mapping[str, Route],
    *,
    hub_host: str,
    method: str = "GET",
) -> Forward | Redirect | Refusal:
    """Return where a request goes.

    Args:
        host: the Host header as received.
        path: the raw path of the request target, without the query.
        request_headers: looked up by lower-case name.
        routes: the hub's routing table by spec.
        hub_host: host name of the hub, without port.
        method: of the request.
    """
    if "#" in path:  # no browser sends one; what follows it would be judged here and cut off on the way
        return Refusal(400, FRAGMENT_TEXT)
    name = split_host(host)
    if name == hub_host:
        if _is_foreign(request_headers, method):
            return Refusal(403, FOREIGN_TEXT)
        return _decide_hub(path, routes, hub_host)
    label, _, parent = name.partition(".")
    if parent != hub_host or not re.fullmatch(r"[a-z0-9-]{1,63}", label):
        return Refusal(421, "There is nothing under this name.\n")
    refused = _refusal_of_page(request_headers, method)
    if refused is not None:
        return refused
    return _decide_workspace(name, path, routes)


def _decide_workspace(name: str, path: str, routes: Mapping[str, Route]) -> Forward | Refusal:
    mine = [route for route in routes.values() if not route.is_hub and route.spec.split("/", 1)[0] == name]
    if not mine:
        return Refusal(503, STOPPED_TEXT)
    seen = _decoded(path)
    for route in mine:
        base = "/" + route.spec.split("/", 1)[1]
        if (seen + "/").startswith(base):
            first = seen[len(base) :].split("/", 1)[0].lower()
            return Refusal(403, DOWNLOAD_TEXT) if first in _DOWNLOADS else Forward(route.target, is_hub=False)
    return Refusal(404, "There is nothing here.\n")


def _refusal_of_page(request_headers: Mapping[str, str], method: str) -> Refusal | None:
    """Return why a workspace does not answer a request of this kind, whatever it is for."""
    if "service-worker" in request_headers or request_headers.get("sec-fetch-dest") == "serviceworker":
        return Refusal(403, "Service workers are not allowed in a workspace.\n")
    if not _is_framed(request_headers):
        return Refusal(403, OUTSIDE_TEXT)
    if _is_foreign(request_headers, method):
        return Refusal(403, FOREIGN_TEXT)
    return None


def _is_framed(request_headers: Mapping[str, str]) -> bool:
    """Whether a document goes into a frame, where the shell's policy holds too (Fetch Metadata, 2.1); others pass."""
    dest = request_headers.get("sec-fetch-dest")
    if dest is None:  # a browser without Fetch Metadata, if it wants a page
        return "text/html" not in request_headers.get("accept", "")
    return dest not in _DOCUMENTS - {"iframe"}


def may_bring_ticket(request_headers: Mapping[str, str]) -> bool:
    """Whether a ticket for a shared workspace is taken: from the frame that the sign-in at the hub sends.

    Not from a page of the workspace: the output of a cell is one, and would put who reads it under another's stay.
    """
    return (
        _is_framed(request_headers)
        and request_headers.get("sec-fetch-mode", "navigate") == "navigate"
        and request_headers.get("sec-fetch-site") != "same-origin"
    )


def _is_foreign(request_headers: Mapping[str, str], method: str) -> bool:
    """Whether the page of another host sent this: such may only put a page into a frame.

    All hosts of one installation are one site, so `SameSite` cookies go along with requests between them.
    """
    if request_headers.get("sec-fetch-site", "none") in {"same-origin", "none"}:
        return False
    opens = request_headers.get("sec-fetch-mode") == "navigate" and method == "GET"
    return not (opens and request_headers.get("sec-fetch-dest") in {"iframe", "document"})


def _decide_hub(path: str, routes: Mapping[str, Route], hub_host: str) -> Forward | Redirect | Refusal:
    hub = next((route for route in routes.values() if route.is_hub), None)
    if hub is None:
        return Refusal(503, "The hub is starting.\n")
    if _decoded(path) == path and (path in HUB_PATHS or path.startswith(HUB_FOLDERS)):
        return Forward(hub.target, is_hub=True)
    asked = re.fullmatch(r"(?:/hub)?/user/([a-z0-9]{1,63})(/[A-Za-z0-9/._-]*)?", path)
    if asked:  # where a sign-in ends: JupyterHub drops the host of the page it was begun for
        host, base = f"{asked[1]}.{hub_host}", f"/user/{asked[1]}/"
        running = f"{host}{base}" in routes
        return Redirect(host, base + (asked[2] or "").lstrip("/")) if running else Refusal(503, STOPPED_TEXT)
    return Refusal(404, "There is nothing here. Open workspaces from your project's page.\n")
