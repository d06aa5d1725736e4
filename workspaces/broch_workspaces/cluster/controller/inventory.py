"""What a zone shall have, what it has, and what must go. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from broch_workspaces.cluster.controller.failures import Permanent
from broch_workspaces.cluster.controller.kinds import (
    BY_NAME,
    NAMESPACE,
    POD,
    ZONE_KINDS,
    Manifest,
    Ref,
    ref_of,
)
from broch_workspaces.cluster.controller.objects import Seen
from broch_workspaces.cluster.spec import PART_OF, PROJECT_LABEL, ZoneSpec

Wanted = dict[Ref, Manifest]


Proof = int
"""64 bits of which manifest was applied, and what the API server answered: all that is kept of it."""


def inventory(spec: ZoneSpec, manifests: Iterable[Manifest]) -> Wanted:
    """Return the objects of a zone by reference.

    Raises:
        Permanent: the builder made something that does not belong in this zone. Nothing is applied then.
    """
    wanted: Wanted = {}
    for manifest in manifests:
        kind = BY_NAME.get(manifest.get("kind", ""))
        if kind not in ZONE_KINDS or manifest.get("apiVersion") != kind.group_version:
            raise _defect(f"kind {manifest.get('kind')}")
        ref = ref_of(kind, manifest)
        labels = manifest["metadata"].get("labels") or {}
        if labels.get(PART_OF) != "broch" or labels.get(PROJECT_LABEL) != spec.project_id.lower():
            raise _defect(f"labels of {ref}")
        if kind.namespaced and ref.namespace != spec.namespace:
            raise _defect(f"namespace of {ref}")
        if kind is NAMESPACE and ref.name != spec.namespace:
            raise _defect(f"name of {ref}")
        if ref in wanted:
            raise _defect(f"{ref} twice")
        wanted[ref] = manifest
    if Ref(NAMESPACE, "", spec.namespace) not in wanted:
        raise _defect("no namespace")
    return wanted


def _defect(what: str) -> Permanent:
    return Permanent(f"Broch built this zone wrongly ({what}): this is a defect, please report it.")


def stages(wanted: Wanted) -> list[list[Ref]]:
    """Return the objects in the order in which they are made, those of one stage together."""
    steps = sorted({ref.kind.stage for ref in wanted})
    return [[ref for ref in wanted if ref.kind.stage == step] for step in steps]


def proof(manifest_digest: int, answer: Seen) -> Proof:
    """Return what is kept of an answer: as long as the object is seen so, there is nothing to do."""
    return hash((manifest_digest, answer.uid, answer.digest))


def in_force(applied: Proof | None, manifest_digest: int, now: Seen | None) -> bool:
    """Return whether an object is seen as it was when this manifest was last applied."""
    return now is not None and applied == proof(manifest_digest, now)


def surplus(
    spec: ZoneSpec, wanted: Mapping[Ref, object], there: Iterable[tuple[Ref, Seen]]
) -> list[tuple[Ref, Seen]]:
    """Return what must go, in the order in which it goes: claims before their volumes, the frame never.

    Only what Broch applied is in it, and never a volume of people's work: homes, the project's folder and imports
    stay until the zone ends, whoever left the project.
    """
    gone = [
        (ref, seen)
        for ref, seen in there
        if ref not in wanted
        and seen.ours
        and ref.kind not in {NAMESPACE, POD}
        and not seen.kept
        and (ref.namespace == spec.namespace or not ref.kind.namespaced)
    ]
    return sorted(gone, key=lambda pair: (-pair[0].kind.stage, pair[0].name))
