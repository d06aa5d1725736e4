"""How soon a zone is Ready, beside the same objects applied and confirmed without Broch (docs/benchmarks.md)."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator, Sequence

from broch.dev.bench import Result
from broch_workspaces.cluster.controller.client import KubeClient, connect
from broch_workspaces.cluster.controller.inventory import inventory, stages
from broch_workspaces.cluster.controller.kinds import CLAIM, NAMESPACE, QUOTA, VOLUME, Manifest, Ref
from broch_workspaces.cluster.manifests import zone_manifests
from broch_workspaces.cluster.settings import ZoneSettings
from broch_workspaces.cluster.spec import ZoneSpec
from support.cluster.zone_control import ControlRoom
from zones_world import control_room, ready_after, zone

NAME = "zones"
ROUNDS, MANY, MANY_ROUNDS = 5, 50, 2
MORE_MS, TIMES = 300.0, 1.5
_TOGETHER = 8
"""Zones that are being applied at once without Broch: as many as the controller has workers, and no faster with more."""


def run() -> Iterator[Result]:
    """Make one zone at a time, then fifty at once, both ways in turns on the same API server."""
    with control_room() as room:
        settings = ZoneSettings(
            release=room.release,
            release_namespace=room.release,
            ca_bundle=(room.tls / "ca.crt").read_text(),
            storage_class=room.storage_class,
            access_mode="ReadWriteOnce",
        )
        room.start_leader()
        ours, raw = _in_turns(room, settings, 1, ROUNDS)
        limit = raw + MORE_MS / 1000
        yield Result(
            "zones/one is Ready",
            ours * 1000,
            "ms",
            raw * 1000,
            ours / raw,
            f"<= {limit * 1000:.0f} ms (raw + {MORE_MS:.0f})",
            ours <= limit,
        )
        ours, raw = _in_turns(room, settings, MANY, MANY_ROUNDS)
        ratio = ours / raw
        yield Result(
            f"zones/{MANY} at once are Ready", ours, "s", raw, ratio, f"<= {TIMES:g}x", ratio <= TIMES
        )


def _in_turns(room: ControlRoom, settings: ZoneSettings, many: int, rounds: int) -> tuple[float, float]:
    ours, raw, made = [], [], []
    for _ in range(rounds):
        specs = [zone() for _ in range(many)]
        ours.append(ready_after(room, specs))
        others = [zone() for _ in range(many)]
        raw.append(asyncio.run(_raw(room, settings, others)))
        made += [*specs, *others]
    for spec in made:
        room.plane.forget(spec)
    room.clear(*made)
    return statistics.median(ours), statistics.median(raw)


async def _raw(room: ControlRoom, settings: ZoneSettings, specs: Sequence[ZoneSpec]) -> float:
    """Apply the same objects in the same order as administrator, then look until all are in force; return the seconds."""
    client = KubeClient(await connect(room.cluster.kubeconfig))
    places = asyncio.Semaphore(_TOGETHER)
    try:
        await client.get(Ref(NAMESPACE, "", "default"))  # the connection is there, as the controller's is
        began = time.monotonic()
        await asyncio.gather(*(_make(client, settings, spec, places) for spec in specs))
        return time.monotonic() - began
    finally:
        await client.close()


async def _make(
    client: KubeClient, settings: ZoneSettings, spec: ZoneSpec, places: asyncio.Semaphore
) -> None:
    async with places:
        wanted = inventory(spec, zone_manifests(spec, settings))
        for stage in stages(wanted):
            await asyncio.gather(*(client.apply(ref, wanted[ref]) for ref in stage))
    missing = set(wanted)
    while missing:
        missing = {ref for ref in missing if not await _in_force(client, ref, wanted[ref])}
        await asyncio.sleep(0.1 if missing else 0)


async def _in_force(client: KubeClient, ref: Ref, manifest: Manifest) -> bool:
    there = await client.get(ref)
    status = (there or {}).get("status") or {}
    if ref.kind is NAMESPACE:
        return bool(status.get("phase") == "Active")
    if ref.kind is QUOTA:
        return bool(status.get("hard") == manifest["spec"]["hard"])
    if ref.kind is VOLUME or (ref.kind is CLAIM and "volumeName" in manifest["spec"]):
        return bool(status.get("phase") == "Bound")
    return there is not None
