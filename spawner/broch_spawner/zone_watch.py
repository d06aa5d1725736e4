"""What the hub knows of the pods of one zone: a list, then one watch that is taken up again for as long as it is wanted.

The hub has rights in zones only, one binding each, so there is a watch for each zone with a workspace that starts or
runs, shared by all of them. A watch never gives up and never lists anew without need: it goes on from where it was, and
only when the API server has forgotten that place (410) from a fresh list.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import structlog

from broch_workspaces.cluster.spec import PART_OF, ROLE_LABEL

log = structlog.get_logger()

Pod = dict[str, Any]

SELECTOR = f"{ROLE_LABEL}=workspace,{PART_OF}=broch"
WATCH_SECONDS = 60
"""The API server ends a watch after this long, and we take it up again. A connection that died unnoticed costs no more."""
_READ_SECONDS = 75
_LIST_SECONDS = 10
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 15.0


class Forgotten(Exception):
    """The API server no longer knows the place to go on from (410 Gone)."""


@dataclass(frozen=True)
class Seen:
    """A pod as last seen."""

    pod: Pod
    gone: bool = False
    """It was deleted; the pod is what was seen last."""


@dataclass
class PodCache:
    """Pods of one zone by name, kept up by events (pure)."""

    version: str = ""
    """Where to go on from; empty: a fresh list is needed."""
    seen: dict[str, Seen] = field(default_factory=dict)

    def fill(self, items: list[Pod], version: str) -> None:
        """Take a fresh list: what is not in it is gone."""
        fresh = {pod["metadata"]["name"]: Seen(pod) for pod in items}
        gone = {
            name: Seen(was.pod, gone=True)
            for name, was in self.seen.items()
            if name not in fresh and was.pod.get("metadata")
        }
        self.seen = {**gone, **fresh}
        self.version = version

    def apply(self, event: dict[str, Any]) -> bool:
        """Take one event of a watch; return whether a pod changed.

        Raises:
            Forgotten: go on from a fresh list.
            ValueError: the API server reports another error, or what it says is no event.
        """
        kind, thing = event.get("type"), event.get("object")
        if not isinstance(thing, dict):
            raise ValueError("no event")  # noqa: TRY004 - what came over the wire is no event
        if kind == "ERROR":
            self.version = "" if thing.get("code") == 410 else self.version
            if not self.version:
                raise Forgotten
            raise ValueError(f"the watch reports {thing.get('code')} {thing.get('reason')}")
        metadata = thing["metadata"]
        self.version = metadata["resourceVersion"]
        if kind == "BOOKMARK":
            return False
        self.seen[metadata["name"]] = Seen(thing, gone=kind == "DELETED")
        return True

    def forget(self, name: str) -> None:
        """Nobody asks for this pod any more."""
        self.seen.pop(name, None)


class ZoneWatch:
    """Watches the workspaces' pods of one zone.

    Args:
        namespace: of the zone.
        api: `CoreV1Api` of kubernetes_asyncio.
    """

    def __init__(self, namespace: str, api: Any) -> None:
        self.namespace = namespace
        self.users = 0
        self.fresh = False
        """Whether the watch stands, so that the cache is what the API server says."""
        self.restarts = 0
        self._api = api
        self._cache = PodCache()
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self.fresh = False

    def seen(self, name: str) -> Seen | None:
        """Return a pod as last seen; None: it never was."""
        return self._cache.seen.get(name)

    def forget(self, name: str) -> None:
        """Drop what is known of a pod."""
        self._cache.forget(name)

    async def change(self, seconds: float) -> None:
        """Wait for a change in the zone, so long at most."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), seconds)

    def _tell(self) -> None:
        told, self._changed = self._changed, asyncio.Event()
        told.set()

    async def _run(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            began = time.monotonic()
            try:
                if not self._cache.version:
                    await self._list()
                async for event in self._events(self._cache.version):
                    pause = _FIRST_PAUSE
                    if self._cache.apply(event):
                        self._tell()
                if time.monotonic() - began > 1:
                    continue  # its time was over: go on from where it was
            except Forgotten:
                log.info("zone.watch_anew", namespace=self.namespace)
                self._cache.version = ""
            except Exception as error:  # noqa: BLE001 - see the next line
                # Never an end: whatever it is, pods run on, and polls ask the API server themselves meanwhile.
                log.warning(
                    "zone.watch_cut",
                    namespace=self.namespace,
                    error=type(error).__name__,
                    text=str(error)[:200],
                )
            self.fresh = False
            self.restarts += 1
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - so that not all come at once
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _list(self) -> None:
        answer = await self._api.list_namespaced_pod(
            self.namespace, label_selector=SELECTOR, _preload_content=False, _request_timeout=_LIST_SECONDS
        )
        async with answer:
            text = await answer.read()
            if answer.status != 200:
                raise ValueError(f"the list of pods answers {answer.status}")
        listed = json.loads(text)
        if listed.get("kind") != "PodList":  # anything else with a version would say that there are no pods
            raise ValueError("the list of pods is none")
        self._cache.fill(listed.get("items") or [], listed["metadata"]["resourceVersion"])
        self._tell()

    async def _events(self, version: str) -> AsyncIterator[dict[str, Any]]:
        answer = await self._api.list_namespaced_pod(
            self.namespace,
            label_selector=SELECTOR,
            watch=True,
            resource_version=version,
            allow_watch_bookmarks=True,
            timeout_seconds=WATCH_SECONDS,
            _preload_content=False,
            _request_timeout=(_LIST_SECONDS, _READ_SECONDS),
        )
        async with answer:
            if answer.status == 410:
                raise Forgotten
            if answer.status != 200:
                raise ValueError(f"the watch of pods answers {answer.status}")
            self.fresh = True
            async for line in answer.content:
                yield json.loads(line)


class ZoneWatches:
    """The watches of all zones that have a workspace.

    Args:
        make: makes the watch of a namespace.
    """

    def __init__(self, make: Callable[[str], ZoneWatch]) -> None:
        self._make = make
        self._watches: dict[str, ZoneWatch] = {}

    def enter(self, namespace: str) -> ZoneWatch:
        """Return the watch of a zone, begun if nobody had it; every `enter` needs a `leave`."""
        watch = self._watches.get(namespace)
        if watch is None:
            watch = self._watches[namespace] = self._make(namespace)
            watch.start()
        watch.users += 1
        return watch

    def leave(self, watch: ZoneWatch) -> None:
        """Say that one user is done; the last one ends the watch."""
        watch.users -= 1
        if watch.users <= 0 and self._watches.get(watch.namespace) is watch:
            del self._watches[watch.namespace]
            watch.stop()


async def read_pod(api: Any, namespace: str, name: str) -> Seen | None:
    """Ask the API server for one pod; None: nothing is known, because it did not answer or not in its own words."""
    try:
        answer = await api.read_namespaced_pod(
            name, namespace, _preload_content=False, _request_timeout=_LIST_SECONDS
        )
        async with answer:
            said = json.loads(await answer.read())
        return _judge(answer.status, said, name)
    except Exception as error:  # noqa: BLE001 - see the next line
        # JupyterHub ends workspaces whose `poll` raises: what a library throws must not decide that.
        log.warning("zone.pod_unread", namespace=namespace, error=type(error).__name__)
        return None


def _judge(status: int, said: dict[str, Any], name: str) -> Seen | None:
    """Tell what an answer proves. A 404 of something on the way proves nothing."""
    if status == 200 and said.get("metadata", {}).get("name") == name:
        return Seen(said)
    missing = said.get("kind") == "Status" and said.get("reason") == "NotFound"
    return Seen({}, gone=True) if status == 404 and missing else None
