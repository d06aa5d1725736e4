"""The second arm of every revocation: workspace pods that may not run go, also when nobody else is left to end them.

Which may run, the control plane says by digests of their names (`ZoneSpec.starts`). The control plane writes a start down
before it tells anybody the name of its pod. So whoever asks after a pod was there is told of it, if it may run; who asked
before may hear of a time when the pod was not yet. No clocks are compared: all moments are this process's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from broch_workspaces.cluster.controller.kinds import POD, Manifest, Ref, ref_of
from broch_workspaces.cluster.spec import ROLE_LABEL, ZoneSpec, ZoneState, pod_digest

YOUNGEST = 30.0
"""Seconds that a pod nobody knows of is left alone: whatever we have overlooked, its report may still come."""
WORKSPACE = "workspace"


class Judgement(StrEnum):
    """Whether a pod may stay."""

    STAYS = "stays"
    WAITS = "waits"
    """It is not known yet: a later answer of the control plane, or its age, will tell."""
    GOES = "goes"


@dataclass(frozen=True)
class ZonePod:
    """One pod of a zone, as the API server shows it now."""

    ref: Ref
    uid: str
    role: str
    leaving: bool
    claims: tuple[str, ...]

    @property
    def digest(self) -> str:
        """What the control plane knows it by."""
        return pod_digest(self.ref.namespace, self.ref.name)


def zone_pod(item: Manifest) -> ZonePod:
    """Read a pod."""
    metadata = item["metadata"]
    claims = {
        volume["persistentVolumeClaim"]["claimName"]
        for volume in (item.get("spec") or {}).get("volumes") or ()
        if "persistentVolumeClaim" in volume
    }
    return ZonePod(
        ref=ref_of(POD, item),
        uid=metadata["uid"],
        role=(metadata.get("labels") or {}).get(ROLE_LABEL, ""),
        leaving="deletionTimestamp" in metadata,
        claims=tuple(sorted(claims)),
    )


def judge_pod(
    spec: ZoneSpec, role: str, digest: str, *, asked: float | None, since: float | None, now: float
) -> Judgement:
    """Say whether a pod may stay. Pods without the role of a workspace are others' business.

    Args:
        spec: the newest that is known.
        role: of the pod.
        digest: of its name.
        asked: when the control plane was asked for the newest answer; None: not yet.
        since: when the pod was first seen here; None: not yet.
        now: the moment.
    """
    if role != WORKSPACE:
        return Judgement.STAYS
    if spec.state is not ZoneState.OPEN:
        return Judgement.GOES
    if spec.starts is None or digest in spec.starts:
        return Judgement.STAYS
    if asked is None or since is None or asked <= since or now - since < YOUNGEST:
        return Judgement.WAITS
    return Judgement.GOES


class Sightings:
    """When each pod was first seen here, by its uid: a pod of the same name is another one."""

    def __init__(self) -> None:
        self._since: dict[Ref, tuple[str, float]] = {}

    def see(self, ref: Ref, uid: str, now: float) -> None:
        """Note that a pod is there."""
        if self._since.get(ref, ("", 0.0))[0] != uid:
            self._since[ref] = (uid, now)

    def forget(self, ref: Ref) -> None:
        """Note that it is gone."""
        self._since.pop(ref, None)

    def since(self, ref: Ref, uid: str) -> float | None:
        """Return when this pod was first seen."""
        known, at = self._since.get(ref, ("", 0.0))
        return at if known == uid else None


@dataclass(frozen=True)
class ZoneSight:
    """What was seen of a zone's workspaces after a spec was known."""

    after: tuple[str, ...] = ()
    """The revocations that it named."""
    pods: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    volumes: tuple[str, ...] = ()
    again: float | None = None
    """Seconds until the next look is worth it although nothing happened."""


def sight_of(spec: ZoneSpec, pods: Iterable[ZonePod], volumes: Iterable[str], again: float) -> ZoneSight:
    """Return what is told of a zone while something of it has to be seen gone."""
    there = {pod.digest: pod.claims for pod in pods if pod.role == WORKSPACE}
    return ZoneSight(spec.revocations, there, tuple(sorted(volumes)), again)
