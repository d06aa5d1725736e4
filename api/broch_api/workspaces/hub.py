"""The hub's REST API, over its unix socket or over TLS (docs/architecture.md, *Internal API*; docs/cluster.md)."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import httpx

from broch_core.outbox.worker import TemporaryError
from broch_core.tls import Renewed, client_context

_TIMEOUT = httpx.Timeout(20.0, connect=3.0)
"""Seconds. The hub answers a start after at most 10 (`slow_spawn_timeout`), then goes on by itself."""
_PAGE = 100
_LONGEST_REASON = 400
_GENERATIONS = 3
"""Certificates whose connections are kept: the one in force, and those of before, on which a call may still wait."""


class HubAway(TemporaryError):
    """The hub does not answer, or not in its own words: nothing is known of its servers."""


class HubRefused(Exception):
    """The hub said no; the text is for the researcher."""


@dataclass(frozen=True)
class Server:
    """A server that the hub knows of."""

    ready: bool
    pending: str | None
    """`spawn`, `stop`, ... while it is on its way."""


def _socket(path: Path) -> httpx.HTTPTransport:
    # No TLS is spoken there: an empty context saves reading everybody's roots.
    return httpx.HTTPTransport(uds=str(path), verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))


class HubClient:
    """Starts and stops the servers of principals. Safe to use from several threads.

    Args:
        way: `run/hub/hub.sock`, or a transport to the hub's API elsewhere.
        token: the control plane's own API token of the hub.
        origin: scheme and host of every call.
    """

    def __init__(self, way: Path | httpx.BaseTransport, token: str, *, origin: str = "http://hub") -> None:
        self._client = httpx.Client(
            transport=_socket(way) if isinstance(way, Path) else way,
            base_url=f"{origin}/hub/api",
            headers={"Authorization": f"token {token}"},
            timeout=_TIMEOUT,
        )

    @classmethod
    def over_tls(cls, origin: str, tls: Path, token: str) -> Self:
        """Return the client of a hub on a cluster; both sides show certificates.

        Args:
            origin: such as `https://broch-hub:8081`.
            tls: folder of our own certificate and of the authority that is believed.
            token: the control plane's own API token of the hub.

        Raises:
            ValueError: the address is not `https`.
        """
        if not origin.startswith("https://"):
            raise ValueError("services of a cluster speak TLS only")
        return cls(_Renewing(tls), token, origin=origin.rstrip("/"))

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def start(self, principal: str) -> None:
        """Make the principal's user if it is missing, and have its server started.

        Raises:
            HubAway: nobody answers.
            HubRefused: the server did not start.
        """
        self.make_user(principal)
        answer = self._call("POST", f"{_user(principal)}/server", accept=(201, 202, 400))
        if answer.status_code == 400:  # it runs already, or is on its way down, or cannot start
            server = self.server(principal)
            if server is None:
                raise HubRefused(_reason(answer))
            if server.pending == "stop":
                raise HubAway("the server of an earlier start is still stopping")

    def make_user(self, principal: str) -> None:
        """Make the principal's user, unless there is one: nobody else can sign in to the hub.

        Raises:
            HubAway: nobody answers.
            HubRefused: the hub does not make it.
        """
        self._call("POST", _user(principal), accept=(201, 409))

    def stop(self, principal: str) -> bool:
        """Have a server stopped, and everybody signed out of it; return whether it is gone.

        Raises:
            HubAway: nobody answers.
            HubRefused: the hub cannot stop it.
        """
        # 400: it is not running, or on its way up; 404: no such user. What is true then, the next question tells.
        self._call("DELETE", f"{_user(principal)}/server", accept=(202, 204, 400, 404))
        if self.server(principal) is not None:
            return False
        # With the hub's user go its cookies and tokens: the next start makes another one.
        self._call("DELETE", _user(principal), accept=(204, 400, 404))
        return True

    def server(self, principal: str) -> Server | None:
        """Return the server of a principal, if the hub has one.

        Raises:
            HubAway: nobody answers.
        """
        answer = self._call("GET", _user(principal), accept=(200, 404))
        return None if answer.status_code == 404 else _default_server(_json(answer))

    def servers(self) -> dict[str, Server]:
        """Return every server that the hub has, by principal.

        Raises:
            HubAway: nobody answers.
        """
        found: dict[str, Server] = {}
        offset = 0
        while True:
            query = f"/users?state=active&sort=id&offset={offset}&limit={_PAGE}"
            users = _json(self._call("GET", query, accept=(200,)))
            if not isinstance(users, list):
                raise HubAway("the hub's list of users is no list")
            for user in users:
                if (server := _default_server(user)) is not None:
                    found[str(user.get("name"))] = server
            if len(users) < _PAGE:
                return found
            offset += _PAGE

    def version(self) -> str:
        """Return the hub's version, as a sign of life.

        Raises:
            HubAway: nobody answers.
        """
        answer = _json(self._call("GET", "/", accept=(200,)))
        return str(answer.get("version", "unknown")) if isinstance(answer, dict) else "unknown"

    def _call(self, method: str, path: str, *, accept: tuple[int, ...]) -> httpx.Response:
        try:
            answer = self._client.request(method, path)
        except httpx.HTTPError as error:
            raise HubAway(f"the hub does not answer ({type(error).__name__})") from error
        if answer.status_code in accept:
            return answer
        if answer.status_code in (401, 403):
            raise HubAway("the hub does not accept the control plane's token")
        if answer.status_code in (429, 502, 503, 504):
            raise HubAway(f"the hub is busy ({answer.status_code})")
        raise HubRefused(_reason(answer))


class _Renewing(httpx.BaseTransport):
    """Connections by the certificate as it is now: certificates are renewed while we run.

    Args:
        tls: folder of our own certificate and of the authority that is believed.
    """

    def __init__(self, tls: Path) -> None:
        self._context = Renewed(tls, client_context)
        self._context()  # a start without certificates fails at once, and not with the first workspace
        self._lock = threading.Lock()
        self._made: list[tuple[ssl.SSLContext, httpx.HTTPTransport]] = []
        """The one in use last. Those before it are kept while calls of other threads may be under way on them."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Make one call."""
        return self._now().handle_request(request)

    def close(self) -> None:
        """Close all connections."""
        for _, transport in self._made:
            transport.close()

    def _now(self) -> httpx.HTTPTransport:
        with self._lock:
            context = self._context()
            if not self._made or self._made[-1][0] is not context:
                # Not from the environment: a proxy set there would be told the token.
                self._made.append((context, httpx.HTTPTransport(verify=context, trust_env=False)))
            if len(self._made) > _GENERATIONS:
                self._made.pop(0)[1].close()
            return self._made[-1][1]


def _user(principal: str) -> str:
    return f"/users/{quote(principal, safe='')}"


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError as error:
        raise HubAway("the hub's answer is no JSON") from error


def _default_server(user: Any) -> Server | None:
    if not isinstance(user, Mapping) or not isinstance(user.get("servers"), Mapping):
        # A token without the right to see servers must not look like a hub without servers.
        raise HubAway("the hub does not tell which servers there are")
    server = user["servers"].get("")
    if not isinstance(server, Mapping) or server.get("stopped"):
        return None
    pending = server.get("pending")
    return Server(ready=bool(server.get("ready")), pending=str(pending) if pending else None)


def _reason(answer: httpx.Response) -> str:
    try:
        said = answer.json().get("message")
    except (ValueError, AttributeError):
        said = None
    return str(said)[:_LONGEST_REASON] if said else f"The hub refused ({answer.status_code})."
