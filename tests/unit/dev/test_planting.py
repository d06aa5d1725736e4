"""Zones of a benchmark that are copied below the API server: other ids, and nothing else."""

from __future__ import annotations

import itertools
import sys

import pytest

from support.documented import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

from planting import copied, transactions

PROJECT, OTHER = "01j000000000000000000000aa", "01j000000000000000000000bb"
CLAIM, VOLUME = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
ZONE = [
    (f"/registry/claims/zone-{PROJECT}/home".encode(), f"\x0auid{CLAIM}\x12\x1azone-{PROJECT}".encode()),
    (f"/registry/volumes/{PROJECT}".encode(), f"{VOLUME} is of {CLAIM} and {PROJECT}".encode()),
]


def test_a_copy_has_ids_of_its_own_which_still_refer_to_each_other() -> None:
    numbers = itertools.count(1)
    copy = copied(ZONE, [PROJECT], [OTHER], lambda: f"{next(numbers):08d}-0000-4000-8000-000000000000")
    text = repr(copy)
    for old in (PROJECT, CLAIM, VOLUME):
        assert old not in text
    assert [key.decode() for key, _ in copy] == [
        f"/registry/claims/zone-{OTHER}/home",
        f"/registry/volumes/{OTHER}",
    ]
    of_claim = copy[0][1].decode().removeprefix("\x0auid")[:36]
    assert f" is of {of_claim} and {OTHER}" in copy[1][1].decode()


def test_what_is_stored_keeps_its_length() -> None:
    copy = copied(ZONE, [PROJECT], [OTHER], lambda: CLAIM[::-1])
    assert [len(value) for _, value in copy] == [len(value) for _, value in ZONE]
    with pytest.raises(ValueError, match="longer or shorter"):
        copied(ZONE, [PROJECT], [OTHER + "b"], lambda: CLAIM)


def test_no_two_objects_of_a_resource_are_written_together() -> None:
    zone = [*ZONE, (f"/registry/claims/zone-{PROJECT}/project".encode(), b"x")]
    assert transactions(zone) == [[zone[0], zone[1]], [zone[2]]]
