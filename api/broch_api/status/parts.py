"""Parts that work needs, and the question how each is doing."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path

from sqlmodel import col, func, select

from broch_api.workspaces.hub import HubAway, HubClient, HubRefused
from broch_core.audit.exports.publisher import LogPublisher
from broch_core.audit.log import AuditLog
from broch_core.clock import utc_now
from broch_core.outbox.tables import OutboxEntry
from broch_core.store.unit import Store

OLDEST_UNNUMBERED = timedelta(seconds=30)
"""Records without a number for longer: the sequencer does not work. It needs about a second."""
OUTBOX_LATE = timedelta(minutes=5)
"""Side effects due for longer: nobody works on them."""
LEAST_FREE = 1 << 30
"""Bytes free on the disk of the database. Below 1 GiB uploads and the log may fail any moment."""

_EXPORT = "Audit export"
_SILENT = "Look whether it runs and whether the network lets this service reach it."


@dataclass(frozen=True)
class PartHealth:
    """How one part is doing, in words for an administrator."""

    name: str
    ok: bool
    why: str
    remedy: str | None = None
    """What to do, when it is not well."""
    needed: bool = True
    """Without it no work is possible at all; otherwise only something waits."""
    title: str = ""


HealthPart = Callable[[], PartHealth]
"""Asks one part. It must answer in a few seconds, and may raise: that is `not ok`."""


def name_of(part: HealthPart) -> str:
    """Return what a part is called that gave no answer: by its function's name."""
    asked = part.part if isinstance(part, Remembered) else part
    asked = asked.func if isinstance(asked, partial) else asked
    name: str = getattr(asked, "__qualname__", type(asked).__name__)
    return name.split(".", maxsplit=1)[0].removesuffix("_part")


class Remembered:
    """A costly part: asked at most every `seconds`, by one caller at a time.

    Who comes meanwhile waits a moment for that answer and is then told that there is none: of a part that hangs, one thread of
    the service waits, and not all of them.

    Args:
        part: answers.
        seconds: how long an answer stands.
        patience: how long somebody waits for what another asked, seconds.
    """

    def __init__(self, part: HealthPart, seconds: float, *, patience: float = 5.0) -> None:
        self.part = part
        self._seconds = seconds
        self._patience = patience
        self._answered = threading.Condition()
        self._asked: float | None = None
        self._last: tuple[float, PartHealth] | None = None

    def __call__(self) -> PartHealth:
        """Return the answer.

        Raises:
            TimeoutError: there is none yet, and never was one.
        """
        with self._answered:
            if self._last is not None and time.monotonic() - self._last[0] < self._seconds:
                return self._last[1]
            if self._asked is not None:
                return self._wait(self._asked)
            self._asked = time.monotonic()
        answer: PartHealth | None = None
        try:
            answer = self.part()
            return answer
        finally:
            with self._answered:
                # It stands from the moment in which it came: one that took long is no older for that.
                self._last = None if answer is None else (time.monotonic(), answer)
                self._asked = None
                self._answered.notify_all()

    def _wait(self, asked: float) -> PartHealth:
        left = asked + self._patience - time.monotonic()
        came = self._answered.wait_for(lambda: self._asked is None, timeout=max(0.0, left))
        if self._last is None:
            raise TimeoutError("no answer")
        if came:
            return self._last[1]
        silent = time.monotonic() - asked
        return replace(
            self._last[1], ok=False, why=f"It has not answered for {silent:.0f} s.", remedy=_SILENT
        )


def database_part(store: Store) -> HealthPart:
    """Ask the database."""

    def ask() -> PartHealth:
        with store.read() as session:
            session.exec(select(1)).one()
        return PartHealth("database", ok=True, why="It answers.", title="Database")

    return ask


def sequencer_part(log: AuditLog) -> HealthPart:
    """Ask whether audit records get their numbers."""

    def ask() -> PartHealth:
        oldest = log.oldest_unnumbered()
        age = utc_now() - oldest if oldest else timedelta()
        if age > OLDEST_UNNUMBERED:
            return PartHealth(
                "sequencer",
                ok=False,
                why=f"A record has waited {int(age.total_seconds())} s for its number.",
                remedy="Look for 'sequencer.failed' in logs/web.log, then restart Broch.",
                title="Audit log",
            )
        return PartHealth("sequencer", ok=True, why="Every record has its number.", title="Audit log")

    return ask


def export_part(publisher: LogPublisher) -> HealthPart:
    """Ask what came of the last export of the audit log."""

    def ask() -> PartHealth:
        last = publisher.last
        if last is None:
            return PartHealth(
                "audit_export", ok=True, why="It has not begun yet.", needed=False, title=_EXPORT
            )
        return PartHealth(
            "audit_export", ok=last.ok, why=last.why, remedy=last.remedy, needed=False, title=_EXPORT
        )

    return ask


def outbox_part(store: Store) -> HealthPart:
    """Ask whether side effects happen."""

    def ask() -> PartHealth:
        with store.read() as session:
            open_ = select(func.count()).select_from(OutboxEntry).where(col(OutboxEntry.done_at).is_(None))
            stuck = session.exec(open_.where(col(OutboxEntry.stuck_at).is_not(None))).one()
            late = session.exec(
                open_.where(col(OutboxEntry.stuck_at).is_(None), OutboxEntry.due_at < utc_now() - OUTBOX_LATE)
            ).one()
            kinds = session.exec(
                select(OutboxEntry.kind).where(col(OutboxEntry.stuck_at).is_not(None)).distinct()
            ).all()
        if stuck or late:
            named = f" ({', '.join(sorted(kinds))})" if kinds else ""
            return PartHealth(
                "outbox",
                ok=False,
                needed=False,
                why=f"Stuck side effects: {stuck}{named}. Late ones: {late}.",
                remedy="Look for 'outbox.stuck' in logs/web.log: it says why. Then restart Broch.",
                title="Work in the background",
            )
        return PartHealth(
            "outbox", ok=True, needed=False, why="Nothing is stuck.", title="Work in the background"
        )

    return ask


def hub_part(hub: HubClient) -> HealthPart:
    """Ask the hub, with the control plane's own token."""

    def ask() -> PartHealth:
        try:
            version = hub.version()
        except (HubAway, HubRefused) as error:
            return PartHealth(
                "hub",
                ok=False,
                why=f"{str(error)[:1].upper()}{str(error)[1:]}.",
                remedy="Workspaces cannot open or stop until it is back. Look into logs/hub.log.",
                title="Workspace hub",
            )
        return PartHealth("hub", ok=True, why=f"JupyterHub {version} answers.", title="Workspace hub")

    return ask


def disk_part(folder: Path) -> HealthPart:
    """Ask how much room is left."""

    def ask() -> PartHealth:
        free = shutil.disk_usage(folder).free
        writable = os.access(folder, os.W_OK)
        ok = free >= LEAST_FREE and writable
        why = f"{free / (1 << 30):.1f} GiB are free." if writable else "Its folder cannot be written."
        remedy = (
            None if ok else "Make room on the disk of Broch's folder, or move the folder to a larger one."
        )
        return PartHealth("disk", ok=ok, why=why, remedy=remedy, title="Disk")

    return ask
