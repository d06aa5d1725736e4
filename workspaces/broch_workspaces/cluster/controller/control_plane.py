"""The control plane's internal API, as the controller uses it: what shall be, and what is."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import httpx
from pydantic import ValidationError

from broch_workspaces.cluster.spec import ZoneReport, ZoneSpecs

ANSWER_SECONDS = 10.0


class NoAnswer(Exception):
    """The control plane did not answer, or not what was agreed."""


class ControlPlane(Protocol):
    """Where desired state comes from and reports go to."""

    async def zones(self, after: str, wait: float) -> ZoneSpecs:
        """Return all zones; waits for another digest than this one."""

    async def report(self, project_id: str, report: ZoneReport) -> None:
        """Say how a zone is. Saying it twice is fine."""


class HttpControlPlane:
    """By HTTPS with certificates on both sides and a token.

    Args:
        url: of the internal API (`https://<release>-web:8444`).
        tls: context of a caller with this component's certificate, which somebody keeps renewed.
        token: file with the bearer token; read at every call, since it may be renewed.
    """

    def __init__(self, url: str, tls: ssl.SSLContext, token: Path) -> None:
        self._token = token
        self._http = httpx.AsyncClient(base_url=url, verify=tls, timeout=ANSWER_SECONDS, trust_env=False)

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def zones(self, after: str, wait: float) -> ZoneSpecs:
        """Return all zones; waits for another digest than this one.

        Raises:
            NoAnswer: nothing that can be relied on came.
        """
        response = await self._call(
            "GET",
            "/internal/v1/zones",
            params={"after": after, "wait": str(int(wait))},
            timeout=httpx.Timeout(ANSWER_SECONDS, read=wait + ANSWER_SECONDS),
        )
        try:
            return ZoneSpecs.model_validate_json(response.content)
        except ValidationError as error:
            # Its input could be personal; the places alone say what is wrong.
            places = [".".join(str(part) for part in one["loc"]) for one in error.errors(include_input=False)]
            raise NoAnswer(f"zones that are not valid: {places[:5]}") from error

    async def report(self, project_id: str, report: ZoneReport) -> None:
        """Say how a zone is. Saying it twice is fine.

        Raises:
            NoAnswer: it was not taken.
        """
        await self._call(
            "POST", f"/internal/v1/zones/{project_id}/report", json=report.model_dump(mode="json")
        )

    async def _call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        json: object = None,
        timeout: httpx.Timeout | None = None,  # noqa: ASYNC109 - httpx's own limits
    ) -> httpx.Response:
        try:
            headers = {"Authorization": f"Bearer {self._token.read_text().strip()}"}
            response = await self._http.request(
                method,
                path,
                params=params,
                json=json,
                headers=headers,
                timeout=timeout or ANSWER_SECONDS,
            )
        except (httpx.HTTPError, OSError) as error:
            raise NoAnswer(type(error).__name__) from error
        if response.status_code != 200:
            raise NoAnswer(f"status {response.status_code}")
        return response
