"""What the controller asks of an API server. `KubeClient` does it; a model of one does in tests of faults."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Literal, NamedTuple, Protocol

from broch_workspaces.cluster.controller.failures import NotLeading
from broch_workspaces.cluster.controller.kinds import Kind, Manifest, Ref
from broch_workspaces.cluster.controller.metrics import Metrics


class Event(NamedTuple):
    """One line of a watch."""

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    item: Manifest


Each = Callable[[Manifest], None]
"""Is shown one object after the other, so that no list of all is ever held."""


class Api(Protocol):
    """One API server.

    Every method raises `ApiError` for a no and `Unreachable` where nobody answered.
    """

    async def get(self, ref: Ref) -> Manifest | None:
        """Return an object, or None."""

    async def list(self, kind: Kind, each: Each, *, selector: str = "", namespace: str = "") -> str:
        """Show all objects, page by page, and return the version from which to watch them."""

    def watch(self, kind: Kind, *, selector: str, version: str) -> AsyncIterator[Event]:
        """Follow what changes after a version. Ends when the server ends it."""

    async def apply(self, ref: Ref, manifest: Manifest) -> Manifest:
        """Apply on the server's side as `broch`, taking over what others set, and return what is there now."""

    async def replace(self, ref: Ref, manifest: Manifest) -> Manifest:
        """Put a whole object in the place of the version that it names."""

    async def create(self, ref: Ref, manifest: Manifest) -> Manifest:
        """Make an object that must not be there yet."""

    async def merge(self, ref: Ref, patch: Manifest) -> Manifest:
        """Change some fields (JSON merge patch)."""

    async def delete(self, ref: Ref, *, uid: str, version: str = "", grace: int | None = None) -> None:
        """Delete exactly this object, and of this version where one is named. One that is gone is fine."""


class Fenced:
    """An API server to which only the leader writes: each write asks first."""

    def __init__(self, api: Api, leads: Callable[[], bool], metrics: Metrics) -> None:
        self._api = api
        self._leads = leads
        self._metrics = metrics

    async def get(self, ref: Ref) -> Manifest | None:
        """Return an object, or None."""
        return await self._api.get(ref)

    async def list(self, kind: Kind, each: Each, *, selector: str = "", namespace: str = "") -> str:
        """Show all objects."""
        return await self._api.list(kind, each, selector=selector, namespace=namespace)

    def watch(self, kind: Kind, *, selector: str, version: str) -> AsyncIterator[Event]:
        """Follow what changes."""
        return self._api.watch(kind, selector=selector, version=version)

    async def apply(self, ref: Ref, manifest: Manifest) -> Manifest:
        """Apply, if leading."""
        return await self._if_leading("apply", lambda: self._api.apply(ref, manifest))

    async def replace(self, ref: Ref, manifest: Manifest) -> Manifest:
        """Replace, if leading."""
        return await self._if_leading("replace", lambda: self._api.replace(ref, manifest))

    async def create(self, ref: Ref, manifest: Manifest) -> Manifest:
        """Create, if leading."""
        return await self._if_leading("create", lambda: self._api.create(ref, manifest))

    async def merge(self, ref: Ref, patch: Manifest) -> Manifest:
        """Change some fields, if leading."""
        return await self._if_leading("merge", lambda: self._api.merge(ref, patch))

    async def delete(self, ref: Ref, *, uid: str, version: str = "", grace: int | None = None) -> None:
        """Delete, if leading."""
        self._ask("delete")
        await self._api.delete(ref, uid=uid, version=version, grace=grace)

    async def _if_leading(self, verb: str, write: Callable[[], Awaitable[Manifest]]) -> Manifest:
        self._ask(verb)
        return await write()

    def _ask(self, verb: str) -> None:
        if not self._leads():
            raise NotLeading("another controller may act now")
        self._metrics.writes[verb] += 1
