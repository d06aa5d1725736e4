"""Whether a zone is as it shall be, by what the caches saw; never by what was merely asked for. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from broch_workspaces.cluster.controller.failures import Permanent
from broch_workspaces.cluster.controller.inventory import Proof, in_force
from broch_workspaces.cluster.controller.kinds import CLAIM, NAMESPACE, QUOTA, VOLUME, Ref
from broch_workspaces.cluster.controller.objects import Seen

CLASS_MISSING = "missing"
WAITS_FOR_USE = "WaitForFirstConsumer"
"""Volume binding mode: such a claim stays pending until the first pod uses it."""
ATTACHED_ANEW = (
    "A data volume is being attached anew; that can go on when the last workspace that uses it stops."
)
IN_FORCE = {NAMESPACE: "Active", QUOTA: "enforced"}
"""State in which an object of a kind does what it is for; others do from the moment they are there."""


class Verdict(NamedTuple):
    """What was found."""

    waits_for: str
    """In plain words; empty: nothing, the zone is ready."""
    classes: frozenset[str]
    """Storage classes of which the answer depends: their claims are pending."""


def judge(
    wanted: Mapping[Ref, int],
    applied: Mapping[Ref, Proof],
    look: Callable[[Ref], Seen | None],
    leaving: Iterable[Ref],
    modes: Mapping[str, str],
) -> Verdict:
    """Say what a zone still waits for.

    Args:
        wanted: digests of the manifests.
        applied: what is kept of the API server's answers.
        look: the caches.
        leaving: what must go and is not yet gone.
        modes: binding modes of storage classes by name, or `missing`.

    Raises:
        Permanent: it waits for something that will not come by itself.
    """
    unsure = set()
    waits = ""
    for ref, meant in wanted.items():
        now, answer = look(ref), applied.get(ref)
        if ref.kind is VOLUME and now is not None and now.leaving:
            # First of all: everything else hangs on what somebody can do about it.
            waits = ATTACHED_ANEW
        if now is None or answer is None or now.leaving or not in_force(answer, meant, now):
            waits = waits or f"The zone's {ref.kind.words} are being made."
            continue
        if ref.kind is CLAIM and now.state != "Bound":
            if now.storage_class and now.storage_class not in modes:
                unsure.add(now.storage_class)
            waits = waits or _claim(now, modes)
        else:
            waits = waits or _other(ref, now)
    if not waits and any(True for _ in leaving):
        waits = "Data of a grant that ended are still in use; they go when the last workspace that uses them stops."
    return Verdict(waits, frozenset(unsure))


def _other(ref: Ref, now: Seen) -> str:
    if ref.kind is VOLUME and now.state == "Failed":
        raise Permanent("The storage of a dataset cannot be used; ask your administrator.")
    if IN_FORCE.get(ref.kind, now.state) != now.state:
        return f"The zone's {ref.kind.words} is not in force yet."
    return ""


def _claim(now: Seen, modes: Mapping[str, str]) -> str:
    """Say what a claim that has no volume yet waits for."""
    if now.state == "Lost":
        raise Permanent("A volume of this project has lost its storage; ask your administrator.")
    mode = modes.get(now.storage_class)
    if mode == CLASS_MISSING:
        raise Permanent(f"The storage class '{now.storage_class}' does not exist; ask your administrator.")
    return "" if mode == WAITS_FOR_USE else "Volumes of this project are being made."
