"""Which workspace pods may stay: by what the control plane was asked after they were there, and by nothing older."""

from __future__ import annotations

import pytest

from broch_core.web.sessions import token_hash
from broch_workspaces.cluster.controller.kinds import POD, Ref
from broch_workspaces.cluster.controller.starts import YOUNGEST, Judgement, Sightings, judge_pod, zone_pod
from broch_workspaces.cluster.spec import ZoneState, namespace_of, pod_digest
from support.zone_objects import PROJECT, zone

SPACE = namespace_of(PROJECT)
MINE, OTHER = pod_digest(SPACE, "ws-a-1"), pod_digest(SPACE, "ws-b-2")
OLD = YOUNGEST + 1


@pytest.mark.parametrize(
    ("changes", "asked", "since", "now", "expected"),
    [
        ({"starts": (MINE,)}, 100.0, 0.0, 200.0, Judgement.STAYS),
        ({"starts": (OTHER,)}, 100.0, 0.0, 200.0, Judgement.GOES),
        ({"starts": ()}, 100.0, 0.0, 200.0, Judgement.GOES),
        ({"starts": None}, 100.0, 0.0, 200.0, Judgement.STAYS),
        ({"starts": ()}, 99.0, 100.0, 100.0 + OLD, Judgement.WAITS),
        ({"starts": ()}, 100.0, 100.0, 100.0 + OLD, Judgement.WAITS),
        ({"starts": ()}, 101.0, 100.0, 100.0 + OLD, Judgement.GOES),
        ({"starts": ()}, 101.0, 100.0, 100.0 + YOUNGEST - 1, Judgement.WAITS),
        ({"starts": ()}, None, 100.0, 100.0 + OLD, Judgement.WAITS),
        ({"starts": ()}, 101.0, None, 100.0 + OLD, Judgement.WAITS),
        ({"starts": (MINE,), "state": ZoneState.FROZEN}, None, None, 0.0, Judgement.GOES),
        ({"starts": (MINE,), "state": ZoneState.ENDED}, None, None, 0.0, Judgement.GOES),
    ],
    ids=[
        "listed",
        "another is listed",
        "none is listed",
        "nothing is said",
        "asked before it was there",
        "asked at the very moment",
        "asked after it was there",
        "too young",
        "not asked yet",
        "not seen yet",
        "frozen",
        "ended",
    ],
)
def test_a_pod_goes_only_once_an_answer_from_after_its_beginning_does_not_name_it(
    changes: dict[str, object], asked: float | None, since: float | None, now: float, expected: Judgement
) -> None:
    spec = zone(**changes)
    assert judge_pod(spec, "workspace", MINE, asked=asked, since=since, now=now) is expected


@pytest.mark.parametrize("state", ZoneState)
def test_pods_that_are_no_workspaces_are_not_judged(state: ZoneState) -> None:
    spec = zone(starts=(), state=state)
    assert judge_pod(spec, "importer", MINE, asked=9.0, since=0.0, now=1e9) is Judgement.STAYS


def test_a_pod_of_the_same_name_is_another_one() -> None:
    sightings, ref = Sightings(), Ref(POD, SPACE, "ws-a-1")
    sightings.see(ref, "u-1", 5.0)
    sightings.see(ref, "u-1", 9.0)
    assert sightings.since(ref, "u-1") == 5.0
    assert sightings.since(ref, "u-2") is None
    sightings.see(ref, "u-2", 11.0)
    assert sightings.since(ref, "u-2") == 11.0
    sightings.forget(ref)
    assert sightings.since(ref, "u-2") is None


def test_a_pod_is_told_by_its_digest_and_the_claims_that_it_mounts() -> None:
    volumes = [
        {"name": "h", "persistentVolumeClaim": {"claimName": "home-x"}},
        {"name": "d", "persistentVolumeClaim": {"claimName": "data-y"}},
        {"name": "tmp", "emptyDir": {}},
    ]
    labels = {"broch.dev/role": "workspace"}
    pod = zone_pod(
        {
            "metadata": {"name": "ws-a-1", "namespace": SPACE, "uid": "u-1", "labels": labels},
            "spec": {"volumes": volumes},
        }
    )
    assert pod.claims == ("data-y", "home-x")
    # The door knows a start by the same digest.
    assert pod.digest == token_hash(f"{SPACE}/ws-a-1")


def test_starts_and_revocations_do_not_make_a_zone_another_one() -> None:
    plain = zone()
    assert zone(starts=(MINE,), revocations=("01J0000000000000000000REVO",)).digest() == plain.digest()
    assert zone(state=ZoneState.FROZEN).digest() != plain.digest()
