"""Released bytes are approved bytes under random orders of submit, change, decide, check, release, recall."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

import pytest

from support.airlock_model import explore
from support.counts import count

EXAMPLES = count("released bytes = approved bytes: orders of events", ci=2000, nightly=10000)
WORKERS = 2


@pytest.mark.timeout(3600)  # nightly counts
def test_released_bytes_are_approved_bytes_in_every_order() -> None:
    with ProcessPoolExecutor(WORKERS, multiprocessing.get_context("spawn")) as pool:
        parts = pool.map(explore, [EXAMPLES // WORKERS] * WORKERS, range(WORKERS))
    seen: Counter[str] = sum(parts, Counter())
    # The model is worth something only where things went the whole way, the wrong way and back.
    wanted = (
        "approved",
        "returned",
        "rejected",
        "quarantined",
        "withdrawn",
        "failed",
        "downloaded",
        "recalled",
    )
    for what in ("released", *wanted):
        assert seen[what] >= EXAMPLES / 400, seen
