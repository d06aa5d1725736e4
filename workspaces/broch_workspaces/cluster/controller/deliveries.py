"""Released bytes into `/imports`: one importer pod for each delivery, tried again with a fresh pod until it worked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from broch_workspaces.cluster.controller.objects import Seen
from broch_workspaces.cluster.spec import Delivery

FIRST, LONGEST = 2.0, 120.0
"""Seconds before a failed import is tried again; doubled each time."""
SLOW = 120.0
"""Seconds in which the pod of an import should have begun."""
TOLD_AFTER = 6
"""Attempts after which people are told: two minutes, in which a gateway that was away should be back."""
NAME_TAKEN = "A file of this name with other content is already there."
HOPELESS = {
    "Failed:2": "Broch told its importer something that makes no sense: please report it.",
    "Failed:3": NAME_TAKEN,
    "Failed:5": "The storage of imports cannot link files, which imports need.",
}
"""How the pod of an importer ends whose work no other can do either (cluster.md), and what is told of it."""
FULL = "Failed:4"
"""How it ends when there is no room."""
NO_ROOM = "There is no room for an import in the project's folder of imports."
NOT_YET = "A file could not yet be put into the folder of imports, or taken out of it."


@dataclass
class Attempt:
    """How far one delivery is."""

    number: int = 0
    not_before: float = 0.0
    since: float | None = None
    """When its pod was made, or first seen."""
    last: str = ""
    """How the pod of the last one ended."""

    def told(self) -> str:
        """Return what is told of it while it is not done."""
        if self.last == FULL:
            return NO_ROOM
        return NOT_YET if self.number >= TOLD_AFTER else ""


@dataclass
class Ledger:
    """Deliveries of one zone between two looks at it."""

    done: set[str] = field(default_factory=set)
    """Reported, and the report was taken: their pods are no longer needed."""
    attempts: dict[str, Attempt] = field(default_factory=dict)

    def keep_only(self, ids: set[str]) -> None:
        """Forget the deliveries that are no longer wanted."""
        self.done &= ids
        self.attempts = {key: value for key, value in self.attempts.items() if key in ids}


@dataclass(frozen=True)
class Work:
    """What is to be done now."""

    create: tuple[tuple[Delivery, int], ...] = ()
    """With the number of the attempt."""
    delete: tuple[str, ...] = ()
    """Names of pods."""
    delivered: tuple[str, ...] = ()
    undelivered: Mapping[str, str] = field(default_factory=dict)
    again: float | None = None
    """Seconds until a look is worth it although nothing happened."""
    message: str = ""


def plan(
    deliveries: tuple[Delivery, ...],
    pods: Mapping[str, Seen],
    name_of: Callable[[Delivery, int], str],
    ledger: Ledger,
    now: float,
    *,
    at_once: int,
) -> Work:
    """Say what is to be done for the deliveries of a zone.

    Args:
        deliveries: those wanted, in their order.
        pods: importer pods of the zone, as seen, by name.
        name_of: name of the pod of an attempt.
        ledger: what is remembered; attempts are advanced here.
        now: seconds, by any clock that only goes forward.
        at_once: pods that may run together.
    """
    ledger.keep_only({delivery.id for delivery in deliveries})
    open_ = [delivery for delivery in deliveries if delivery.id not in ledger.done]
    look = _Look(pods=pods, now=now)
    for delivery in open_:
        attempt = ledger.attempts.setdefault(delivery.id, Attempt())
        look.see(delivery, attempt, name_of(delivery, attempt.number))
    return look.work(at_once)


@dataclass
class _Look:
    """One pass over the deliveries of a zone."""

    pods: Mapping[str, Seen]
    now: float
    delivered: list[str] = field(default_factory=list)
    undelivered: dict[str, str] = field(default_factory=dict)
    waiting: list[tuple[Delivery, Attempt]] = field(default_factory=list)
    needed: set[str] = field(default_factory=set)
    """Names of pods that have work or a result that was not reported yet."""
    busy: set[str] = field(default_factory=set)
    """Names of files that somebody works on, or that an earlier delivery waits for."""
    waits: list[float] = field(default_factory=list)
    """Seconds after which something is due although nothing happens."""
    message: str = ""

    def see(self, delivery: Delivery, attempt: Attempt, name: str) -> None:
        """Take in how one delivery is."""
        pod = self.pods.get(name)
        if pod is None:
            self.waiting.append((delivery, attempt))
        elif pod.state.startswith("Failed") and pod.state not in HOPELESS:
            attempt.not_before = self.now + min(LONGEST, FIRST * 2 ** min(attempt.number, 10))
            attempt.number, attempt.last = attempt.number + 1, pod.state
            self.waiting.append((delivery, attempt))
        else:
            self.needed.add(name)
            self._see_pod(delivery, attempt, pod)
            if pod.state in HOPELESS or pod.state == "Succeeded":
                return
        self.message = self.message or attempt.told()

    def _see_pod(self, delivery: Delivery, attempt: Attempt, pod: Seen) -> None:
        if pod.state == "Succeeded":
            self.delivered.append(delivery.id)
        elif pod.state in HOPELESS:
            self.undelivered[delivery.id] = HOPELESS[pod.state]
        else:
            self.busy.add(delivery.name)
            attempt.since = self.now if attempt.since is None else attempt.since
            if pod.state != "Pending":
                return
            # Once it is late, looked at again only when something happens to it.
            if self.now - attempt.since < SLOW:
                self.waits.append(attempt.since + SLOW - self.now)
            if self.now - attempt.since >= SLOW:
                self.message = (
                    "An import waits: the cluster cannot start its pod. Ask your administrator if it lasts."
                )

    def work(self, at_once: int) -> Work:
        """Return what is to be done."""
        settled = len(self.delivered) + len(self.undelivered)
        # An importer that nobody expects may still write: it counts until it is gone.
        running = len(self.pods) - settled
        stray = any(
            name not in self.needed and pod.state != "Succeeded" and not pod.state.startswith("Failed")
            for name, pod in self.pods.items()
        )
        create: list[tuple[Delivery, int]] = []
        for delivery, attempt in self.waiting:
            if attempt.not_before > self.now:
                self.waits.append(attempt.not_before - self.now)
            elif stray and delivery.op == "remove":
                pass  # it might put in what was just taken out; its end is an event
            elif running < at_once and delivery.name not in self.busy:
                running += 1
                attempt.since = self.now
                create.append((delivery, attempt.number))
            # Later deliveries of the same name wait for this one: their order is what counts.
            self.busy.add(delivery.name)
        return Work(
            create=tuple(create),
            delete=tuple(
                name for name, pod in self.pods.items() if name not in self.needed and not pod.leaving
            ),
            delivered=tuple(self.delivered),
            undelivered=self.undelivered,
            again=min(self.waits) if self.waits else None,
            message=self.message,
        )
