"""The end of a right as one saga: what has to be seen gone, step by step, and by when. Pure (design, rule 8).

A revocation begins in the transaction that ends the right. Each further step counts only once it was seen: at the hub,
at the door, by the controller's look at the cluster. Whatever is cut off in the middle is worked out again from rows and
from what is there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

LIMIT = timedelta(seconds=60)
"""Until when everything must be gone (design, rule 8); what takes longer is late, is told, and goes on."""
TOKEN_BELIEVED = timedelta(seconds=10)
"""How long the zone gateway may believe an answer about a token (docs/cluster.md, *Gateway*)."""
STARTS_SETTLE = timedelta(seconds=30)
"""How long a hub that does not answer may still be making the pod of a start that was under way."""


class RevocationCause(StrEnum):
    """Which right ended, or who ended it."""

    MEMBER_REMOVED = "member-removed"
    MEMBER_EXPIRED = "member-expired"
    GRANT_REVOKED = "grant-revoked"
    GRANT_EXPIRED = "grant-expired"
    DATA_SUSPENDED = "data-suspended"
    PROJECT_FROZEN = "project-frozen"
    PROJECT_ENDED = "project-ended"
    PROJECT_EXPIRED = "project-expired"
    TRE_FROZEN = "tre-frozen"


class RevocationStep(StrEnum):
    """What has to be gone, in the order in which it goes."""

    RIGHTS = "rights"
    """In the database: the next question at a door or for a plan is answered no."""
    HUB = "hub"
    """The server, its tokens and its sign-ins; with them every open websocket."""
    PODS = "pods"
    """The pods of the starts that were meant."""
    TOKENS = "tokens"
    """What the door and the gateway let pass."""
    VOLUMES = "volumes"
    """The volume of the data, or the hold on the person's home."""


_C, _S = RevocationCause, RevocationStep
_VOLUMES = frozenset(
    {_C.MEMBER_REMOVED, _C.MEMBER_EXPIRED, _C.GRANT_REVOKED, _C.GRANT_EXPIRED, _C.DATA_SUSPENDED}
)
"""Who takes volumes along. A frozen project keeps them, without a pod; those of an ended one go with its zone."""


def steps_of(cause: RevocationCause, *, on_cluster: bool) -> tuple[RevocationStep, ...]:
    """Return the steps that apply. One machine has neither pods nor volumes: mounts end with the server's processes."""
    if not on_cluster:
        return (_S.RIGHTS, _S.HUB, _S.TOKENS)
    volumes = (_S.VOLUMES,) if cause in _VOLUMES else ()
    return (_S.RIGHTS, _S.HUB, _S.PODS, _S.TOKENS, *volumes)


@dataclass(frozen=True)
class Sight:
    """What the controller saw of a zone, after it knew of the revocation."""

    pods: Mapping[str, Collection[str]] = field(default_factory=dict)
    """Digest of each workspace pod that is there, with the claims that it mounts."""
    volumes: Collection[str] = ()
    """Names of the data volumes and of their claims that are there."""


@dataclass(frozen=True)
class RevocationFacts:
    """What is known at a moment about one revocation."""

    begun_at: datetime
    confirmed: Mapping[RevocationStep, datetime]
    starts: Collection[str] = ()
    """Digest of the door token of each start that was meant; on a cluster of its pod."""
    under_way: bool = False
    """One of them was still starting: it may have no pod yet."""
    hub_empty: bool = False
    """The hub said that it has none of the servers that were meant, and forgot their users."""
    open_doors: Collection[str] = ()
    """Digests for which the door opens now."""
    sight: Sight | None = None
    claims: Collection[str] = ()
    """Names of volumes and claims that must go, less those that a right of today wants again."""
    homes: Collection[str] = ()
    """Claims of the person's home: who mounts one and does not run by a right of today is meant."""
    whole: bool = False
    """The right of a whole project ended: every pod that does not run by a right of today is meant."""

    @property
    def meant(self) -> set[str]:
        """Pods that were seen and must go."""
        if self.sight is None:
            return set()
        return {
            pod
            for pod, claims in self.sight.pods.items()
            if pod in self.starts
            or (pod not in self.open_doors and (self.whole or not set(claims).isdisjoint(self.homes)))
        }


def _hub(facts: RevocationFacts, _now: datetime) -> bool:
    return facts.hub_empty


def _pods(facts: RevocationFacts, now: datetime) -> bool:
    if facts.sight is None or facts.meant:
        return False
    # It counts once the hub can make a pod no more.
    return not facts.under_way or _S.HUB in facts.confirmed or now - facts.begun_at >= STARTS_SETTLE


def _tokens(facts: RevocationFacts, now: datetime, steps: Collection[RevocationStep]) -> bool:
    if not set(facts.starts).isdisjoint(facts.open_doors):
        return False
    if _S.PODS not in steps:
        return True
    # A token is bound to its pod: it dies with it, and what the gateway believed of it dies ten seconds later.
    gone = facts.confirmed.get(_S.PODS)
    return gone is not None and now - gone >= TOKEN_BELIEVED


def _volumes(facts: RevocationFacts, _now: datetime) -> bool:
    if facts.sight is None or not set(facts.claims).isdisjoint(facts.sight.volumes):
        return False
    held = {
        claim for pod, claims in facts.sight.pods.items() if pod not in facts.open_doors for claim in claims
    }
    return held.isdisjoint({*facts.claims, *facts.homes})


_CONFIRMS: Mapping[RevocationStep, Callable[[RevocationFacts, datetime], bool]] = {
    _S.HUB: _hub,
    _S.PODS: _pods,
    _S.VOLUMES: _volumes,
}


def newly_confirmed(
    steps: Collection[RevocationStep], facts: RevocationFacts, now: datetime
) -> tuple[RevocationStep, ...]:
    """Return the steps that are confirmed by what is known now and were not before."""
    return tuple(
        step
        for step in steps
        if step not in facts.confirmed
        and (
            _tokens(facts, now, steps)
            if step is _S.TOKENS
            else step in _CONFIRMS and _CONFIRMS[step](facts, now)
        )
    )


def is_late(begun_at: datetime, now: datetime) -> bool:
    """Tell whether a revocation that is not done has missed its time."""
    return now - begun_at > LIMIT
