"""The control plane's internal API, as the package route uses it: what is allowed, what was fetched, what was not."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Protocol

import aiohttp
import structlog
from pydantic import ValidationError

from broch_core.errors import Unavailable
from broch_workspaces.packages.spec import Denials, Fetch, PackageLists

_log = structlog.get_logger()

_ANSWER_SECONDS = 10.0
_LISTS_BYTES = 512 << 20


class NoAnswer(Exception):
    """The control plane did not answer, or not what was agreed; the text is for a log."""


class ControlPlane(Protocol):
    """Where lists come from, and where records go."""

    async def lists(self, after: str, wait: float) -> PackageLists | None:
        """Return all lists; waits for others than these. None: nothing changed.

        Raises:
            NoAnswer: nothing that can be relied on came.
        """

    async def record(self, fetch: Fetch) -> None:
        """Have it noted that a file is about to be served.

        Raises:
            Unavailable: it was not noted, so it must not be served.
        """

    async def denied(self, denials: Denials) -> None:
        """Say what was asked for in vain.

        Raises:
            NoAnswer: it was not taken.
        """


class HttpControlPlane:
    """By HTTPS with certificates on both sides and a token. Make it inside the event loop.

    Args:
        url: of the internal API (`https://<release>-web:8444`).
        context: shows our certificate and trusts our authority alone.
        token: file with the bearer token; read at every call, since it may be renewed.
    """

    def __init__(self, url: str, context: ssl.SSLContext, token: Path) -> None:
        self._url = url
        self._token = token
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def lists(self, after: str, wait: float) -> PackageLists | None:
        """Return all lists; waits for others than these. None: nothing changed."""
        status, body = await self._call(
            "GET",
            "/internal/v1/package-lists",
            params={"after": after, "wait": str(int(wait))},
            seconds=wait + _ANSWER_SECONDS,
        )
        if status in {204, 304}:
            return None
        if status != 200:
            raise NoAnswer(f"status {status}")
        try:
            found = await asyncio.to_thread(PackageLists.model_validate_json, body)
        except ValidationError as error:
            places = [".".join(str(part) for part in one["loc"]) for one in error.errors(include_input=False)]
            raise NoAnswer(f"lists that are not valid: {places[:5]}") from error
        return None if found.digest == after else found

    async def record(self, fetch: Fetch) -> None:
        """Have it noted that a file is about to be served."""
        try:
            status, _ = await self._call("POST", "/internal/v1/package-fetches", body=fetch.model_dump_json())
        except NoAnswer as error:
            reason = str(error)
        else:
            if status == 204:
                return
            reason = f"status {status}"
        _log.warning("packages.not_recorded", reason=reason)
        raise Unavailable(
            "The fetch cannot be recorded right now, and nothing is served without its record. Try again in a minute."
        )

    async def denied(self, denials: Denials) -> None:
        """Say what was asked for in vain."""
        status, _ = await self._call("POST", "/internal/v1/package-denials", body=denials.model_dump_json())
        if status not in {200, 204}:
            raise NoAnswer(f"status {status}")

    async def _call(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, str] | None = None,
        body: str | None = None,
        seconds: float = _ANSWER_SECONDS,
    ) -> tuple[int, bytes]:
        try:
            headers = {
                "Authorization": f"Bearer {self._token.read_text(encoding='ascii').strip()}",
                "Accept": "application/json",
            }
            if body is not None:
                headers["Content-Type"] = "application/json"
            async with self._session.request(
                method,
                self._url + path,
                params=params,
                data=body,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=seconds),
                allow_redirects=False,
            ) as answer:
                data = await answer.content.read(-1) if answer.status == 200 else b""
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise NoAnswer(type(error).__name__) from error
        if len(data) > _LISTS_BYTES:
            raise NoAnswer("lists that are too large")
        return answer.status, data
