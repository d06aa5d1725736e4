"""Who may pass the proxy to a shared workspace: one user of the hub for each stay, who is let in and put out alone.

The server inside is everybody's who works in it, so its own sign-in is no wall: what it lets in, the proxy may still
refuse. A stay is proved to the proxy by a cookie that the server never sees.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

SHARED = "shared"
"""First label of the name under which the hub's routing table holds a shared workspace. No browser's host has it there, so
nothing leads to one but a stay."""
ENTER = "/enter"
"""Where the sign-in to the hub sends a browser with its ticket, as `code`: the hub's log hides that."""
COOKIE = "__Host-broch-entry"
TICKET_SECONDS = 60.0
ABSENT_SECONDS = 120.0
"""How long somebody may have nothing open before they count as gone: a laptop that sleeps for a moment comes back."""
UNKNOWN_SECONDS = 45.0
"""How long a stay goes on that nobody could be asked about: whose right ended meanwhile is out within a minute (design,
rule 8). The pod is not ended for it, so nothing else would put them out."""
_TELL_AGAIN = 30.0
_AT_ONCE = 500
"""Stays that the control plane takes in one question."""

Close = Callable[[], object]


@dataclass
class _Stay:
    workspace: str
    seen_at: float
    known_at: float
    """When the control plane last said that it goes on, or made it."""
    told_at: float = float("-inf")
    open: list[Close] = field(default_factory=list)


class Entrances:
    """Stays in shared workspaces, of this process: the hub's sign-in admits and ends them, its proxy asks.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stays: dict[str, _Stay] = {}
        self._tickets: dict[str, tuple[str, float]] = {}
        self._untold: set[str] = set()

    def admit(self, guest: str, workspace: str) -> None:
        """Let a user of the hub into one shared workspace; both are principals."""
        self._untold.discard(guest)
        if guest not in self._stays:
            now = self._clock()
            self._stays[guest] = _Stay(workspace, seen_at=now, known_at=now)

    def end(self, guest: str) -> None:
        """Let a user in no more, and cut everything that it holds open now."""
        stay = self._stays.pop(guest, None)
        for close in stay.open if stay is not None else ():
            close()

    async def confirm(self, standing: Callable[[list[str]], Awaitable[set[str]]]) -> None:
        """Ask which stays go on, and end the others: those that began meanwhile are asked about the next time."""
        asked = sorted(self._stays)
        for first in range(0, len(asked), _AT_ONCE):
            some = asked[first : first + _AT_ONCE]
            at, go_on = self._clock(), await standing(some)
            for guest in some:
                if guest not in go_on:
                    self.end(guest)
                elif (stay := self._stays.get(guest)) is not None:
                    stay.known_at = at

    def end_unknown(self) -> None:
        """End every stay that nobody could be asked about for too long. Who still has the right may come in again."""
        now = self._clock()
        for guest in [one for one, stay in self._stays.items() if now - stay.known_at >= UNKNOWN_SECONDS]:
            self.end(guest)
            self._untold.add(guest)

    def ticket(self, guest: str) -> str:
        """Return what turns into the cookie at the workspace's own host: random, once, for a minute."""
        now = self._clock()
        self._tickets = {name: known for name, known in self._tickets.items() if known[1] > now}
        made = secrets.token_urlsafe(32)
        self._tickets[made] = (guest, now + TICKET_SECONDS)
        return made

    def redeem(self, ticket: str, workspace: str, key: bytes) -> str | None:
        """Return the cookie's value for a ticket, once; nothing if it is not good for this workspace (any more)."""
        guest, until = self._tickets.pop(ticket, ("", 0.0))
        stay = self._stays.get(guest)
        if stay is None or stay.workspace != workspace or self._clock() >= until:
            return None
        return f"{guest}.{_seal(guest, workspace, key)}"

    def guest_of(self, cookies: str, workspace: str, key: bytes) -> str | None:
        """Return whose stay in a workspace a Cookie header proves, while it lasts."""
        for part in cookies.split(";"):
            name, _, value = part.strip().partition("=")
            guest, _, seal = value.partition(".")
            if name == COOKIE and hmac.compare_digest(seal.encode(), _seal(guest, workspace, key).encode()):
                stay = self._stays.get(guest)
                return guest if stay is not None and stay.workspace == workspace else None
        return None

    @contextmanager
    def holding(self, guest: str | None, close: Close) -> Iterator[None]:
        """Know of a connection while it lasts, so that it can be cut; None: it is nobody's stay."""
        stay = self._stays.get(guest) if guest is not None else None
        if stay is None:
            yield
            return
        stay.open.append(close)
        try:
            yield
        finally:
            stay.open.remove(close)
            stay.seen_at = self._clock()

    def absent(self) -> list[str]:
        """Return who has had nothing open for a while and was not told of a moment ago, and who was put out unasked."""
        now = self._clock()
        found = [
            guest
            for guest, stay in self._stays.items()
            if not stay.open and now - stay.seen_at >= ABSENT_SECONDS and now - stay.told_at >= _TELL_AGAIN
        ]
        for guest in found:
            self._stays[guest].told_at = now
        return [*found, *sorted(self._untold)]

    def told(self, guest: str) -> None:
        """Note that the control plane took the word about somebody who is absent."""
        self._untold.discard(guest)

    def admitted(self) -> Mapping[str, str]:
        """Return every stay with its workspace."""
        return {guest: stay.workspace for guest, stay in self._stays.items()}


def _seal(guest: str, workspace: str, key: bytes) -> str:
    return hmac.new(key, f"broch entry {workspace} {guest}".encode(), hashlib.sha256).hexdigest()


def own_cookie(value: str) -> str:
    """Return the Set-Cookie of a stay: of this host alone, for no script, and never sent on to the server behind."""
    return f"{COOKIE}={value}; Path=/; Secure; HttpOnly; SameSite=Lax"


ENTRANCES = Entrances()
"""Those of the hub's process."""
