"""What confirms each step of a revocation, as a table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from broch_core.revocations import (
    LIMIT,
    STARTS_SETTLE,
    TOKEN_BELIEVED,
    RevocationCause,
    RevocationFacts,
    RevocationStep,
    Sight,
    is_late,
    newly_confirmed,
    steps_of,
)

S, C = RevocationStep, RevocationCause
BEGUN = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
POD, OTHER, HOME, DATA = "pod", "other pod", "home-ada", "data-v1"


def confirmed(cause: C, seconds: float, *before: S, on_cluster: bool = True, **facts: Any) -> set[S]:
    """Return the further steps that are confirmed some seconds after the beginning."""
    known = dict.fromkeys((S.RIGHTS, *before), BEGUN)
    found = newly_confirmed(
        steps_of(cause, on_cluster=on_cluster),
        RevocationFacts(begun_at=BEGUN, confirmed=known, **{"starts": [POD], **facts}),
        BEGUN + timedelta(seconds=seconds),
    )
    return set(found)


def test_one_machine_has_neither_pods_nor_volumes() -> None:
    assert steps_of(C.GRANT_REVOKED, on_cluster=False) == (S.RIGHTS, S.HUB, S.TOKENS)
    assert confirmed(C.GRANT_REVOKED, 1, on_cluster=False) == {S.TOKENS}
    assert confirmed(C.GRANT_REVOKED, 1, on_cluster=False, hub_empty=True) == {S.TOKENS, S.HUB}


def test_a_door_that_still_opens_confirms_no_tokens() -> None:
    assert confirmed(C.PROJECT_FROZEN, 99, on_cluster=False, open_doors=[POD]) == set()


@pytest.mark.parametrize("cause", C)
def test_nothing_is_confirmed_by_time_alone(cause: C) -> None:
    assert confirmed(cause, 9999) == set()
    # The twin: all of it is confirmed by what was seen.
    found = confirmed(cause, 9999, S.PODS, hub_empty=True, sight=Sight())
    assert found == {*steps_of(cause, on_cluster=True)} - {S.RIGHTS, S.PODS}


@pytest.mark.parametrize(
    ("seconds", "before", "facts", "gone"),
    [
        (1, (), {"sight": Sight({POD: ()})}, False),
        (1, (), {"sight": Sight({OTHER: ()})}, True),
        (1, (), {"sight": Sight({OTHER: (HOME,)}), "homes": [HOME]}, False),
        (1, (), {"sight": Sight({OTHER: (HOME,)}), "homes": [HOME], "open_doors": [OTHER]}, True),
        (1, (), {"sight": Sight({OTHER: ()}), "whole": True}, False),
        (1, (), {"sight": Sight({OTHER: ()}), "whole": True, "open_doors": [OTHER]}, True),
        (1, (), {"sight": Sight(), "under_way": True}, False),
        (1, (S.HUB,), {"sight": Sight(), "under_way": True}, True),
        (STARTS_SETTLE.seconds, (), {"sight": Sight(), "under_way": True}, True),
    ],
    ids=[
        "there",
        "another's",
        "of the same person",
        "of the same person, by a right of today",
        "in a project whose right ended",
        "in it, by a right of today",
        "perhaps not made yet",
        "never made, the hub says",
        "a hub that is silent for long",
    ],
)
def test_pods_are_gone_when_none_that_is_meant_was_seen(
    seconds: float, before: tuple[S, ...], facts: dict[str, Any], gone: bool
) -> None:
    assert (S.PODS in confirmed(C.MEMBER_REMOVED, seconds, *before, **facts)) is gone


def test_a_token_counts_until_ten_seconds_after_its_pod() -> None:
    just_before = TOKEN_BELIEVED.seconds - 0.1
    assert S.TOKENS not in confirmed(C.PROJECT_FROZEN, just_before, S.PODS)
    assert S.TOKENS in confirmed(C.PROJECT_FROZEN, TOKEN_BELIEVED.seconds, S.PODS)


@pytest.mark.parametrize(
    ("sight", "open_doors", "gone"),
    [
        (Sight({}, [DATA]), [], False),
        (Sight({OTHER: (DATA,)}, []), [], False),
        (Sight({OTHER: (DATA,)}, []), [OTHER], True),
        (Sight({OTHER: (HOME,)}, []), [], False),
        (Sight({}, ["data-v2"]), [], True),
    ],
)
def test_volumes_are_gone_when_neither_they_nor_a_mount_was_seen(
    sight: Sight, open_doors: list[str], gone: bool
) -> None:
    found = confirmed(C.GRANT_REVOKED, 1, sight=sight, open_doors=open_doors, claims=[DATA], homes=[HOME])
    assert (S.VOLUMES in found) is gone


def test_sixty_seconds_are_in_time_and_more_is_late() -> None:
    assert not is_late(BEGUN, BEGUN + LIMIT)
    assert is_late(BEGUN, BEGUN + LIMIT + timedelta(seconds=1))
