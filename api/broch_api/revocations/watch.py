"""Follows revocations to their end: asks the hub, looks at the clock, tells what is late. Never gives up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import structlog
from sqlmodel import Session, select

from broch_api.revocations.confirming import confirm, confirmed_of, facts_of, moves, open_ids, tell_late
from broch_api.workspaces.hub import HubAway, HubClient, HubRefused
from broch_core.clock import utc_now
from broch_core.lifecycles import WorkspaceStatus
from broch_core.revocations import RevocationStep, is_late
from broch_core.store.unit import Store
from broch_core.tables.revocations import Revocation
from broch_core.tables.workspaces import Workspace

EVERY_SECONDS = 1.0
AT_ONCE = 8
"""Servers that the hub is asked to stop at once: a frozen TRE has many, and each may take seconds."""
ASK_SECONDS = 10.0
"""How long one round asks a slow hub: what began meanwhile waits for the next round. The outbox asks it too."""
_ENDS = (WorkspaceStatus.STOPPING, WorkspaceStatus.STOPPED, WorkspaceStatus.FAILED)
log = structlog.get_logger()
T = TypeVar("T")


class RevocationWatch:
    """Confirms what the hub and the clock can tell; what the cluster tells comes with the controller's reports."""

    def __init__(
        self,
        store: Store,
        hub: HubClient,
        *,
        on_cluster: bool,
        every_seconds: float = EVERY_SECONDS,
        ask_seconds: float = ASK_SECONDS,
    ) -> None:
        self._store = store
        self._hub = hub
        self._on_cluster = on_cluster
        self._every = every_seconds
        self._ask_seconds = ask_seconds
        self._asked: dict[str, float] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="revocations", daemon=True)
        self.failing: Mapping[str, str] = {}
        """Revocations that the last round could not judge, each with the error's name; the next round tries again."""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the round in hand."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=30)

    def round(self) -> int:
        """Look once at everything that is not done, each for itself; return how many revocations moved."""
        failing: dict[str, str] = {}
        with self._store.read() as session:
            found = [self._alone(id_, failing, partial(_whole, session, id_)) for id_ in open_ids(session)]
        rows = [row for row in found if row is not None]
        now = utc_now()
        for row in rows:
            if row.late_at is None and is_late(row.begun_at, now):
                self._alone(row.id, failing, partial(self._late, row.id))  # the alarm waits for no hub
        empty = self._emptied([row for row in rows if RevocationStep.HUB not in confirmed_of(row)])
        moved = [
            self._alone(row.id, failing, partial(self._settle, row, hub_empty=row.id in empty))
            for row in rows
        ]
        for id_ in [*failing]:
            self._alone(id_, failing, partial(self._late, id_))
        self.failing = failing
        return sum(map(bool, moved))

    def _alone(self, id_: str, failing: dict[str, str], judge: Callable[[], T]) -> T | None:
        """Do something about one revocation; what goes wrong is told, and keeps no other from its end."""
        try:
            return judge()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told below and tried again
            # Every second: the whole story once, and that it goes on.
            tell = log.error if id_ in self.failing else log.exception
            tell("revocation.failed", revocation=id_, error=type(error).__name__)
            failing[id_] = type(error).__name__
            return None

    def _late(self, id_: str) -> None:
        """Tell that one is late, whatever else of it can be judged."""
        with self._store.write(housekeeping=True) as change:
            row = change.session.get_one(Revocation, id_, with_for_update=True)
            tell_late(change, row, utc_now(), on_cluster=self._on_cluster)

    def _loop(self) -> None:
        while not self._stopping.is_set():
            try:
                self.round()
            except Exception:
                log.exception("revocations.failed")
            self._stopping.wait(self._every)

    def _settle(self, seen: Revocation, *, hub_empty: bool) -> bool:
        now = utc_now()
        with self._store.read() as session:
            facts = facts_of(session, seen, now, hub_empty=hub_empty)
        if not moves(seen, facts, now, on_cluster=self._on_cluster):
            return False  # what waits must not take the write lock every second
        with self._store.write() as change:
            row = change.session.get(Revocation, seen.id, with_for_update=True)
            if row is None or row.done_at is not None:
                return False
            facts = facts_of(change.session, row, now, hub_empty=hub_empty)
            return confirm(change, row, facts, now, on_cluster=self._on_cluster)

    def _emptied(self, rows: Sequence[Revocation]) -> set[str]:
        """Have the hub stop what is meant, and return the revocations of which it has nothing any more."""
        named = {start["principal"] for row in rows for start in row.starts}
        if not named:
            return {row.id for row in rows}
        # Who waited longest comes first: where there is no time for all, none is left out for ever.
        principals = sorted(named, key=lambda name: (self._asked.get(name, 0.0), name))
        self._asked = {name: self._asked.get(name, 0.0) for name in named}
        until = time.monotonic() + self._ask_seconds
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="revocations") as pool:
            there = {
                name
                for name, gone in zip(
                    principals, pool.map(partial(self._end, until), principals), strict=True
                )
                if not gone
            }
        return {row.id for row in rows if there.isdisjoint(start["principal"] for start in row.starts)}

    def _end(self, until: float, principal: str) -> bool:
        if time.monotonic() >= until:
            return False
        self._asked[principal] = time.monotonic()
        try:
            with self._store.read() as session:
                status = session.exec(
                    select(Workspace.status).where(Workspace.principal == principal)
                ).first()
            if status is not None and status not in _ENDS:
                # Opened again, by a right of today: the life cycle begins a start only when the one before is over.
                return True
            return self._hub.stop(principal)
        except (HubAway, HubRefused) as error:
            log.warning("revocation.hub", principal=principal, error=str(error))
        except Exception:  # of one answer: it is asked again in the next round
            log.exception("revocation.hub", principal=principal)
        return False


def _whole(session: Session, id_: str) -> Revocation:
    """Read one: one that does not say whom to stop must not be taken for one that has nobody to stop."""
    row = session.get_one(Revocation, id_)
    for start in row.starts:
        str(start["principal"])
    return row
