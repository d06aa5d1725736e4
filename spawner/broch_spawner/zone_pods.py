"""Making and removing the pod of a workspace, so that afterwards it is certain whether there is one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Mapping
from typing import Any

import structlog

from broch_spawner.refusals import AWAY, refusal_in_words
from broch_spawner.zone_watch import read_pod

log = structlog.get_logger()

_CALL_SECONDS = 5
_PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0)
_AGAIN = frozenset({429, 500, 502, 503, 504})
_LONGEST_PAUSE = 10.0


class PodNotMade(RuntimeError):
    """The API server does not make this pod; the text is for the researcher."""


async def make_pod(api: Any, pod: Mapping[str, Any]) -> str:
    """Create exactly this pod; return its uid.

    A call without an answer may have made it, so it is made again: the name is of this start alone, and "already
    exists" then means that it is ours.

    Raises:
        PodNotMade: the API server says no, or nothing for some fifteen seconds.
    """
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    unanswered = False
    for pause in (*_PAUSES, None):
        status, said = await _call(api.create_namespaced_pod, namespace, dict(pod))
        if status in (200, 201, 202):
            return str(said["metadata"]["uid"])
        if status == 409 and unanswered and not _met_another(status, said):
            there = await read_pod(api, namespace, name)
            if there is not None and not there.gone:
                return str(there.pod["metadata"]["uid"])
        elif status is not None and status not in _AGAIN and not _met_another(status, said):
            message = str(said.get("message") or "")
            log.warning("workspace.pod_refused", namespace=namespace, status=status, text=message[:500])
            raise PodNotMade(refusal_in_words(status, message))
        unanswered = unanswered or status != 409
        if pause is not None:
            await asyncio.sleep(pause)
    raise PodNotMade(AWAY)


def _met_another(status: int, said: Mapping[str, Any]) -> bool:
    """Tell whether a quota was being written by somebody else as well, which says nothing of this pod."""
    return status == 409 and said.get("reason") == "Conflict"


async def remove_pod(api: Any, namespace: str, name: str) -> None:
    """Delete a pod and return when it is gone, however long that takes.

    Its processes have as long to end as the pod itself says. Never shorter: a deletion without that time takes the pod
    off the API server while its processes may still run.
    """
    began, pause = time.monotonic(), 0.1
    while True:
        status, _ = await _call(api.delete_namespaced_pod, name, namespace)
        seen = await read_pod(api, namespace, name)
        if seen is not None and seen.gone:
            return
        if status not in (200, 202, 404):
            log.warning(
                "workspace.pod_stays",
                namespace=namespace,
                status=status,
                seconds=round(time.monotonic() - began),
            )
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)


async def events_of(api: Any, namespace: str, uid: str) -> list[Mapping[str, Any]]:
    """Return the events of one pod alone, oldest first; none when the API server does not answer."""
    selector = f"involvedObject.uid={uid}"
    status, said = await _call(api.list_namespaced_event, namespace, field_selector=selector)
    items: list[Mapping[str, Any]] = said.get("items") or [] if status == 200 else []
    mine = [event for event in items if (event.get("involvedObject") or {}).get("uid") == uid]
    return sorted(mine, key=lambda event: event.get("lastTimestamp") or event.get("eventTime") or "")


async def _call(method: Any, *args: Any, **more: Any) -> tuple[int | None, dict[str, Any]]:
    """Return status and answer of one call; (None, {}): nobody answered."""
    with contextlib.suppress(
        Exception
    ):  # whatever the library throws: it is known only that nothing is known
        answer = await method(*args, _preload_content=False, _request_timeout=_CALL_SECONDS, **more)
        async with answer:
            said = json.loads(await answer.read())
        return answer.status, said if isinstance(said, dict) else {}
    return None, {}
