"""One zone made as its spec says: applied in order, pruned, its imports carried in, and judged by what was seen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import structlog

from broch_core.errors import DomainError
from broch_workspaces.cluster.controller import deliveries
from broch_workspaces.cluster.controller.api import Api
from broch_workspaces.cluster.controller.binding import Bindings
from broch_workspaces.cluster.controller.cache import Cache
from broch_workspaces.cluster.controller.classes import StorageClasses
from broch_workspaces.cluster.controller.ending import STILL_RUNNING, Ending, end_pods
from broch_workspaces.cluster.controller.failures import ApiError, Permanent, Temporary, Unreachable, plain
from broch_workspaces.cluster.controller.inventory import Wanted, inventory, surplus
from broch_workspaces.cluster.controller.kinds import (
    CLAIM,
    NAMESPACE,
    POD,
    QUOTA,
    VOLUME,
    Manifest,
    Ref,
)
from broch_workspaces.cluster.controller.making import Maker, said, written
from broch_workspaces.cluster.controller.objects import Seen, digest
from broch_workspaces.cluster.controller.readiness import judge
from broch_workspaces.cluster.controller.starts import (
    Judgement,
    ZonePod,
    ZoneSight,
    judge_pod,
    sight_of,
    zone_pod,
)
from broch_workspaces.cluster.spec import Delivery, ZonePhase, ZoneSpec, ZoneState, namespace_of, pod_digest

Build = Callable[[ZoneSpec], list[Manifest]]
"""Everything that a zone is made of."""
BuildImporter = Callable[[ZoneSpec, Delivery, int], Manifest]
"""The pod of one attempt at a delivery."""
LOOK_AGAIN = 5.0
"""Seconds after which a zone that waits is looked at although no event came."""
WATCHFUL = 2.0
"""Seconds between looks while something must be seen gone, or a pod waits for its judgement."""
LATER = 15.0
"""Seconds until an import that could not be begun is tried again."""
log = structlog.get_logger()


@dataclass(frozen=True)
class Outcome:
    """How a zone is after a look."""

    phase: ZonePhase
    message: str = ""
    delivered: tuple[str, ...] = ()
    undelivered: dict[str, str] = field(default_factory=dict)
    again: float | None = None
    """Seconds until the next look although nothing happened; None: events are enough."""


def soonest(*seconds: float | None) -> float | None:
    """Return the least; None where nobody asks for a look."""
    return min((one for one in seconds if one is not None), default=None)


class ZoneKeeper:
    """Makes zones so. It knows manifests and answers, nothing of what a project is.

    Args:
        api: the API server, fenced.
        cache: what it showed.
        build: manifests of a zone.
        importer: manifest of a delivery's pod.
        at_once: importers in one zone together.
    """

    def __init__(
        self, api: Api, cache: Cache, build: Build, importer: BuildImporter, *, at_once: int = 2
    ) -> None:
        self._api = api
        self._cache = cache
        self._build = build
        self._importer = importer
        self._at_once = at_once
        self._classes = StorageClasses(api)
        self._bindings = Bindings(api, cache)
        self._maker = Maker(api, cache, self._bindings)
        self._ending = Ending(api, cache)
        self._ledgers: dict[str, deliveries.Ledger] = {}
        """Of zones with deliveries: of thousands, few have any at a time."""

    async def watch_starts(self, spec: ZoneSpec, asked: float | None) -> ZoneSight:
        """End the workspace pods that may not run, and say what is there where somebody waits for its end.

        This hangs on nothing else of the zone: one that cannot be made as it shall be still lets go.

        Args:
            spec: the newest that is known.
            asked: when the control plane was asked for it.
        """
        project, now = spec.project_id.lower(), asyncio.get_running_loop().time()
        suspects = [
            judgement
            for ref, seen_pod in self._cache.of(project)
            if ref.kind is POD
            and ref.namespace == spec.namespace
            and (judgement := self._judge_pod(spec, ref, seen_pod.uid, seen_pod.role, asked, now))
            is not Judgement.STAYS
        ]
        if not suspects and not spec.revocations:
            return ZoneSight()
        # The API server itself is asked, not the cache: what is told as gone must be gone.
        pods = await self._pods_of(spec)
        for pod in pods:
            judgement = self._judge_pod(spec, pod.ref, pod.uid, pod.role, asked, now)
            if judgement is Judgement.GOES and not pod.leaving:
                log.warning("workspace.ended", project=spec.project_id, pod=pod.ref.name)
                await written(pod.ref, self._api.delete(pod.ref, uid=pod.uid))
        if not spec.revocations:
            return ZoneSight(again=WATCHFUL)
        volumes = [
            ref.name for ref, one in self._cache.of(project) if ref.kind in {VOLUME, CLAIM} and not one.kept
        ]
        return sight_of(spec, pods, volumes, WATCHFUL)

    def _judge_pod(
        self, spec: ZoneSpec, ref: Ref, uid: str, role: str, asked: float | None, now: float
    ) -> Judgement:
        since = self._cache.sightings.since(ref, uid)
        digest = pod_digest(ref.namespace, ref.name)
        return judge_pod(spec, role, digest, asked=asked, since=since, now=now)

    async def _pods_of(self, spec: ZoneSpec) -> list[ZonePod]:
        pods: list[ZonePod] = []
        every = self._api.list(POD, lambda item: pods.append(zone_pod(item)), namespace=spec.namespace)
        await written(Ref(POD, spec.namespace, ""), every)
        return pods

    async def settle(self, spec: ZoneSpec) -> Outcome:
        """Do what can be done for a zone now, and say how it is.

        Raises:
            Temporary: try again.
            Permanent: a person must do something first.
        """
        if spec.state is ZoneState.ENDED:
            return await self._end(spec)
        project = spec.project_id.lower()
        wanted, failed = self._wanted(spec)
        try:
            await self._maker.make(project, self._may_be_made(spec, wanted, failed), extensions=False)
        except Unreachable:
            raise
        except (Permanent, Temporary) as error:
            failed = failed or error
        # Of ours alone, so it is safe whatever failed: a zone that cannot be made as it shall be lets go all the same.
        leaving = await self._prune(spec, wanted)
        stopping = (
            spec.state is ZoneState.FROZEN
            and (failed is None or self._is_there(spec))
            and await self._stop(spec)
        )
        if failed is not None:
            raise failed
        if stopping:
            return Outcome(ZonePhase.MAKING, STILL_RUNNING, again=1.0)
        # Only now: what must go goes also on a cluster that lost an extension.
        await self._maker.make(project, wanted, extensions=True)
        waits_for = await self._judge(project, wanted, leaving)
        if waits_for:
            return Outcome(
                ZonePhase.MAKING, waits_for, again=await self._bindings.touch(wanted) or LOOK_AGAIN
            )
        frozen = spec.state is ZoneState.FROZEN
        outcome = Outcome(ZonePhase.READY) if frozen else await self._deliver(spec)
        return replace(outcome, again=soonest(outcome.again, self._maker.again(project)))

    def accepted(self, spec: ZoneSpec, outcome: Outcome) -> bool:
        """Take in that the control plane has taken a report. Returns whether there is now more to do."""
        if not outcome.delivered and not outcome.undelivered:
            return False
        done = self._ledgers.setdefault(spec.project_id.lower(), deliveries.Ledger()).done
        before = len(done)
        done.update(outcome.delivered, outcome.undelivered)
        return len(done) > before

    def forget(self, project: str) -> None:
        """Forget a zone that nobody wants any more."""
        self._maker.forget(project)
        self._ledgers.pop(project, None)
        self._bindings.forget(namespace_of(project))

    def _wanted(self, spec: ZoneSpec) -> tuple[Wanted, Permanent | Temporary | None]:
        """Return what the zone is made of, and why it may not be made: what must go is known also then.

        Raises:
            Permanent: nobody can say what it is made of.
        """
        try:
            return inventory(spec, self._build(spec)), None
        except DomainError as error:
            refused = Permanent(str(error))
        try:
            return inventory(spec, self._build(_leniently(spec))), refused
        except DomainError as error:
            raise refused from error

    def _may_be_made(self, spec: ZoneSpec, wanted: Wanted, refused: Exception | None) -> Wanted:
        """Return what is applied: of a zone that is refused only what keeps it frozen, where there is one."""
        if refused is None:
            return wanted
        return _frame(wanted) if spec.state is ZoneState.FROZEN and self._is_there(spec) else {}

    def _is_there(self, spec: ZoneSpec) -> bool:
        """Tell whether the zone's namespace is there, and not somebody else's."""
        space = self._cache.get(Ref(NAMESPACE, "", spec.namespace))
        return space is not None and space.ours

    async def _prune(self, spec: ZoneSpec, wanted: Wanted) -> list[Ref]:
        gone = surplus(spec, wanted, self._cache.of(spec.project_id.lower()))
        for ref, now in gone:
            if not now.leaving:
                log.info("zone.pruned", project=spec.project_id, object=str(ref))
                await written(ref, self._api.delete(ref, uid=now.uid, version=now.version))
        claims = {ref.name for ref, _ in gone if ref.kind is CLAIM}
        if claims:
            # A right that ended takes its mounts with it, whoever still runs.
            mounting = end_pods(self._api, spec.namespace, mounting=claims)
            await written(Ref(POD, spec.namespace, ""), mounting)
        return [ref for ref, _ in gone]

    async def _stop(self, spec: ZoneSpec) -> int:
        return await written(Ref(POD, spec.namespace, ""), end_pods(self._api, spec.namespace))

    async def _judge(self, project: str, wanted: Wanted, leaving: list[Ref]) -> str:
        meant = {ref: digest(manifest) for ref, manifest in wanted.items()}
        modes: dict[str, str] = {}
        while True:
            verdict = judge(meant, self._maker.proofs(project), self._cache.get, leaving, modes)
            if not verdict.classes:
                return verdict.waits_for
            for name in verdict.classes:
                modes[name] = await self._classes.mode(name)

    async def _deliver(self, spec: ZoneSpec) -> Outcome:
        project = spec.project_id.lower()
        pods = self._importers(project)
        if not pods and not spec.deliveries:
            self._ledgers.pop(project, None)
            return Outcome(ZonePhase.READY)
        names: dict[str, Manifest] = {}

        def name_of(delivery: Delivery, attempt: int) -> str:
            manifest = self._importer(spec, delivery, attempt)
            name: str = manifest["metadata"]["name"]
            names[name] = manifest
            return name

        now, ledger = (
            asyncio.get_running_loop().time(),
            self._ledgers.setdefault(project, deliveries.Ledger()),
        )
        work = deliveries.plan(spec.deliveries, pods, name_of, ledger, now, at_once=self._at_once)
        for name in work.delete:
            ref = Ref(POD, spec.namespace, name)
            await written(ref, self._api.delete(ref, uid=pods[name].uid))
        message, again = work.message, work.again
        for delivery, attempt in work.create:
            name = name_of(delivery, attempt)
            log.info("delivery.started", project=spec.project_id, delivery=delivery.id, attempt=attempt)
            try:
                await self._create(Ref(POD, spec.namespace, name), names[name])
            except (Permanent, Temporary) as error:
                # The zone is as it shall be; what waits is the import alone.
                message, again = str(error), LATER
        return Outcome(ZonePhase.READY, message, work.delivered, dict(work.undelivered), again=again)

    def _importers(self, project: str) -> dict[str, Seen]:
        return {
            ref.name: now
            for ref, now in self._cache.of(project)
            if ref.kind is POD and now.role == "importer"
        }

    async def _create(self, ref: Ref, manifest: Manifest) -> None:
        try:
            await self._api.create(ref, manifest)
        except ApiError as error:
            # There already: the caches will show it, and an answer to us may have been lost.
            if error.status != 409 or error.reason != "AlreadyExists":
                raise said(error, ref) from error

    async def _end(self, spec: ZoneSpec) -> Outcome:
        still = spec.model_copy(update={"state": ZoneState.FROZEN})
        wanted, _ = self._wanted(still)
        try:
            await self._ending.go_on(spec, _frame(wanted))
        except ApiError as error:
            raise plain(error, Ref(NAMESPACE, "", spec.namespace)) from error
        except Unreachable:
            raise
        except Temporary as waiting:
            return Outcome(ZonePhase.ENDING, str(waiting), again=waiting.delay or 1.0)
        self.forget(spec.project_id.lower())
        return Outcome(ZonePhase.GONE)


def _leniently(spec: ZoneSpec) -> ZoneSpec:
    # What a pod needs is no condition for what happens while none may start.
    return spec.model_copy(update={"user_namespaces": "where-possible"})


def _frame(wanted: Wanted) -> Wanted:
    """Return what holds a zone still: its namespace and its quotas."""
    return {ref: wanted[ref] for ref in wanted if ref.kind in {NAMESPACE, QUOTA}}
