"""The control plane's internal API (docs/architecture.md, docs/cluster.md)."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Literal
from urllib.parse import quote

from pydantic import ValidationError

from broch_spawner.endpoint import AWAY, AnswerTooLong, Endpoint
from broch_workspaces.plan import SpawnPlan

_LONGEST_ANSWER = 1 << 20

Event = Literal["running", "waiting", "stopped", "failed"]
"""`waiting`: it still starts, and the detail says what it waits for."""


class ControlPlaneError(RuntimeError):
    """The control plane said no, or did not answer; the text is for the researcher."""


class ControlPlane:
    """Client of the internal API.

    Args:
        endpoint: where it listens.
        token: bearer token of the hub.
    """

    def __init__(self, endpoint: Endpoint, token: str) -> None:
        self._endpoint = endpoint
        self._token = token

    async def _request(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        try:
            return await self._endpoint.call(
                method,
                path,
                limit=_LONGEST_ANSWER,
                headers={"Authorization": f"Bearer {self._token}"},
                json=body,
            )
        except AWAY as error:
            raise ControlPlaneError(
                "The control plane does not answer. Wait a minute and open the workspace again."
            ) from error
        except AnswerTooLong as error:
            raise ControlPlaneError("The control plane's answer is too long.") from error

    async def spawn_plan(self, principal: str) -> SpawnPlan:
        """Ask what the workspace of `principal` may start with, now.

        Raises:
            ControlPlaneError: it may not start (with the reason), or the answer is not a plan for it.
        """
        path = f"/internal/v1/spawn-plans/{quote(principal, safe='')}"
        status, text = await self._request("GET", path)
        if status != 200:
            raise ControlPlaneError(_reason(text) or "This workspace may not start now.")
        try:
            plan = SpawnPlan.model_validate_json(text)
        except ValidationError as error:
            fields = ", ".join(".".join(map(str, one["loc"])) or "plan" for one in error.errors())
            raise ControlPlaneError(f"The control plane's plan is not understood: {fields}.") from None
        if plan.principal != principal:
            raise ControlPlaneError("The control plane's plan is for somebody else.")
        return plan

    async def post_event(self, principal: str, event: Event, detail: str, start: str) -> None:
        """Tell what became of a workspace's start.

        Raises:
            ControlPlaneError: it was not taken.
        """
        path = f"/internal/v1/workspaces/{quote(principal, safe='')}/events"
        status, text = await self._request(
            "POST", path, {"event": event, "detail": detail[:2000], "start": start}
        )
        if status >= 300:
            raise ControlPlaneError(_reason(text) or f"The event was refused ({status}).")

    async def post_idle(self, principal: str, stop_at: datetime | None, start: str) -> None:
        """Tell that a workspace is idle and will be stopped at a moment; None: it no longer is.

        Raises:
            ControlPlaneError: it was not taken.
        """
        path = f"/internal/v1/workspaces/{quote(principal, safe='')}/idle"
        body = {"stop_at": stop_at.isoformat() if stop_at else None, "start": start}
        status, text = await self._request("POST", path, body)
        if status >= 300:
            raise ControlPlaneError(_reason(text) or f"The notice was refused ({status}).")

    async def standing_stays(self, principals: list[str]) -> set[str]:
        """Ask which stays in shared workspaces go on; 500 at a time at most.

        Raises:
            ControlPlaneError: there is no answer that is understood.
        """
        status, text = await self._request("POST", "/internal/v1/stays/standing", {"principals": principals})
        try:
            told = json.loads(text)["principals"] if status == 200 else None
        except (ValueError, KeyError, TypeError):
            told = None
        if not isinstance(told, list):
            raise ControlPlaneError(_reason(text) or f"The question was refused ({status}).")
        return {str(one) for one in told}

    async def post_left(self, principal: str) -> None:
        """Tell that somebody has had no page of a shared workspace open for a while.

        Raises:
            ControlPlaneError: it was not taken.
        """
        path = f"/internal/v1/stays/{quote(principal, safe='')}/left"
        status, text = await self._request("POST", path, {})
        if status >= 300:
            raise ControlPlaneError(_reason(text) or f"The word was refused ({status}).")

    async def post_shown(self, principal: str, size: int) -> None:
        """Tell that a workspace showed `size` more bytes in browsers.

        Raises:
            ControlPlaneError: it was not taken.
        """
        path = f"/internal/v1/workspaces/{quote(principal, safe='')}/shown"
        status, text = await self._request("POST", path, {"bytes": size})
        if status >= 300:
            raise ControlPlaneError(_reason(text) or f"The count was refused ({status}).")


def _reason(text: bytes) -> str:
    """Return the `detail` of problem details (RFC 9457), bounded."""
    try:
        detail = json.loads(text).get("detail")
    except (ValueError, AttributeError):
        return ""
    return detail[:500] if isinstance(detail, str) else ""
