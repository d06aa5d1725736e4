"""A claim whose volume is bound while it is not: touched, it is bound at once, and not with the cluster's next round."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from broch_workspaces.cluster.controller.binding import MOST_TOUCHES, TOUCHED, WAIT, Bindings
from broch_workspaces.cluster.controller.failures import ApiError
from broch_workspaces.cluster.controller.kinds import CLAIM, VOLUME, Manifest, Ref
from support.virtual_time import run

SPACE = "zone-01j00000000000000000000prj"
MINE, OTHER = Ref(CLAIM, SPACE, "data-a"), Ref(CLAIM, SPACE, "home-a")
VOLUME_OF = Ref(VOLUME, "", "broch-a")
WANTED: dict[Ref, Manifest] = {
    MINE: {"metadata": {"name": "data-a", "annotations": {"kept": "yes"}}, "spec": {"volumeName": "broch-a"}},
    OTHER: {"metadata": {"name": "home-a"}, "spec": {}},
}


class World:
    """What was seen, and what was applied."""

    def __init__(self, claim: str | None, volume: str | None, *, refuses: bool = False) -> None:
        self.seen = {
            ref: SimpleNamespace(uid=f"u-{ref.name}", state=state, leaving=False)
            for ref, state in ((MINE, claim), (VOLUME_OF, volume), (OTHER, "Pending"))
            if state is not None
        }
        self.applied: list[tuple[Ref, Manifest]] = []
        self.refuses = refuses
        self.bindings = Bindings(self, SimpleNamespace(get=self.seen.get))  # type: ignore[arg-type]

    async def apply(self, ref: Ref, manifest: Manifest) -> Manifest:
        self.applied.append((ref, manifest))
        if self.refuses:
            raise ApiError(409, "Conflict", "no")
        return manifest


@pytest.mark.parametrize(
    ("claim", "volume", "early"),
    [
        (None, None, True),
        (None, "", True),
        (None, "Pending", True),
        (None, "Available", False),
        (None, "Bound", False),
        ("Pending", None, False),
        ("Bound", "Bound", False),
    ],
)
def test_a_claim_is_made_once_its_volume_was_taken_in(
    claim: str | None, volume: str | None, early: bool
) -> None:
    bindings = World(claim, volume).bindings
    assert bindings.too_early(MINE, WANTED[MINE]) is early
    assert bindings.too_early(OTHER, WANTED[OTHER]) is False


def looked(world: World, times: int, pause: float = WAIT) -> list[float | None]:
    async def story() -> list[float | None]:
        found = []
        for _ in range(times):
            found.append(await world.bindings.touch(WANTED))
            await asyncio.sleep(pause)
        return found

    found: Any = []

    async def told() -> None:
        found.extend(await story())

    run(told())
    return list(found)


@pytest.mark.parametrize(
    ("claim", "volume"), [(None, "Bound"), ("Bound", "Bound"), ("Pending", "Available"), ("Pending", None)]
)
def test_what_is_not_halfway_is_left_alone(claim: str | None, volume: str | None) -> None:
    world = World(claim, volume)
    assert looked(world, 4) == [None] * 4
    assert world.applied == []


@pytest.mark.parametrize("refuses", [False, True])
def test_a_claim_halfway_is_touched_after_a_while_and_not_for_ever(refuses: bool) -> None:
    world = World("Pending", "Bound", refuses=refuses)
    found = looked(world, 3 * MOST_TOUCHES)
    assert found[0] == WAIT
    assert found[-1] is None
    assert [ref for ref, _ in world.applied] == [MINE] * MOST_TOUCHES
    marks = [manifest["metadata"]["annotations"] for _, manifest in world.applied]
    assert marks == [{"kept": "yes", TOUCHED: str(number + 1)} for number in range(MOST_TOUCHES)]
    assert TOUCHED not in WANTED[MINE]["metadata"]["annotations"]


def test_another_claim_of_the_same_name_begins_anew_and_one_that_leaves_is_left_alone() -> None:
    world = World("Pending", "Bound")
    looked(world, 3 * MOST_TOUCHES)
    world.seen[MINE].uid = "another"
    assert looked(world, 2) == [WAIT, WAIT]
    assert len(world.applied) == MOST_TOUCHES + 1
    world.seen[MINE].leaving = True
    assert looked(world, 3) == [None] * 3
    world.seen[MINE].leaving = False
    world.bindings.forget(SPACE)
    assert looked(world, 1) == [WAIT]
    assert len(world.applied) == MOST_TOUCHES + 1
