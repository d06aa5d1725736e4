"""The API server by `kubernetes.aio`: plain JSON both ways, no generated models, a time limit on every call.

The library gives transport, credentials and their renewal. Watches are read here, because its own reader gives up on
an expired version in the middle of a line of events and hides bookmarks.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
from kubernetes import aio

from broch_workspaces.cluster.controller.api import Each, Event
from broch_workspaces.cluster.controller.failures import ApiError, Unreachable
from broch_workspaces.cluster.controller.kinds import FIELD_MANAGER, Kind, Manifest, Ref

READ = aiohttp.ClientTimeout(total=30, connect=5)
WRITE_SECONDS = 7.0
"""Longest write. Less than what a lease has left when its holder stops to write (`lease.py`)."""
WRITE = aiohttp.ClientTimeout(total=WRITE_SECONDS, connect=5)
WATCH_SECONDS = 300
WATCH = aiohttp.ClientTimeout(total=None, connect=5, sock_read=90)
"""A bookmark comes about once a minute: silence for longer is a connection that nobody told us is dead."""
PAGE = 100
"""Objects in one page of a list. Small: all kinds are listed at the same time, and once decoded a page is ten times as large."""

Query = list[tuple[str, str]]
_aio: Any = aio
"""Half of the library has no types: what it gives is checked here by hand."""


async def connect(kubeconfig: Path | None) -> Any:
    """Return a client with the pod's own account, or with a kubeconfig (tests, and work at a desk).

    Raises:
        RuntimeError: there would be no credential: an API server may let anonymous callers read.
    """
    configuration = _aio.client.Configuration()
    if kubeconfig is not None:
        await _aio.config.load_kube_config(
            config_file=str(kubeconfig), client_configuration=configuration, persist_config=False
        )
    else:
        _aio.config.load_incluster_config(client_configuration=configuration)
    if not configuration.verify_ssl or not configuration.host.startswith("https://"):
        raise RuntimeError("the API server must be reached by TLS, and its certificate checked")
    if not configuration.cert_file and not (await configuration.auth_settings()).get("BearerToken"):
        raise RuntimeError("there is no credential for the API server")
    # The environment's proxies are for what leaves the cluster, never for its API server.
    configuration.client_session_kwargs = {"trust_env": False}
    configuration.retries = None
    api = _aio.client.ApiClient(configuration)
    api.user_agent = "broch-controller"
    return api


class KubeClient:
    """One API server, by what `connect` returned."""

    def __init__(self, api: Any) -> None:
        self._api = api

    async def close(self) -> None:
        """Close all connections."""
        await self._api.close()

    async def get(self, ref: Ref) -> Manifest | None:
        """Return an object, or None."""
        try:
            return await self._json("GET", ref.path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def list(self, kind: Kind, each: Each, *, selector: str = "", namespace: str = "") -> str:
        """Show all objects, page by page, and return the version from which to watch them."""
        query: Query = [("limit", str(PAGE))]
        if selector:
            query.append(("labelSelector", selector))
        page: list[tuple[str, str]] = []
        while True:
            answer = await self._json("GET", kind.path(namespace), query=query + page)
            for item in answer.get("items") or ():
                each(item)
            metadata = answer["metadata"]
            if not metadata.get("continue"):
                return str(metadata["resourceVersion"])
            page = [("continue", metadata["continue"])]

    async def watch(self, kind: Kind, *, selector: str, version: str) -> AsyncIterator[Event]:
        """Follow what changes after a version. Ends when the server ends it."""
        query: Query = [
            ("watch", "true"),
            ("labelSelector", selector),
            ("resourceVersion", version),
            ("allowWatchBookmarks", "true"),
            ("timeoutSeconds", str(WATCH_SECONDS)),
        ]
        response = await self._send("GET", kind.path(), query, None, "", WATCH)
        try:
            _check(response.status, b"" if response.status < 400 else await response.read())
            async for line in _lines(response):
                yield _event(line)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unreachable(type(error).__name__) from error
        finally:
            response.close()

    async def apply(self, ref: Ref, manifest: Manifest) -> Manifest:
        """Apply on the server's side as `broch`, taking over what others set, and return what is there now."""
        query = [("fieldManager", FIELD_MANAGER), ("force", "true"), ("fieldValidation", "Strict")]
        return await self._json("PATCH", ref.path, query, manifest, "application/apply-patch+yaml")

    async def replace(self, ref: Ref, manifest: Manifest) -> Manifest:
        """Put a whole object in the place of the version that it names."""
        query = [("fieldManager", FIELD_MANAGER), ("fieldValidation", "Strict")]
        return await self._json("PUT", ref.path, query, manifest, "application/json")

    async def create(self, ref: Ref, manifest: Manifest) -> Manifest:
        """Make an object that must not be there yet."""
        query = [("fieldManager", FIELD_MANAGER), ("fieldValidation", "Strict")]
        return await self._json("POST", ref.kind.path(ref.namespace), query, manifest, "application/json")

    async def merge(self, ref: Ref, patch: Manifest) -> Manifest:
        """Change some fields (JSON merge patch)."""
        query = [("fieldManager", FIELD_MANAGER), ("fieldValidation", "Strict")]
        return await self._json("PATCH", ref.path, query, patch, "application/merge-patch+json")

    async def delete(self, ref: Ref, *, uid: str, version: str = "", grace: int | None = None) -> None:
        """Delete exactly this object, and of this version where one is named. One that is gone is fine."""
        preconditions = {"uid": uid} | ({"resourceVersion": version} if version else {})
        options: Manifest = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": preconditions,
            "propagationPolicy": "Background",
        }
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        try:
            await self._json("DELETE", ref.path, body=options, content="application/json")
        except ApiError as error:
            if error.status != 404:
                raise

    async def _json(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: Manifest | None = None,
        content: str = "",
    ) -> Manifest:
        timeout = READ if method == "GET" else WRITE
        try:
            response = await self._send(method, path, query or [], body, content, timeout)
            try:
                data = await response.read()
            finally:
                response.release()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unreachable(type(error).__name__) from error
        _check(response.status, data)
        try:
            value = json.loads(data)
        except ValueError as error:
            raise Unreachable("an answer that is no JSON") from error
        if not isinstance(value, dict):
            raise Unreachable("an answer that is no object")
        return value

    async def _send(
        self,
        method: str,
        path: str,
        query: Query,
        body: Manifest | None,
        content: str,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's own limits: connect and read apart
    ) -> aiohttp.ClientResponse:
        headers = {"Accept": "application/json"} | ({"Content-Type": content} if content else {})
        _, url, sent, data, _ = await self._api.param_serialize(
            method,
            path,
            query_params=query,
            header_params=headers,
            body=body,
            # Not the default: without the name of the scheme no token is sent at all.
            auth_settings=["BearerToken"],
        )
        try:
            answer = await self._api.rest_client.request(
                method, url, headers=sent, body=data, _request_timeout=timeout
            )
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unreachable(type(error).__name__) from error
        response: aiohttp.ClientResponse = answer.response
        return response


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Yield whole lines however long: aiohttp's own reader refuses those above its buffer."""
    rest = bytearray()
    async for chunk in response.content.iter_any():
        rest += chunk
        while (end := rest.find(b"\n")) >= 0:
            line = bytes(rest[:end])
            del rest[: end + 1]
            if line.strip():
                yield line


def _event(line: bytes) -> Event:
    try:
        value = json.loads(line)
        kind, item = value["type"], value["object"]
    except (ValueError, KeyError, TypeError) as error:
        raise Unreachable("a broken event") from error
    if kind == "ERROR":
        raise _refusal(int(item.get("code") or 500), item)
    if kind not in {"ADDED", "MODIFIED", "DELETED", "BOOKMARK"}:
        raise Unreachable("an unknown event")
    return Event(kind, item)


def _check(status: int, data: bytes) -> None:
    if status < 400:
        return
    try:
        value = json.loads(data)
    except ValueError:
        value = {}
    raise _refusal(status, value if isinstance(value, dict) else {})


def _refusal(status: int, value: Mapping[str, Any]) -> ApiError:
    return ApiError(status, str(value.get("reason") or ""), str(value.get("message") or "")[:2000])
