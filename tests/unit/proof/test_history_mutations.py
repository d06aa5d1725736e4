"""Whoever changes the stored history is found: edit, delete, swap, insert, cut, fork, sign again with an old key."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from broch_core.audit.verification import Verification, VerifyResult
from support.counts import count
from support.forger import Forger, History, make_history
from support.forgeries import (
    FOUND_ALONE,
    FOUND_WITH_WHAT_WAS_KEPT,
    cut_to_a_checkpoint,
    fork_with_the_key_in_force,
)
from support.worlds import make_world

MUTATIONS = (*FOUND_ALONE, *FOUND_WITH_WHAT_WAS_KEPT)
TRIALS = count("mutations of stored history, SQLite", ci=2000, nightly=10_000) // len(MUTATIONS) + 1


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    return make_history(make_world(tmp_path_factory.mktemp("history")))


def look(
    history: History, mutation: Callable[[Forger], None] | None, seed: int, *, kept: bool
) -> VerifyResult:
    with history.engine.connect() as connection:
        if mutation is not None:
            mutation(Forger(connection, history, random.Random(seed)))
        trusted = history.kept if kept else None
        result = Verification(connection, history.trust, trusted, live_at=history.now).run()
        connection.rollback()
        return result


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_every_change_of_stored_history_is_found(history: History, mutation: Callable[[Forger], None]):
    assert look(history, None, 0, kept=True).ok
    for seed in range(TRIALS):
        result = look(history, mutation, seed, kept=mutation in FOUND_WITH_WHAT_WAS_KEPT)
        assert not result.ok, (mutation.__name__, seed)
        assert result.reason
    assert look(history, None, 0, kept=True).ok


def test_an_unchanged_history_verifies_with_its_rotation_and_its_erasure(history: History):
    result = look(history, None, 0, kept=True)
    assert (result.ok, result.size, result.checkpoints) == (True, history.size, 11)
    assert result.erased > 0
    assert "continues the trusted checkpoint" in result.reason


@pytest.mark.parametrize("mutation", [cut_to_a_checkpoint, fork_with_the_key_in_force])
def test_what_the_owner_of_the_keys_does_is_seen_only_by_a_checkpoint_that_was_kept(
    history: History, mutation: Callable[[Forger], None]
):
    seeds = range(20)
    assert any(look(history, mutation, seed, kept=False).ok for seed in seeds)
    assert not any(look(history, mutation, seed, kept=True).ok for seed in seeds)
