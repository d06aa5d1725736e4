"""A model of the control plane as controllers see it, which sometimes does not answer, or late; and of its hub."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import suppress

from broch_workspaces.cluster.controller.control_plane import NoAnswer
from broch_workspaces.cluster.controller.kinds import POD, Ref
from broch_workspaces.cluster.spec import (
    PART_OF,
    PROJECT_LABEL,
    ROLE_LABEL,
    ZonePhase,
    ZoneReport,
    ZoneSpec,
    ZoneSpecs,
    ZoneState,
)
from support.cluster_model import Model


class Plane:
    """A control plane that sometimes does not answer."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.specs: dict[str, ZoneSpec] = {}
        self.last: dict[str, ZoneReport] = {}
        self.leaves_out_gone = False
        """Whether a zone that ended and is gone is listed no more, as with the real one."""
        self.delivered: set[str] = set()
        self.confirmed = 0
        """Revocations of which the controller saw that everything is gone."""
        self._meant: dict[str, tuple[str, ...]] = {}
        self._digests = itertools.count(1)
        self._digest = "0"
        self.changed = asyncio.Event()

    def want(self, spec: ZoneSpec) -> None:
        self.specs[spec.project_id] = spec
        self._change()

    def lose(self, spec: ZoneSpec) -> None:
        """Forget a project, as a database does that was restored from before it began."""
        del self.specs[spec.project_id]
        self._change()

    def _change(self) -> None:
        self._digest = str(next(self._digests))
        self.changed.set()
        self.changed = asyncio.Event()

    def _listed(self) -> tuple[ZoneSpec, ...]:
        return tuple(spec for spec in self.specs.values() if not self._is_over(spec))

    def _is_over(self, spec: ZoneSpec) -> bool:
        report = self.last.get(spec.project_id)
        gone = report is not None and report.phase is ZonePhase.GONE
        return self.leaves_out_gone and spec.state is ZoneState.ENDED and gone and not spec.revocations

    async def zones(self, after: str, wait: float) -> ZoneSpecs:
        await self._perhaps()
        if after == self._digest:
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self.changed.wait()
            if after == self._digest:
                return ZoneSpecs(digest=after, items=())
        answer = ZoneSpecs(digest=self._digest, items=self._listed())
        if self._model.rng.random() < 0.3:
            # On its way while things change: pods are made of which it does not know.
            await asyncio.sleep(self._model.rng.uniform(0.0, 4.0))
        return answer

    async def report(self, project_id: str, report: ZoneReport) -> None:
        await self._perhaps()
        if project_id not in self.specs:
            raise NoAnswer("status 404")
        listed = self._listed()
        self.last[project_id] = report
        if self._listed() != listed:
            self._change()
        over = {*report.delivered, *report.undelivered}
        self.delivered.update(report.delivered)
        spec = self.specs[project_id]
        if any(one.id in over for one in spec.deliveries):
            left = tuple(one for one in spec.deliveries if one.id not in over)
            self.want(spec.model_copy(update={"deliveries": left}))
        self._confirm(project_id, report)
        await self._perhaps()

    def wait_for(self, revocation: str, starts: tuple[str, ...]) -> None:
        """Have the controller say when the pods of these starts are gone."""
        self._meant[revocation] = starts

    def _confirm(self, project_id: str, report: ZoneReport) -> None:
        spec = self.specs[project_id]
        gone = {one for one in report.after if not {*self._meant[one]} & {*report.pods}}
        if gone & {*spec.revocations}:
            self.confirmed += len(gone & {*spec.revocations})
            left = tuple(one for one in spec.revocations if one not in gone)
            self.want(spec.model_copy(update={"revocations": left}))

    async def _perhaps(self) -> None:
        await asyncio.sleep(0.005)
        if self._model.rng.random() < self._model.faults / 2:
            raise NoAnswer("by the seed")


def hub_makes(model: Model, namespace: str, name: str) -> None:
    """Make a workspace's pod, as the hub does.

    Raises:
        ApiError: its zone is gone or going.
    """
    ref = Ref(POD, namespace, name)
    labels = {PART_OF: "broch", PROJECT_LABEL: namespace.removeprefix("zone-"), ROLE_LABEL: "workspace"}
    manifest = {"metadata": {"name": name, "namespace": namespace, "labels": labels}, "spec": {}}
    model.store(ref, {**manifest, "metadata": model.new_metadata(ref, manifest)}, new=True)
