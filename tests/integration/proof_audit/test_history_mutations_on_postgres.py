"""The same changes of stored history, on PostgreSQL: it is read there in another way."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from broch_core.audit.verification import Verification, VerifyResult, verify_database
from support.counts import count
from support.forger import Forger, History, make_history
from support.forgeries import FOUND_ALONE, FOUND_WITH_WHAT_WAS_KEPT
from support.postgres import cluster
from support.worlds import make_world

MUTATIONS = (*FOUND_ALONE, *FOUND_WITH_WHAT_WAS_KEPT)
TRIALS = count("mutations of stored history, PostgreSQL", ci=200, nightly=2000) // len(MUTATIONS) + 1


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    with cluster() as server:
        world = make_world(tmp_path_factory.mktemp("history"), server.fresh())
        yield make_history(world)
        world.store.engine.dispose()


def look(history: History, mutation, seed: int) -> VerifyResult:
    with history.engine.connect() as connection:
        if mutation is not None:
            mutation(Forger(connection, history, random.Random(seed)))
        trusted = history.kept if mutation in FOUND_WITH_WHAT_WAS_KEPT else None
        result = Verification(connection, history.trust, trusted, live_at=history.now).run()
        connection.rollback()
        return result


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_every_change_of_stored_history_is_found_on_postgres(history: History, mutation):
    for seed in range(TRIALS):
        result = look(history, mutation, seed)
        assert not result.ok, (mutation.__name__, seed)
    assert look(history, None, 0).ok


def test_an_unchanged_history_verifies_on_postgres_in_one_snapshot(history: History):
    result = verify_database(history.engine, history.trust, trusted=history.kept, live_at=history.now)
    assert (result.ok, result.size) == (True, history.size), result.reason
