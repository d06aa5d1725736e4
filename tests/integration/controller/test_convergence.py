"""Whatever goes wrong, in whatever order: in the end every zone is as it shall be, and no bytes of people were lost."""

from __future__ import annotations

import asyncio
import gc
import itertools
import multiprocessing
import random
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import structlog

from broch_workspaces.cluster.controller.failures import ApiError
from broch_workspaces.cluster.controller.kinds import (
    ARCHIVED_LABEL,
    BINDING,
    CLAIM,
    CONFIG,
    LIMITS,
    POD,
    POLICY,
    QUEUE,
    QUOTA,
    VOLUME,
    Manifest,
    Ref,
)
from broch_workspaces.cluster.controller.loop import ZoneController
from broch_workspaces.cluster.controller.settings import ControllerSettings
from broch_workspaces.cluster.pods import importer_pod
from broch_workspaces.cluster.settings import PodSettings
from broch_workspaces.cluster.sources import HostPathSource
from broch_workspaces.cluster.spec import (
    DataVolume,
    Delivery,
    Home,
    ZonePhase,
    ZoneReport,
    ZoneSpec,
    ZoneState,
    pod_digest,
)
from support import zone_objects as b
from support.cluster_model import THEIRS, Model
from support.cluster_model_client import ModelClient
from support.cluster_plane import Plane, hub_makes
from support.counts import count
from support.virtual_time import run

SEEDS = count("controller under faults", ci=2_000, nightly=10_000)
CHAOS = 60.0
"""Virtual seconds in which things go wrong."""
CALM = 400.0
"""Virtual seconds in which all must be well afterwards: a lease, a long backoff, and some more."""
PODS = PodSettings(
    gateway_address="10.0.0.1", image_prefixes=("local/",), importer_image="local/x@sha256:" + "0" * 64
)
BREAKABLE = (QUOTA, LIMITS, POLICY, CONFIG, BINDING, VOLUME, CLAIM, QUEUE)


class Story:
    """One seed: zones, two controllers, and somebody who breaks things."""

    def __init__(self, seed: int) -> None:
        self.model = Model(seed)
        self.rng = self.model.rng
        # The controllers' own jitter too: a seed that fails must fail again.
        random.seed(seed)
        self.plane = Plane(self.model)
        self.plane.leaves_out_gone = seed % 3 == 0
        # Every other platform has a queue for GPUs.
        self._zones = b.SETTINGS.model_copy(update={"kueue_queue": "gpus" if seed % 2 else None})
        self._manifests = partial(b.manifests, settings=self._zones)
        self._numbers = itertools.count()
        self._running: list[tuple[ModelClient, asyncio.Task[None]]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def tell(self) -> None:
        self.model.faults = self.rng.choice([0.0, 0.05, 0.2])
        world = asyncio.ensure_future(self._world())
        self._start()
        self._start()
        for number in range(2):
            self.plane.want(self._zone(number))
        end = asyncio.get_running_loop().time() + CHAOS
        while asyncio.get_running_loop().time() < end:
            await asyncio.sleep(self.rng.uniform(0.1, 8.0))
            self._disturb()
        self.model.faults = 0.0
        wrong = "not looked at"
        for _ in range(int(CALM)):
            await asyncio.sleep(1.0)
            wrong = self.wrong()
            if not wrong:
                break
        world.cancel()
        for client, task in self._running:
            client.dead = True
            task.cancel()
        await asyncio.gather(world, *(task for _, task in self._running), return_exceptions=True)
        assert not wrong
        assert not self.model.lost
        assert not self.model.wrong

    async def _world(self) -> None:
        while True:
            await asyncio.sleep(self.rng.uniform(0.05, 0.5))
            self.model.turn()

    # ---- what is broken -----------------------------------------------------------

    def _start(self) -> None:
        who = f"c{next(self._numbers)}"
        client = ModelClient(self.model, who)
        settings = ControllerSettings(
            control_plane="https://web:8444",
            zones=self._zones,
            pods=PODS,
            identity=who,
            tls=Path("/none"),
            workers=3,
        )
        controller = ZoneController(settings, client, self.plane, self._manifests, _importer)
        self._running.append((client, asyncio.ensure_future(controller.run())))

    def _kill(self) -> None:
        client, task = self._running.pop(self.rng.randrange(len(self._running)))
        client.dead = True
        task.cancel()
        self._start()

    def _part(self) -> None:
        """Take the lease, and it alone, away from everybody or from one of them."""
        until = asyncio.get_running_loop().time() + self.rng.uniform(5.0, 40.0)
        for client, _ in self.rng.sample(self._running, self.rng.randint(1, 2)):
            client.lease_away_until = until

    def _disturb(self) -> None:
        self.rng.choice(
            [
                self._delete,
                self._delete,
                self._edit,
                self._edit,
                self._change,
                self._change,
                self._begin,
                self._begin,
                self._revoke,
                self._stray,
                self._kill,
                self._part,
                self._part,
                self.model.compact,
            ]
        )()

    def _mine(self) -> list[Ref]:
        return [
            ref
            for ref in self.model.objects
            if ref.kind in BREAKABLE
            and not self.model.objects[ref]["spec" if ref.kind is VOLUME else "metadata"].get("dynamic")
        ]

    def _delete(self) -> None:
        # A person who deletes a home on purpose loses it; here nobody does.
        found = [ref for ref in self._mine() if ref.kind is not CLAIM or ref.name.startswith("data-")]
        if found:
            self.model.remove(self.rng.choice(found))

    def _edit(self) -> None:
        found = [ref for ref in self._mine() if ref.kind not in {VOLUME, CLAIM}]
        if not found:
            return
        ref = self.rng.choice(found)
        item = self.model.objects[ref]
        part = {CONFIG: "data", BINDING: "roleRef"}.get(ref.kind, "spec")
        # What somebody adds to a queue may stay: it is no limit of ours.
        if ref.kind is not QUEUE and self.rng.random() < 0.5:
            item[part]["theirs"] = "more than it may"
            item["metadata"]["managedFields"] = [*item["metadata"]["managedFields"], THEIRS]
        elif self.rng.random() < 0.5:
            item["metadata"]["labels"].pop("app.kubernetes.io/part-of", None)
        else:
            item[part][min(item[part])] = "something else"
        self.model.store(ref, item, new=False)

    def _change(self) -> None:
        spec = self.rng.choice(list(self.plane.specs.values()))
        if spec.state is ZoneState.ENDED:
            return
        choice = self.rng.random()
        if 0.3 <= choice < 0.6:
            # Whoever freezes or ends a project takes the rights of its starts in the same transaction.
            spec = self._without_starts(spec, spec.starts or ())
        if choice < 0.3:
            change: dict[str, Any] = {"data": self._data(int(spec.project_id[-1]))[: self.rng.randint(0, 2)]}
        elif choice < 0.5:
            change = {"state": self.rng.choice([ZoneState.OPEN, ZoneState.FROZEN])}
        elif choice < 0.6:
            change = {"state": ZoneState.ENDED}
        elif choice < 0.8:
            number = next(self._numbers)
            one = Delivery(id=f"01J{number:023d}", op="place", name=f"f{number % 3}", sha256="a" * 64, size=1)
            change = {"deliveries": (*spec.deliveries, one)}
        else:
            change = {"homes": self._homes()[: self.rng.randint(0, 2)]}
        self.plane.want(spec.model_copy(update=change))

    # ---- workspaces: what the hub makes, and what it leaves behind ------------------------

    def _begin(self) -> None:
        """Start a workspace as the control plane and the hub do: written down first, its pod made some time later."""
        spec = self.rng.choice(list(self.plane.specs.values()))
        report = self.plane.last.get(spec.project_id)
        ready = report is not None and report.phase is ZonePhase.READY and report.digest == spec.digest()
        if spec.state is not ZoneState.OPEN or not ready:
            return
        name = f"ws-{next(self._numbers)}"
        digest = pod_digest(spec.namespace, name)
        self.model.may_run.add(digest)
        self.plane.want(spec.model_copy(update={"starts": (*(spec.starts or ()), digest)}))
        self._later(spec.namespace, name)

    def _stray(self) -> None:
        """Make a pod that nobody wrote down."""
        spec = self.rng.choice(list(self.plane.specs.values()))
        self._later(spec.namespace, f"stray-{next(self._numbers)}")

    def _later(self, namespace: str, name: str) -> None:
        async def make() -> None:
            await asyncio.sleep(self.rng.uniform(0.0, 3.0))
            with suppress(ApiError):  # its zone is gone or going
                hub_makes(self.model, namespace, name)

        task = asyncio.ensure_future(make())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _revoke(self) -> None:
        spec = self.rng.choice(list(self.plane.specs.values()))
        if spec.starts:
            self.plane.want(self._without_starts(spec, spec.starts[:1]))

    def _without_starts(self, spec: ZoneSpec, gone: tuple[str, ...]) -> ZoneSpec:
        self.model.may_run.difference_update(gone)
        if not gone:
            return spec
        left = tuple(one for one in spec.starts or () if one not in gone)
        revocation = f"01R{next(self._numbers):023d}"
        self.plane.wait_for(revocation, gone)
        return spec.model_copy(update={"starts": left, "revocations": (*spec.revocations, revocation)})

    # ---- what shall be --------------------------------------------------------------

    def _zone(self, number: int) -> ZoneSpec:
        return ZoneSpec(
            project_id=f"01J{number:023d}", data=self._data(number), homes=self._homes(), starts=()
        )

    def _data(self, number: int) -> tuple[DataVolume, ...]:
        source = HostPathSource(path="/srv/data")
        return tuple(
            DataVolume(version_id=f"01V{number * 10 + one:023d}", source=source, size_bytes=1)
            for one in range(2)
        )

    def _homes(self) -> tuple[Home, ...]:
        return tuple(Home(person_id=f"01P{one:023d}", size_bytes=1) for one in range(2))

    def wrong(self) -> str:
        """Say what is not as it shall be; empty: nothing."""
        for spec in self.plane.specs.values():
            report = self.plane.last.get(spec.project_id)
            if report is None or report.digest != spec.digest():
                return f"no report on {spec.project_id}: {report}"
            found = self._ended(spec, report) if spec.state is ZoneState.ENDED else self._there(spec, report)
            if found:
                return f"{spec.project_id} {spec.state}: {found}"
        return ""

    def _ended(self, spec: ZoneSpec, report: ZoneReport) -> str:
        left = [ref for ref in self.model.objects if spec.namespace in {ref.namespace, ref.name}]
        if spec.revocations:
            return f"not seen gone: {spec.revocations}"
        if report.phase is not ZonePhase.GONE or left:
            return f"{report} {left}"
        for ref, item in self.model.objects.items():
            claim = item["spec"].get("claimRef") if ref.kind is VOLUME else None
            if claim and claim["namespace"] == spec.namespace:
                archived = item["metadata"]["labels"].get(ARCHIVED_LABEL)
                if (
                    archived != spec.project_id.lower()
                    or item["spec"]["persistentVolumeReclaimPolicy"] != "Retain"
                ):
                    return f"{ref} was not archived"
        return ""

    def _there(self, spec: ZoneSpec, report: ZoneReport) -> str:
        if report.phase is not ZonePhase.READY:
            return str(report)
        wanted = {b.ref(manifest): manifest for manifest in self._manifests(spec)}
        for ref, manifest in wanted.items():
            if (found := _differs(self.model.objects.get(ref), manifest)) is not None:
                return f"{ref}: {found}"
        for ref, item in self.model.objects.items():
            project = (item["metadata"].get("labels") or {}).get("broch.dev/project")
            kept = ref.kind is CLAIM and ref.name.startswith("home-")
            if project == spec.project_id.lower() and ref not in wanted and ref.kind is not POD and not kept:
                return f"{ref} is too much"
        if spec.deliveries and spec.state is ZoneState.OPEN:
            return f"not delivered: {spec.deliveries}"
        return self._workspaces(spec)

    def _workspaces(self, spec: ZoneSpec) -> str:
        pods = [ref for ref in self.model.objects if ref.kind is POD and ref.namespace == spec.namespace]
        may = {*(spec.starts or ())}
        wrong = {pod_digest(ref.namespace, ref.name): str(ref) for ref in pods}
        runs = {digest for digest in wrong if digest in may}
        if len(runs) < len(pods):
            return f"still there: {sorted(wrong[digest] for digest in wrong.keys() - may)}"
        if runs != may:
            return f"{len(runs)} of {len(may)} workspaces run"
        return f"not seen gone: {spec.revocations}" if spec.revocations else ""


def _differs(item: Manifest | None, manifest: Manifest) -> str | None:
    if item is None:
        return "missing"
    for part in set(manifest) - {"metadata"}:
        there = item.get(part)
        if isinstance(there, dict):
            there = {key: value for key, value in there.items() if key not in {"volumeName", "claimRef"}}
            meant = {
                key: value for key, value in manifest[part].items() if key not in {"volumeName", "claimRef"}
            }
        else:
            meant = manifest[part]
        if there != meant:
            return f"{part} is {there}"
    labels = item["metadata"]["labels"]
    return None if manifest["metadata"]["labels"].items() <= labels.items() else f"labels are {labels}"


def _importer(spec: ZoneSpec, delivery: Delivery, attempt: int) -> Manifest:
    return importer_pod(spec, delivery, PODS, attempt=attempt)


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    def drop(*_: Any) -> Any:
        raise structlog.DropEvent

    structlog.configure(processors=[drop])
    yield
    structlog.reset_defaults()


def _told(seed: int) -> tuple[int, int]:
    """Tell one story; return how many controllers wrote in it, and how many revocations were seen to their end."""
    story = Story(seed)
    try:
        run(story.tell())
    except Exception as error:
        raise AssertionError(f"seed {seed}: {error}") from error
    return len(set(story.model.writers)), story.plane.confirmed


@pytest.mark.timeout(3600)
def test_every_zone_converges_after_faults_and_only_the_leader_ever_wrote() -> None:
    # What the test process holds by now is much, and nobody's garbage: without the freeze each collection walks it.
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("fork"), initializer=gc.freeze) as pool:
        told = list(pool.map(_told, range(SEEDS), chunksize=20))
    # The twin: leaders did change, and everything was written by somebody.
    assert max(wrote for wrote, _ in told) > 1
    assert sum(confirmed for _, confirmed in told) > SEEDS // 10
