"""The client of the API: one address, a bearer token, and problem details that become sentences."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self
from urllib.parse import quote, urlsplit

import httpx

from broch.cli.failure import Failure, Misused, Refused, Unreachable

PREFIX = "/api/v1"
_CONNECT_SECONDS = 5.0
_ANSWER_SECONDS = 60.0
_PAGE = 200
_REMEDIES = {
    409: "See how it stands now, and repeat if it still makes sense.",
    422: "Correct that and repeat.",
    429: "Wait a little and repeat.",
    503: "Repeat in a moment; if it stays so, an administrator sees why by 'broch doctor'.",
}
"""What to do where the server only says why."""
_TYPE_BASE = "https://broch.dev/problems/"


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine (RFC 6761, 6.3 for `localhost`)."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def checked_server(address: str) -> str:
    """Return the origin of a server: a token goes over plain HTTP only within this machine.

    Raises:
        Misused: it is no such address.
    """
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise Misused(f"'{address}' is no address of a server.") from None
    if parts.scheme not in {"http", "https"} or not host or parts.path not in {"", "/"}:
        raise Misused(f"'{address}' is no address of a server.", "Give one such as http://127.0.0.1:8000.")
    if parts.username or parts.query or parts.fragment:
        raise Misused("The address of a server has no user name, query or fragment.")
    if parts.scheme == "http" and not is_loopback(host):
        raise Misused("Plain http would show your token to the network.", f"Use https://{host}.")
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + (f":{port}" if port else "")


class Api:
    """Calls of the API of one server.

    Args:
        server: its origin.
        token: of the sign-in, if there is one.
    """

    def __init__(self, server: str, token: str | None = None) -> None:
        self.server = server
        self._token = token
        self._http = httpx.Client(
            base_url=server,
            timeout=httpx.Timeout(_ANSWER_SECONDS, connect=_CONNECT_SECONDS),
            # A proxy from the environment must not see calls that stay on this machine.
            trust_env=not is_loopback(urlsplit(server).hostname or ""),
            headers={"Accept": "application/json", "User-Agent": "broch-cli"},
        )

    def __repr__(self) -> str:
        return f"Api({self.server!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def use(self, token: str | None) -> None:
        """Send this token from now on."""
        self._token = token

    def get(self, path: str, /, **query: Any) -> Any:
        """Read; `query` members that are None are left out."""
        return self._json(self.send("GET", path, query=query))

    def post(self, path: str, body: Any = None, *, patient: bool = False) -> Any:
        """Send JSON and return what the server answers.

        Args:
            path: below `/api/v1`.
            body: the JSON, if any.
            patient: wait as long as it takes; for work that reads every byte of something.
        """
        headers, content = {}, None
        if body is not None:
            headers, content = {"Content-Type": "application/json"}, json.dumps(body).encode()
        return self._json(self.send("POST", path, headers=headers, content=content, patient=patient))

    def delete(self, path: str) -> Any:
        """End or remove something."""
        return self._json(self.send("DELETE", path))

    def pages(
        self, path: str, /, *, limit: int, cursor: str = "before", **query: Any
    ) -> list[dict[str, Any]]:
        """Return up to `limit` entries of a list, over as many pages as it takes.

        Args:
            path: of the list.
            limit: how many at most.
            cursor: the query member that takes `next` of the page before.
            query: what to filter by.
        """
        items: list[dict[str, Any]] = []
        where: dict[str, Any] = {}
        while len(items) < limit:
            page = self.get(path, **query, limit=min(_PAGE, limit - len(items)), **where)
            items += page["items"]
            where = {cursor: page.get("next")}
            if where[cursor] is None:
                break
        return items

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | Iterable[bytes] | None = None,
        patient: bool = False,
    ) -> httpx.Response:
        """Make one call and return a successful answer.

        Raises:
            Refused: the server says no; with its reason and remedy.
            Unreachable: nothing answers.
            Failure: what answers is not Broch.
        """
        with self._reaching():
            response = self._http.send(self._request(method, path, query, headers, content, patient=patient))
        return self._checked(response)

    @contextmanager
    def stream(
        self, path: str, *, method: str = "GET", query: Mapping[str, Any] | None = None
    ) -> Iterator[httpx.Response]:
        """Open an answer whose bytes are read piece by piece."""
        with self._reaching():
            request = self._request(method, path, query, {"Accept": "*/*"}, None)
            response = self._http.send(request, stream=True)
            try:
                if not response.is_success:
                    response.read()
                yield self._checked(response)
            finally:
                response.close()

    def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        headers: Mapping[str, str] | None,
        content: bytes | Iterable[bytes] | None,
        *,
        patient: bool = False,
    ) -> httpx.Request:
        given = dict(headers or {})
        if self._token is not None:
            given["Authorization"] = f"Bearer {self._token}"
        limits = httpx.Timeout(None if patient else _ANSWER_SECONDS, connect=_CONNECT_SECONDS)
        return self._http.build_request(
            method,
            path if path.startswith("/") else f"{PREFIX}/{path}",
            params={name: value for name, value in (query or {}).items() if value is not None},
            headers=given,
            content=content,
            timeout=limits,
        )

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except httpx.TimeoutException:
            raise Unreachable(f"{self.server} did not answer in time.", "Try again.") from None
        except httpx.ConnectError:
            raise Unreachable(f"Nothing answers at {self.server}.", "Start it: ./broch up") from None
        except httpx.TransportError as error:
            raise Unreachable(
                f"The connection to {self.server} broke ({type(error).__name__}).", "Try again."
            ) from None

    def _checked(self, response: httpx.Response) -> httpx.Response:
        if response.is_success:
            return response
        problem = _problem(response)
        if problem is None:
            raise Failure(
                f"{self.server} answered {response.status_code} in a way that Broch does not.",
                "Is another program listening there? Name the server by --server.",
            )
        kind = str(problem.get("type", "")).removeprefix(_TYPE_BASE)
        message = str(problem.get("detail") or problem.get("title") or "The server refused.")
        remedy = str(problem["remedy"]) if problem.get("remedy") else _REMEDIES.get(response.status_code)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            ended = "You are not signed in, or your session has ended."
            raise Refused(ended, "Sign in: broch login --as HANDLE", status=response.status_code, kind=kind)
        raise Refused(message, remedy, status=response.status_code, kind=kind)

    def _json(self, response: httpx.Response) -> Any:
        if not response.content:
            return None
        try:
            return response.json()
        except ValueError:
            raise Failure(f"{self.server} answered something that is not JSON.") from None


def segment(text: str) -> str:
    """Return one segment of a path, with everything escaped that could end it."""
    return quote(text, safe="")


def _problem(response: httpx.Response) -> dict[str, Any] | None:
    if response.headers.get("content-type", "").split(";")[0] != "application/problem+json":
        return None
    if not response.content:  # an answer to HEAD has its status only
        return {"detail": f"The server answered {response.status_code}: {response.reason_phrase}."}
    try:
        value = response.json()
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
