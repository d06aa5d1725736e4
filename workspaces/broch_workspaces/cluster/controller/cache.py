"""What the API server last said of everything that Broch owns, kept small, and the watches that keep it so."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator

import structlog

from broch_workspaces.cluster.controller.api import Api, Event
from broch_workspaces.cluster.controller.failures import ApiError, expired
from broch_workspaces.cluster.controller.kinds import POD, Kind, Manifest, Ref, ref_of
from broch_workspaces.cluster.controller.metrics import Metrics
from broch_workspaces.cluster.controller.objects import Seen, seen
from broch_workspaces.cluster.controller.starts import Sightings
from broch_workspaces.cluster.spec import PART_OF, PROJECT_LABEL

SELECTOR = f"{PART_OF}=broch,{PROJECT_LABEL}"
log = structlog.get_logger()


class Cache:
    """Objects by reference, and references by project.

    Args:
        changed: is told the project of whatever changed.
        kinds: what is followed.
    """

    def __init__(self, changed: Callable[[str], None], kinds: Iterable[Kind]) -> None:
        self._changed = changed
        self._kinds = frozenset(kinds)
        self._seen: dict[Ref, Seen] = {}
        self._projects: dict[str, list[Ref]] = {}
        self._synced: set[Kind] = set()
        self.sightings = Sightings()
        """Also while another controller leads: who takes over need not wait anew."""
        self.complete = asyncio.Event()
        """Everything has been listed once."""

    def get(self, ref: Ref) -> Seen | None:
        """Return what was last seen of an object."""
        return self._seen.get(ref)

    def of(self, project: str) -> Iterator[tuple[Ref, Seen]]:
        """Yield everything that has a project's label."""
        for ref in tuple(self._projects.get(project, ())):
            yield ref, self._seen[ref]

    def projects(self) -> set[str]:
        """Return the projects of which anything is there."""
        return set(self._projects)

    def __len__(self) -> int:
        return len(self._seen)

    def put(self, kind: Kind, item: Manifest) -> Ref:
        """Take in an object as the server shows it."""
        ref, now = ref_of(kind, item), seen(kind, item)
        if kind is POD:
            self.sightings.see(ref, now.uid, asyncio.get_running_loop().time())
        before = self._seen.get(ref)
        if before == now:
            return ref
        self._seen[ref] = now
        if before is not None and before.project != now.project:
            self._forget(before.project, ref)
            self._changed(before.project)
        if before is None or before.project != now.project:
            self._projects.setdefault(now.project, []).append(ref)
        self._changed(now.project)
        return ref

    def drop(self, ref: Ref) -> None:
        """Take in that an object is gone."""
        before = self._seen.pop(ref, None)
        self.sightings.forget(ref)
        if before is not None:
            self._forget(before.project, ref)
            self._changed(before.project)

    def listed(self, kind: Kind, there: set[Ref]) -> None:
        """Take in that a whole list has been shown: what was not in it is gone."""
        for ref in [ref for ref in self._seen if ref.kind is kind and ref not in there]:
            self.drop(ref)
        self._synced.add(kind)
        if self._synced >= self._kinds:
            self.complete.set()

    def _forget(self, project: str, ref: Ref) -> None:
        refs = self._projects.get(project, [])
        if ref in refs:
            refs.remove(ref)
        if not refs:
            self._projects.pop(project, None)


class Informer:
    """Lists one kind, then watches it, for ever: trouble with the API server is waited out, never an end."""

    FIRST, LONGEST = 0.2, 15.0
    """Seconds before a broken watch is taken up again; doubled each time."""
    TRUST = 3
    """How often a version is taken up again without success: it may be one that a restored server never had."""

    def __init__(self, api: Api, kind: Kind, cache: Cache, metrics: Metrics) -> None:
        self._api = api
        self._kind = kind
        self._cache = cache
        self._metrics = metrics

    async def run(self) -> None:
        """Keep the cache current."""
        version, failures = "", 0
        while True:
            try:
                if not version:
                    version = await self._list()
                    failures = 0
                async for event in self._api.watch(self._kind, selector=SELECTOR, version=version):
                    version = self._take(event) or version
                    failures = 0
                # Ended by the server, in good order: a moment's pause keeps a broken proxy from making this a storm.
                await asyncio.sleep(self.FIRST)
            except ApiError as error:
                if self._is_unknown(error):
                    # A cluster without the extension has no objects of this kind. The zones that need one say so.
                    self._cache.listed(self._kind, set())
                    version = ""
                elif expired(error):
                    version = ""
                failures = await self._pause(failures, str(error))
            except Exception as error:  # noqa: BLE001 - an informer never exits: what broke is told, and tried again
                failures = await self._pause(failures, repr(error))
            if failures >= self.TRUST:
                version = ""

    def _is_unknown(self, error: ApiError) -> bool:
        return bool(self._kind.extension) and error.status == 404

    async def _list(self) -> str:
        there: set[Ref] = set()
        version = await self._api.list(
            self._kind, lambda item: there.add(self._cache.put(self._kind, item)), selector=SELECTOR
        )
        self._cache.listed(self._kind, there)
        return version

    def _take(self, event: Event) -> str:
        metadata = event.item.get("metadata") or {}
        if event.type == "DELETED":
            self._cache.drop(ref_of(self._kind, event.item))
        elif event.type != "BOOKMARK":
            self._cache.put(self._kind, event.item)
        return str(metadata.get("resourceVersion", ""))

    async def _pause(self, failures: int, reason: str) -> int:
        self._metrics.watch_restarts[self._kind.name] += 1
        log.warning("watch.broken", kind=self._kind.name, reason=reason[:200], failures=failures + 1)
        delay = min(self.LONGEST, self.FIRST * 2 ** min(failures, 10))
        await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load, guards nothing
        return failures + 1
