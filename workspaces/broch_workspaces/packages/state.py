"""What the package route remembers between requests: the lists in force, indexes made from them, bytes of a day, refusals."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from datetime import UTC, datetime, timedelta

import structlog

from broch_core.errors import TooMany, Unavailable
from broch_workspaces.packages.allowed import Allowed
from broch_workspaces.packages.control import ControlPlane, NoAnswer
from broch_workspaces.packages.settings import PackagesSettings
from broch_workspaces.packages.spec import Denials, Ecosystem, ProjectList

_log = structlog.get_logger()

_MOST_NAMES = 200
"""Different names of one project that wait to be told: a zone makes them up as it likes, and must not hide those of others."""
FURTHER = "(further names)"
"""In place of those beyond: no package is called so."""
_WORTH_KEEPING = 4096
"""Bytes. Smaller ones are made in no time, and a zone can name channels without end that have nothing."""
_AT_ONCE = 1000
"""Items in one call."""
_LONGEST_NAME = 255


class Lists:
    """The lists in force: those that the control plane gave last, while it still answers.

    Args:
        settings: how long they are good for without an answer.
        clock: seconds, monotonic.
    """

    def __init__(self, settings: PackagesSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._allowed: Allowed | None = None
        self._heard = 0.0

    @property
    def age(self) -> float | None:
        """Seconds since the control plane last answered; None: it never did."""
        return None if self._allowed is None else self._clock() - self._heard

    def take(self, allowed: Allowed | None) -> None:
        """Take what the control plane said; None: what is in force still is."""
        if allowed is not None:
            self._allowed = allowed
        self._heard = self._clock()

    def current(self) -> Allowed:
        """Return the lists in force.

        Raises:
            Unavailable: there are none yet, or they are too old to be relied on.
        """
        if self._allowed is None:
            raise Unavailable("The package route has no lists yet. Try again in a minute.")
        if self._clock() - self._heard > self._settings.stale_seconds:
            raise Unavailable(
                "The package route has not heard from the control plane for too long, "
                "so nobody can say what is allowed. Try again in a few minutes."
            )
        return self._allowed

    async def keep(self, control: ControlPlane) -> None:
        """Follow the control plane, without end."""
        while True:
            after = "" if self._allowed is None else self._allowed.digest
            began = self._clock()
            try:
                found = await control.lists(after, self._settings.wait_seconds)
                if found is not None:
                    self.take(await asyncio.to_thread(Allowed, found))
                    _log.info("packages.lists", common=len(found.common), projects=len(found.projects))
                elif self._allowed is not None:
                    self.take(None)
            except NoAnswer as error:
                _log.warning("packages.no_lists", reason=str(error))
                await asyncio.sleep(self._settings.retry_seconds)
            else:
                # An answer that says nothing new was held back; one that was not must not be asked for in a hurry.
                if found is None and self._clock() - began < self._settings.retry_seconds:
                    await asyncio.sleep(self._settings.retry_seconds)


class MadeIndexes:
    """Indexes of whole lists: to make one takes a tenth of a second, in which nobody else is answered.

    Args:
        most: bytes of all that are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._of: Allowed | None = None
        self._made: OrderedDict[Hashable, bytes] = OrderedDict()
        self._size = 0

    def get(self, allowed: Allowed, key: Hashable, make: Callable[[], bytes]) -> bytes:
        """Return an index of these lists.

        Args:
            allowed: the lists; others than before: all indexes are made anew.
            key: whose index it is, and which.
            make: makes it.
        """
        if allowed is not self._of:
            self._of, self._size = allowed, 0
            self._made.clear()
        if (page := self._made.get(key)) is not None:
            self._made.move_to_end(key)
            return page
        page = make()
        if len(page) >= _WORTH_KEEPING:
            self._made[key] = page
            self._size += len(page)
            while self._size > self._most:
                self._size -= len(self._made.popitem(last=False)[1])
        return page


class Allowance:
    """Bytes that each project was served today (UTC).

    Args:
        now: the clock.
    """

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._day = now().date()
        self._served: Counter[str] = Counter()

    def check(self, project: ProjectList, size: int) -> None:
        """Refuse what would go beyond the project's bytes of a day.

        Raises:
            TooMany: it would; says when there are more.
        """
        now = self._now()
        if now.date() != self._day:
            self._day = now.date()
            self._served.clear()
        if self._served[project.project_id] + size > project.bytes_a_day:
            tomorrow = datetime.combine(self._day + timedelta(days=1), datetime.min.time(), UTC)
            seconds = int((tomorrow - now).total_seconds()) + 1
            raise TooMany(
                f"This project has fetched its {project.bytes_a_day:,} bytes of today. "
                f"There are more from {tomorrow:%Y-%m-%d %H:%M} UTC.",
                retry_after=seconds,
            )

    def charge(self, project: ProjectList, size: int) -> None:
        """Count what is about to be served.

        Raises:
            TooMany: it would be too much; nothing is counted.
        """
        self.check(project, size)
        self._served[project.project_id] += size

    def give_back(self, project: ProjectList, size: int) -> None:
        """Count what was not served after all."""
        self._served[project.project_id] = max(self._served[project.project_id] - size, 0)


class Refusals:
    """Names that were asked for in vain, added up by project until the control plane is told."""

    def __init__(self) -> None:
        self._waiting: dict[str, Counter[tuple[Ecosystem, str]]] = {}

    def add(self, project_id: str, ecosystem: Ecosystem, name: str, times: int = 1) -> None:
        """Note one; the name is a zone's, and becomes one line of printable ASCII."""
        shown = "".join(char if " " <= char <= "~" else "?" for char in name[:_LONGEST_NAME])
        mine = self._waiting.setdefault(project_id, Counter())
        key = (ecosystem, shown)
        mine[key if key in mine or len(mine) < _MOST_NAMES else (ecosystem, FURTHER)] += times

    async def tell(self, control: ControlPlane) -> None:
        """Tell what waits; what is not taken waits on.

        Raises:
            NoAnswer: it was not taken.
        """
        told, self._waiting = self._waiting, {}
        left = [
            Denials.Denial(project_id=project, ecosystem=ecosystem, name=name, count=times)
            for project, names in told.items()
            for (ecosystem, name), times in names.items()
        ]
        try:
            while left:
                await control.denied(Denials(items=tuple(left[:_AT_ONCE])))
                del left[:_AT_ONCE]
        except BaseException:
            for one in left:
                self.add(one.project_id, one.ecosystem, one.name, one.count)
            raise

    async def keep_telling(self, control: ControlPlane, every: float) -> None:
        """Tell now and then, without end."""
        while True:
            await asyncio.sleep(every)
            try:
                await self.tell(control)
            except NoAnswer as error:
                _log.warning("packages.denials_not_told", reason=str(error))
