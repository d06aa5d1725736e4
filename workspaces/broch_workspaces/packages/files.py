"""Files for zones: from what is kept, or fetched once for all who wait, and open only when every digest was right."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Collection, Coroutine, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import structlog

from broch_core.errors import DomainError, NotFound, Unavailable
from broch_workspaces.packages.allowed import Listed
from broch_workspaces.packages.errors import RegistryRefused, WrongBytes
from broch_workspaces.packages.outside import Outside
from broch_workspaces.packages.registries import Registry
from broch_workspaces.packages.scratch import Kept, Scratch
from broch_workspaces.packages.settings import PackagesSettings
from broch_workspaces.packages.spec import Ecosystem, Resource

_log = structlog.get_logger()
_Fetch = Callable[[], Coroutine[Any, Any, Kept]]


@dataclass(frozen=True)
class _Learnt:
    """What came of asking outside, and until when nobody is asked again, by the clock of the event loop."""

    until: float
    kept: Kept | None = None
    error: DomainError | None = None


@dataclass(frozen=True)
class Opened:
    """A whole file whose bytes are those that were allowed."""

    kept: Kept
    file: BinaryIO


class Files:
    """Where files come from.

    Args:
        settings: limits.
        outside: asks registries.
        scratch: keeps files.
        registries: who knows where files are.
        count: told of files by where they came from, and of wrong bytes.
    """

    def __init__(
        self,
        settings: PackagesSettings,
        outside: Outside,
        scratch: Scratch,
        registries: Mapping[Ecosystem, Registry],
        count: Callable[[str, str], None],
    ) -> None:
        self._settings = settings
        self._outside = outside
        self._scratch = scratch
        self._registries = registries
        self._count = count
        self._places = asyncio.Semaphore(settings.downloads)
        self._places_of: weakref.WeakValueDictionary[str, asyncio.Semaphore] = weakref.WeakValueDictionary()
        self._flights: dict[Hashable, asyncio.Task[Kept]] = {}
        self._learnt: dict[Hashable, _Learnt] = {}

    async def package(self, project_id: str, listed: Listed) -> Opened:
        """Return a file of a package.

        Args:
            project_id: for whom.
            listed: which.

        Raises:
            NotFound: the registry has it no more.
            RegistryRefused: its answer cannot be taken.
            WrongBytes: a digest is another.
            Unavailable: there is no registry, no answer or no room.
        """
        registry = self._registry(listed.package.ecosystem)

        async def fetch() -> Kept:
            if (meanwhile := self._scratch.find(listed.digests)) is not None:
                return meanwhile
            addresses = await registry.addresses(listed.package, listed.file)
            hosts = self._settings.hosts(listed.package.ecosystem)
            return await self._first(addresses, hosts, self._settings.largest_file, listed.digests)

        # Not shared between projects: one would wait for a place of the other's.
        key = (project_id, listed.digests, listed.file)
        return await self._opened(listed.digests, key, self._in_place(project_id, fetch))

    async def resource(self, project_id: str, resource: Resource) -> Opened:
        """Return the bytes of an address that a project nominated, as they were minutes ago at most.

        Its owner may be anybody, and sees when it is asked for: at any moment that a zone chooses, that would be a way out.

        Raises:
            NotFound: there is nothing.
            RegistryRefused: the answer cannot be taken, such as one that leads to another host.
            WrongBytes: the digest is another.
            Unavailable: there is no answer or no room.
        """
        digests = frozenset({f"sha256:{resource.sha256}"} if resource.sha256 else ())
        host = resource.url.removeprefix("https://").partition("/")[0].removesuffix(":443")

        async def fetch() -> Kept:
            return await self._first([resource.url], {host}, resource.largest, digests)

        good_for = self._settings.resource_seconds
        in_place = self._in_place(project_id, fetch)
        return await self._opened(digests, (project_id, resource), in_place, good_for)

    def _registry(self, ecosystem: Ecosystem) -> Registry:
        found = self._registries.get(ecosystem)
        if found is None:
            raise Unavailable(f"No registry for {ecosystem.value} is set. Ask your administrator.")
        return found

    async def _opened(
        self,
        digests: Collection[str],
        key: Hashable,
        fetch: _Fetch,
        good_for: float = 0.0,
    ) -> Opened:
        kept = self._scratch.find(digests) or self._recent(key)
        self._count("files", "fetched" if kept is None else "kept")
        if kept is None:
            kept = await self._once(key, fetch, good_for)
        try:
            return Opened(kept, kept.open())
        except OSError:
            raise Unavailable("There is little room for files right now. Try again in a minute.") from None

    def _recent(self, key: Hashable) -> Kept | None:
        """Return what was fetched lately, if it still counts.

        Raises:
            DomainError: as it did then.
        """
        learnt = self._learnt.get(key)
        if learnt is None or learnt.until <= asyncio.get_running_loop().time():
            return None
        if learnt.error is not None:
            raise learnt.error.with_traceback(None)
        return None if learnt.kept is None else self._scratch.find(learnt.kept.digests)

    async def _once(self, key: Hashable, fetch: _Fetch, good_for: float) -> Kept:
        """Fetch once for all of a project who ask meanwhile. It goes on when who asked first is gone."""
        flight = self._flights.get(key)
        if flight is None:
            flight = asyncio.create_task(fetch())
            self._flights[key] = flight
            flight.add_done_callback(lambda done: self._landed(key, done, good_for))
        return await asyncio.shield(flight)

    def _landed(self, key: Hashable, flight: asyncio.Task[Kept], good_for: float) -> None:
        self._flights.pop(key, None)
        now = asyncio.get_running_loop().time()
        self._learnt = {one: learnt for one, learnt in self._learnt.items() if learnt.until > now}
        if flight.cancelled():
            return
        error = flight.exception()
        if error is None:
            if good_for:
                self._learnt[key] = _Learnt(now + good_for, kept=flight.result())
            return
        if isinstance(error, WrongBytes):
            self._count("files", "wrong-bytes")
        if isinstance(error, DomainError):
            final = 0.0 if isinstance(error, Unavailable) else good_for
            self._learnt[key] = _Learnt(now + max(final, self._settings.failed_seconds), error=error)
        else:
            _log.error("packages.fetch_failed", exc_info=error)

    def _in_place(self, project_id: str, fetch: _Fetch) -> _Fetch:
        """Return a fetch that waits until its project has a place, and then for one of all."""

        async def in_place() -> Kept:
            fresh = asyncio.Semaphore(self._settings.project_downloads)
            mine = self._places_of.setdefault(project_id, fresh)
            try:
                async with mine, self._places, asyncio.timeout(self._settings.fetch_seconds):
                    return await fetch()
            except TimeoutError:
                raise Unavailable("The registry is too slow. Try again later.") from None

        return in_place

    async def _first(
        self, addresses: Sequence[str], hosts: Collection[str], largest: int, digests: Collection[str]
    ) -> Kept:
        for address in addresses:
            try:
                async with self._outside.get(address, hosts) as answer:
                    # A length that is said too large is not fetched to find that out.
                    if (answer.content_length or 0) > largest:
                        raise RegistryRefused(
                            f"The file is larger than the {largest:,} bytes that it may have."
                        )
                    return await self._scratch.take(answer.content.iter_any(), largest, digests)
            except NotFound:
                continue
            except WrongBytes:
                _log.error("packages.wrong_bytes", address=address)
                raise
        raise NotFound(
            "The registry does not have this file any more. Ask your administrator for another version."
        )

    async def close(self) -> None:
        """Give up what is under way."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)
