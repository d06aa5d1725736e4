"""Two transactions on PostgreSQL that meet where a test wants them to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import text

from support.worlds import World


class Act:
    """Something done in a thread of its own, and what came of it."""

    def __init__(self, call: Callable[[], object]) -> None:
        self.error: Exception | None = None
        self._call = call
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._call()
        except Exception as error:  # noqa: BLE001 - handed to the asserting thread
            self.error = error

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    def end(self) -> Exception | None:
        self._thread.join(30)
        assert self.done, "it waits for ever"
        return self.error


@contextmanager
def held(world: World, table: str, id_: str) -> Iterator[None]:
    """Hold the lock on a row, as a slow neighbour would."""
    with world.store.engine.begin() as connection:
        connection.execute(text(f'SELECT 1 FROM "{table}" WHERE id = :id FOR UPDATE'), {"id": id_})
        yield


def waits(world: World, act: Act, number: int) -> None:
    """Return once so many transactions wait for a lock, or the act is over."""
    query = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    deadline = time.monotonic() + 10
    while not act.done:
        with world.store.engine.connect() as connection:
            if connection.execute(query).scalar_one() >= number:
                return
        assert time.monotonic() < deadline
        time.sleep(0.02)
