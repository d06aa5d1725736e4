"""The worker of the outbox: claims due entries, runs their handler, retries with growing delays, gives up visibly."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import ColumnElement, true
from sqlmodel import col, select, update

from broch_core import faults
from broch_core.clock import utc_now
from broch_core.errors import DomainError
from broch_core.outbox.tables import OutboxEntry
from broch_core.store.unit import Store

log = structlog.get_logger()

Handler = Callable[[Mapping[str, Any]], None]

CLAIM = timedelta(minutes=1)
"""A claimed entry comes due again after this, should its worker have died. Short: a start that waits fails after two."""
RENEW_SECONDS = 15.0
"""How often a worker that lives renews the claims of what it has in hand."""
IDLE_SECONDS = 1.0
STOP_SECONDS = 30.0
"""How long all threads together may take to finish what they have in hand."""
DELAYS = (0.5, 1, 2, 5, 10, 30, 60, 120, 300)
"""Seconds before each further attempt."""


class TemporaryError(Exception):
    """Try again, after `delay` seconds or the usual ones."""

    def __init__(self, text: str, delay: float | None = None) -> None:
        super().__init__(text)
        self.delay = delay


class PermanentError(Exception):
    """Trying again is no use: a person must look."""


class _Lane:
    """Threads that take some kinds alone."""

    def __init__(self, kinds: ColumnElement[bool]) -> None:
        self.kinds = kinds
        self.wake = threading.Condition()


class OutboxWorker:
    """Runs the handlers of the outbox in threads of its own.

    Args:
        store: where the entries are.
        handlers: what carries each kind out.
        lanes: kinds that share threads which do nothing else; kinds that are in none share some of their own. So what
            takes minutes keeps nobody waiting who looks at a page.
        threads: of each lane.
    """

    def __init__(
        self,
        store: Store,
        handlers: Mapping[str, Handler],
        *,
        lanes: Sequence[Collection[str]] = (),
        threads: int = 2,
    ) -> None:
        self._store = store
        self._handlers = dict(handlers)
        self._stopping = False
        self._ended = threading.Event()
        self._in_hand: set[str] = set()
        self._hand = threading.Lock()
        kind = col(OutboxEntry.kind)
        named = [one for lane in lanes for one in lane]
        self._lanes = [_Lane(kind.in_(lane)) for lane in lanes] + [_Lane(kind.not_in(named))]
        self._threads = [
            threading.Thread(target=self._loop, args=[lane], name=f"outbox-{place}-{n}", daemon=True)
            for place, lane in enumerate(self._lanes)
            for n in range(threads)
        ]
        self._renewer = threading.Thread(target=self._renew, name="outbox-renewer", daemon=True)
        store.after_commit(OutboxEntry.__tablename__, self.wake)

    def start(self) -> None:
        """Begin to work. Entries that a dead process had claimed come due at once: one process owns the outbox here."""
        if self._store.single_process:
            with self._store.write(housekeeping=True) as change:
                change.session.exec(
                    update(OutboxEntry)
                    .where(col(OutboxEntry.done_at).is_(None), col(OutboxEntry.stuck_at).is_(None))
                    .values(due_at=utc_now())
                )
        for thread in (*self._threads, self._renewer):
            thread.start()

    def stop(self) -> None:
        """Finish the entries in hand and end; what is not finished comes due again once its claim is over."""
        self._stopping = True
        for lane in self._lanes:
            with lane.wake:
                lane.wake.notify_all()
        until = time.monotonic() + STOP_SECONDS
        for thread in self._threads:
            thread.join(timeout=max(0.0, until - time.monotonic()))
        self._ended.set()

    def wake(self) -> None:
        """Look for work now instead of at the next tick."""
        for lane in self._lanes:
            with lane.wake:
                lane.wake.notify()

    def run_due(self) -> int:
        """Run everything that is due now, of all kinds, in this thread; return how many entries were tried."""
        return self._run_due(true())

    def _run_due(self, kinds: ColumnElement[bool]) -> int:
        tried = 0
        while not self._stopping and (entry := self._claim(kinds)) is not None:
            try:
                faults.point("outbox.claimed")
                self._run(entry)
                faults.point("outbox.done")
            finally:
                self._let_go(entry.id)
            tried += 1
        return tried

    def _loop(self, lane: _Lane) -> None:
        while not self._stopping:
            try:
                if self._run_due(lane.kinds):
                    continue
            except Exception:
                log.exception("outbox.failed")
            with lane.wake:
                if not self._stopping:
                    lane.wake.wait(IDLE_SECONDS)

    def _renew(self) -> None:
        """Renew claims, so that nobody begins what is in hand once more, however long it takes."""
        while not self._ended.wait(RENEW_SECONDS):
            try:
                with self._hand:
                    if self._in_hand:
                        self._set(*self._in_hand, due_at=utc_now() + CLAIM)
            except Exception:
                log.exception("outbox.not_renewed")

    def _claim(self, kinds: ColumnElement[bool]) -> OutboxEntry | None:
        with self._hand:  # never inside a transaction: the renewer has both, in the other order
            in_hand = tuple(self._in_hand)
        due = (
            select(OutboxEntry)
            .where(
                col(OutboxEntry.done_at).is_(None),
                col(OutboxEntry.stuck_at).is_(None),
                OutboxEntry.due_at <= utc_now(),
                # The database may have been away for longer than a claim lasts.
                col(OutboxEntry.id).not_in(in_hand),
                kinds,
            )
            .order_by(col(OutboxEntry.due_at))
            .limit(1)
        )
        with self._store.read() as session:
            if session.exec(due).first() is None:  # an idle worker must not take the write lock every second
                return None
        with self._store.write(housekeeping=True) as change:
            entry = change.session.exec(due.with_for_update(skip_locked=True)).first()
            if entry is None:
                return None
            entry.due_at = utc_now() + CLAIM
            entry.attempts += 1
            change.session.add(entry)
        with self._hand:
            self._in_hand.add(entry.id)
        return entry

    def _run(self, entry: OutboxEntry) -> None:
        handler = self._handlers.get(entry.kind)
        try:
            if handler is None:
                raise PermanentError(f"nobody handles {entry.kind}")  # noqa: TRY301 - one path for every outcome
            handler(entry.payload)
            faults.point("outbox.handled")
        except PermanentError as error:
            log.error("outbox.stuck", kind=entry.kind, key=entry.key, error=str(error))  # noqa: TRY400 - expected
            self._settle(entry.id, stuck_at=utc_now(), error=str(error)[:500])
        except Exception as error:
            delay = getattr(error, "delay", None) or DELAYS[min(entry.attempts, len(DELAYS)) - 1]
            expected = isinstance(error, TemporaryError | DomainError)
            log.warning("outbox.retry", kind=entry.kind, key=entry.key, seconds=delay, exc_info=not expected)
            self._settle(
                entry.id,
                due_at=utc_now() + timedelta(seconds=delay),
                error=f"{type(error).__name__}: {error}"[:500],
            )
        else:
            self._settle(entry.id, done_at=utc_now(), error=None)

    def _settle(self, entry_id: str, **values: object) -> None:
        self._let_go(entry_id)  # before it is written: a renewal after that would undo when it comes due
        self._set(entry_id, **values)

    def _let_go(self, entry_id: str) -> None:
        with self._hand:
            self._in_hand.discard(entry_id)

    def _set(self, *entry_ids: str, **values: object) -> None:
        with self._store.write(housekeeping=True) as change:
            change.session.exec(
                update(OutboxEntry).where(col(OutboxEntry.id).in_(entry_ids)).values(**values)
            )
