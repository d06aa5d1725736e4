"""The controller: desired state in, zones made so, reports out. Parts run side by side and none ends by itself."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import suppress
from typing import Any

import structlog

from broch_workspaces.cluster.controller.api import Api, Fenced
from broch_workspaces.cluster.controller.cache import Cache, Informer
from broch_workspaces.cluster.controller.control_plane import ControlPlane, NoAnswer
from broch_workspaces.cluster.controller.failures import ClusterError, NotLeading, Permanent, Temporary
from broch_workspaces.cluster.controller.kinds import NAMESPACE, POD, VOLUME, watched
from broch_workspaces.cluster.controller.lease import Leadership
from broch_workspaces.cluster.controller.memory import Specs, Told
from broch_workspaces.cluster.controller.metrics import Metrics
from broch_workspaces.cluster.controller.queue import KeyedQueue
from broch_workspaces.cluster.controller.settings import ControllerSettings
from broch_workspaces.cluster.controller.starts import ZoneSight
from broch_workspaces.cluster.controller.zone import Build, BuildImporter, Outcome, ZoneKeeper, soonest
from broch_workspaces.cluster.spec import ZonePhase, ZoneReport, ZoneSpec, ZoneSpecs

SETTLE = 0.02
"""Seconds from an event to a look: what happens together is looked at together."""
PERMANENT_AGAIN = 15.0
"""Seconds between looks at a zone that waits for a person."""
LONG = 4
"""Failures in a row after which people are told that it takes long."""
LATE_SECONDS = 90.0
"""Age of the last answer of the control plane from which the controller calls itself unwell."""
UNKNOWN_AGAIN = 60.0
"""Seconds between two reports on a zone that the control plane does not list."""
UNKNOWN_AT_ONCE = 20
"""Such reports after one answer: a whole cluster that was restored must not keep the next question waiting."""
log = structlog.get_logger()


class ZoneController:
    """One controller.

    Args:
        settings: names, numbers.
        api: the API server, not fenced.
        plane: the control plane.
        build: manifests of a zone.
        importer: manifest of a delivery's pod.
    """

    def __init__(
        self,
        settings: ControllerSettings,
        api: Api,
        plane: ControlPlane,
        build: Build,
        importer: BuildImporter,
    ) -> None:
        self._settings = settings
        self._api = api
        self._plane = plane
        self._build = build
        self._importer = importer
        self.metrics = Metrics()
        self._leadership = Leadership(
            api,
            namespace=settings.zones.release_namespace,
            name=settings.lease,
            holder=settings.identity,
        )
        self._specs = Specs()
        self._kinds = watched(queue=settings.zones.kueue_queue is not None)
        self._cache = Cache(self._changed, self._kinds)
        self._queue: KeyedQueue | None = None
        self._keeper: ZoneKeeper | None = None
        self._reported: dict[str, Told] = {}
        self._since: dict[str, tuple[str, float]] = {}
        """Since when a spec is wanted that is not Ready yet."""
        self._unknown: dict[str, float] = {}
        """When the control plane was last told of a zone that it does not list."""
        self._polled: float | None = None
        self._led: float | None = None
        """Since when it leads, if it does."""
        self._asked: float | None = None
        """When the question was put that the newest answer of the control plane is to."""

    async def run(self) -> None:
        """Run until cancelled."""
        informers = [Informer(self._api, kind, self._cache, self.metrics) for kind in self._kinds]
        try:
            async with asyncio.TaskGroup() as group:
                for informer in informers:
                    group.create_task(informer.run())
                group.create_task(self._leadership.run(self._lead))
        finally:
            # A minute of waiting less for the next one. Bounded: an end in order must not hang on a dead API server.
            with suppress(TimeoutError):
                async with asyncio.timeout(3):
                    await asyncio.shield(self._leadership.release())

    async def _lead(self) -> None:
        """Act, with memory that begins anew: what another leader did meanwhile is unknown."""
        self._queue = KeyedQueue(_now)
        self._keeper = ZoneKeeper(
            Fenced(self._api, self._leadership.holds, self.metrics),
            self._cache,
            self._build,
            self._importer,
            at_once=self._settings.zones.importers,
        )
        self._specs.clear()
        self._reported.clear()
        self._since.clear()
        self._unknown.clear()
        self._asked = None
        self._led = _now()
        try:
            await self._cache.complete.wait()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._poll())
                for _ in range(self._settings.workers):
                    group.create_task(self._work(self._queue, self._keeper))
        finally:
            self._queue = self._keeper = self._polled = self._led = None

    def _changed(self, project: str) -> None:
        if self._queue is not None and project in self._specs:
            self._queue.add(project, after=SETTLE)

    async def _poll(self) -> None:
        """Ask for what shall be, for ever. Without an answer what was last said stays in force."""
        after, failures = "", 0
        while True:
            asked = _now()
            try:
                specs = await self._plane.zones(after, self._settings.poll_seconds)
            except NoAnswer as error:
                self.metrics.polls_failed += 1
                log.warning("control-plane.silent", reason=str(error), failures=failures + 1)
                delay = min(15.0, 0.5 * 2 ** min(failures, 6))
                await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load, guards nothing
                failures += 1
                continue
            failures, self._polled = 0, _now()
            if specs.digest != after:
                self._take(specs, is_first=not after)
            after = specs.digest
            # Not held while the next question waits: it is the largest thing there is.
            del specs
            self._asked = asked
            await self._tell_unknown()

    def _take(self, specs: ZoneSpecs, *, is_first: bool) -> None:
        if self._queue is None or self._keeper is None:
            return
        now = {spec.project_id.lower(): spec for spec in specs.items}
        for project, spec in now.items():
            is_new, before = self._specs.take(spec)
            if is_new:
                if before is None or before.digest() != spec.digest():
                    self._since[project] = (spec.digest(), _now())
                # Who begins looks at every zone once, minutes for thousands: an end that somebody waits for is not among them.
                if is_first and not spec.revocations and not self._has_pods(project):
                    self._queue.add_behind(project)
                else:
                    self._queue.add(project)
        for project in set(self._specs) - now.keys():
            self._specs.pop(project)
            self._reported.pop(project, None)
            self._since.pop(project, None)
            self._keeper.forget(project)

    async def _tell_unknown(self) -> None:
        """Say of zones that the list left out that they are there; a list that lost a project must not delete one.

        A cluster that was restored has zones again of projects that ended since. Told so, the control plane lists them
        anew, as ended, and they end in order; of what it does not know at all it takes no report.
        """
        there = {one for one in self._cache.projects() if one not in self._specs and self._has_zone(one)}
        before = {one: at for one, at in self._unknown.items() if one in there}
        due = sorted(one for one in there if _now() - before.get(one, -UNKNOWN_AGAIN) >= UNKNOWN_AGAIN)
        self._unknown = before | dict.fromkeys(due[:UNKNOWN_AT_ONCE], _now())
        report = ZoneReport(digest="", phase=ZonePhase.ENDING, message="Its zone is there again.")
        for project in due[:UNKNOWN_AT_ONCE]:
            log.warning("zone.unknown", project=project)
            if not self._leadership.holds():
                return
            with suppress(NoAnswer):
                await self._plane.report(project.upper(), report)

    def _has_zone(self, project: str) -> bool:
        # What goes last of a zone. Its other objects may be shown a moment longer than it.
        return any(ref.kind in {NAMESPACE, VOLUME} and now.ours for ref, now in self._cache.of(project))

    def _has_pods(self, project: str) -> bool:
        return any(ref.kind is POD for ref, _ in self._cache.of(project))

    async def _work(self, queue: KeyedQueue, keeper: ZoneKeeper) -> None:
        while True:
            project = await queue.get()
            started = _now()
            try:
                spec = self._specs.get(project)
                if spec is None:
                    queue.done(project)
                    continue
                again = await self._look(keeper, spec)
                queue.done(project)
                if again is not None:
                    queue.add(project, after=again)
            except NotLeading:
                # The term is over; whoever cancels this is on the way.
                queue.failed(project, at_least=1.0)
            except Temporary as error:
                self.metrics.failures["temporary"] += 1
                delay = queue.failed(project, at_least=error.delay or 0.0)
                log.info("zone.again", project=project, reason=str(error), seconds=round(delay, 2))
                if queue.failures(project) == LONG:
                    await self._tell_slow(project, str(error))
            except (ClusterError, NoAnswer) as error:
                self.metrics.failures["temporary"] += 1
                log.warning("zone.again", project=project, reason=str(error)[:300])
                queue.failed(project)
            except Exception:
                # One zone's bug must not stop the others.
                self.metrics.failures["bug"] += 1
                log.exception("zone.broken", project=project)
                queue.failed(project, at_least=5.0)
            finally:
                self.metrics.reconciled(_now() - started)

    async def _look(self, keeper: ZoneKeeper, spec: ZoneSpec) -> float | None:
        # First of all, and whatever becomes of the rest: what may not run goes.
        sight = await keeper.watch_starts(spec, self._asked)
        try:
            outcome = await keeper.settle(spec)
        except Permanent as error:
            self.metrics.failures["permanent"] += 1
            outcome = Outcome(ZonePhase.FAILED, str(error), again=PERMANENT_AGAIN)
        except Temporary as error:
            if not sight.after:
                raise
            # Somebody waits to hear what is gone: told also while the zone itself is not as it shall be.
            before = self._reported.get(spec.project_id.lower())
            same = before is not None and before.digest == spec.digest()
            phase = before.phase if before is not None and same else ZonePhase.MAKING
            await self._report(spec, Outcome(phase, str(error)), sight)
            raise
        await self._report(spec, outcome, sight)
        if keeper.accepted(spec, outcome):
            return 0.0
        return soonest(outcome.again, sight.again)

    async def _tell_slow(self, project: str, message: str) -> None:
        """Say on the project's page why a zone is not there; one that was ready stays called so."""
        spec, before = self._specs.get(project), self._reported.get(project)
        if spec is None or (before is not None and before.phase is ZonePhase.READY):
            return
        with suppress(NoAnswer):
            await self._report(spec, Outcome(ZonePhase.MAKING, message))

    async def _report(self, spec: ZoneSpec, outcome: Outcome, sight: ZoneSight | None = None) -> None:
        """Report what changed since the last report that was taken; and all of it while somebody waits for an end."""
        sight = sight or ZoneSight()
        project = spec.project_id.lower()
        report = ZoneReport(
            digest=spec.digest(),
            phase=outcome.phase,
            message=outcome.message[:500],
            delivered=outcome.delivered,
            undelivered=outcome.undelivered,
            after=sight.after,
            pods=dict(sight.pods),
            volumes=sight.volumes,
        )
        told, before = Told.of(report), self._reported.get(project)
        if before == told and not sight.after:
            return
        if not self._leadership.holds():
            raise NotLeading("another controller may report now")
        # Where the answer is lost, nobody knows what the control plane now holds: the next look reports in any case.
        self._reported.pop(project, None)
        await self._plane.report(spec.project_id, report)
        self._reported[project] = told
        if before is None or before.phase is not report.phase or before.digest != report.digest:
            digest, since = self._since.get(project, ("", _now()))
            facts: dict[str, Any] = {"seconds": round(_now() - since, 3)} if digest == report.digest else {}
            event = f"zone.{report.phase}"
            log.info(event, project=spec.project_id, reason=report.message, **facts)
            if report.phase is ZonePhase.READY:
                self._since.pop(project, None)

    def health(self) -> tuple[bool, dict[str, Any]]:
        """Return whether all is well, and what is known."""
        synced = self._cache.complete.is_set()
        leads = self._leadership.holds()
        age = None if self._polled is None else round(_now() - self._polled, 1)
        well = synced and (not leads or (age is not None and age < LATE_SECONDS))
        return well, {
            "role": "leader" if leads else "standby",
            "synced": synced,
            "poll_age_seconds": age,
        }

    def metrics_text(self) -> str:
        """Return the metrics of this moment."""
        _, facts = self.health()
        phases = Counter({phase.value: 0 for phase in ZonePhase})
        phases.update(report.phase.value for report in self._reported.values())
        gauges = {
            "leader": float(facts["role"] == "leader"),
            "synced": float(facts["synced"]),
            "queue_depth": float(len(self._queue or ())),
            "objects": float(len(self._cache)),
            "zones_wanted": float(len(self._specs)),
            "zones_unknown": float(len(self._cache.projects() - set(self._specs))) if self._specs else 0.0,
        }
        # A leader that never had an answer is as deaf as one that had its last one when it began.
        heard = self._led if self._polled is None else self._polled
        if heard is not None:
            gauges["poll_age_seconds"] = round(_now() - heard, 1)
        return self.metrics.text(phases=phases, gauges=gauges)


def _now() -> float:
    return asyncio.get_running_loop().time()
